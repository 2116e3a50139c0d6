"""How much memory one call of a network takes above the process, of the estimate by which blocks are planned.

.venv/bin/python benchmarks/network_memory.py

Each network is measured in a process of its own (Linux), after a call of a small block.
"""

from __future__ import annotations

import argparse
import multiprocessing
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dacapo_hd.architectures import UNet, WNet
from dacapo_hd.architectures.base import Architecture
from dacapo_hd.architectures.network import Network
from dacapo_hd.blockwise.memory import keep_memory_flat
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.tasks import Embeddings, HotDistance, Task

DEEP: dict[str, Any] = {"input_shape_vx": (96, 96, 96), "downsample_factors": ((2, 2, 2),) * 2, "padding": "same"}
FLAT: dict[str, Any] = {
    "dims": 2,
    "input_shape_vx": (1, 1024, 1024),
    "downsample_factors": ((1, 2, 2),) * 3,
    "padding": "same",
}
MITO = HotDistance(("mito",))
W: dict[str, Any] = {
    "num_fmaps": 8,
    "out_fmaps": 32,
    "intermediate": "distance_features",
    "intermediate_fmaps": 32,
    "normalization": "batch",
}
NETWORKS: dict[str, tuple[Architecture, Task]] = {
    "3D U-Net, 12 feature maps": (UNet(**DEEP, num_fmaps=12), MITO),
    "3D U-Net, 24": (UNet(**DEEP, num_fmaps=24), MITO),
    "3D U-Net, 4": (UNet(**DEEP, num_fmaps=4), MITO),
    "3D U-Net, 8, batch": (UNet(**DEEP, num_fmaps=8, normalization="batch"), MITO),
    "3D U-Net, 8, group": (UNet(**DEEP, num_fmaps=8, normalization="group"), MITO),
    "3D U-Net, 8, instance": (UNet(**DEEP, num_fmaps=8, normalization="instance"), MITO),
    "3D U-Net, 12, residual": (UNet(**DEEP, num_fmaps=12, normalization="batch", residual=True), MITO),
    "3D U-Net, 12, 40 classes": (UNet(**DEEP, num_fmaps=12), HotDistance(tuple(f"class_{n}" for n in range(40)))),
    "2D U-Net, 8, instance": (UNet(**FLAT, num_fmaps=8, normalization="instance"), MITO),
    "2D U-Net, 32": (UNet(**FLAT, num_fmaps=32), MITO),
    "3D W-Net, 8, batch": (WNet(**DEEP, **W), Embeddings(("mito",))),
    "2D W-Net, 8, batch": (WNet(**FLAT, **W), Embeddings(("nucleus",))),
}


def resident(name: str) -> int:
    """Return a figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def measure(name: str) -> tuple[float, float]:
    """Return the estimate and the peak of a call, in bytes per voxel of the input."""
    keep_memory_flat()
    architecture, task = NETWORKS[name]
    predictor = Predictor(Network(architecture, task), architecture, task)
    estimate = predictor.bytes_per_input_voxel
    predictor(np.zeros((1, *predictor.input_shape_for(predictor.step_vx)), np.float32))
    raw = np.random.default_rng(0).random((1, *architecture.input_shape_vx), np.float32)
    # the peak is counted from here on
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    predictor(raw)
    return estimate, (resident("VmHWM") - before) / prod(architecture.input_shape_vx)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| network | estimate, bytes a voxel | measured | of it |\n|---|---|---|---|")
    for name in NETWORKS:
        # so that what one network has left does not serve the next
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            estimate, measured = pool.apply(measure, (name,))
        print(f"| {name} | {estimate:.0f} | {measured:.0f} | {measured / estimate:.2f} |", flush=True)


if __name__ == "__main__":
    main()
