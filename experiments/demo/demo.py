"""The whole path in a few minutes on two CPU cores: data, three trainings, comparison, application, pictures.

Every step is a command that works the same in a terminal; it is printed before it runs. Everything lands in `demo/`.
"""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path

import numpy as np

from dacapo_hd.arrays import ArrayRef, open_volume
from dacapo_hd.cli import main
from dacapo_hd.labels import ClassArrays
from dacapo_hd.manager import RunManager
from dacapo_hd.report.plots import plot_slices
from dacapo_hd.report.slices import read_slices
from dacapo_hd.stores import open_store

OUT = Path("demo")
SWEEP = "experiments/demo/sweep.yaml"
DATA = f"{OUT}/data.zarr"
STORE = f"--store {OUT}/runs"
CLASSES = ("mito", "pm", "ves")


def run(command: str) -> None:
    """Print and run one command line; a failing command ends the demo with its exit code."""
    print(f"\n$ dacapo-hd {command}", flush=True)
    try:
        main(shlex.split(command))
    except SystemExit as finished:
        if finished.code:
            raise


def draw_section(best: str) -> Path:
    """Draw the section of the test crop with the most mitochondria."""
    test = Path(DATA) / "test" / "test_0"
    labels = ClassArrays({name: ArrayRef(str(test / "labels" / name)) for name in CLASSES})
    section = int(np.argmax((open_volume(str(test / "labels" / "mito")).read() == 1).sum((1, 2))))
    rows = read_slices(test / "raw", [labels], f"{OUT}/{best}.zarr", CLASSES, section)
    return plot_slices(OUT / f"{best}.png", rows)


if __name__ == "__main__":
    started = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    # as in real projects: one crop has every eighth section annotated; the other shows nothing but its nucleus, which
    # still says where there is no mitochondrion
    crops = "--crop train/every=8/only=mito+pm+ves --crop train/only=nuc --crop validate/only=mito+pm+ves --crop test"
    run(f"phantom {DATA} --shape 40,224,224 --seed 1 {crops}")
    run(f"train {SWEEP} {STORE}")
    run(f"compare {STORE} --per-class")
    winner = RunManager(open_store(f"{OUT}/runs")).compare().runs[0].name
    run(f"apply {winner} {DATA}/test/test_0/raw {OUT}/{winner}.zarr {STORE}")
    run(f"plot {OUT}/training.png {STORE}")
    run(f"report {OUT}/report.html {STORE}")
    print(f"{draw_section(winner)}\n{time.monotonic() - started:.0f} s in all")
