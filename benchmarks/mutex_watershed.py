"""Mutex watershed next to mwatershed: time, memory, and the same parts on input without ties."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dacapo_hd.operations.affinities import NEIGHBOURS_16
from dacapo_hd.operations.mutex_watershed import mutex_watershed

OFFSETS = [tuple(int(step) for step in offset) for offset in NEIGHBOURS_16]
SHAPES = {"12x256x256": (12, 256, 256), "24x512x512": (24, 512, 512)}
LONG = [max(map(abs, offset)) > 1 for offset in OFFSETS]


def weights(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return smooth noise of which no two values have the same magnitude."""
    rng = np.random.default_rng(0)
    smooth = np.stack([gaussian_filter(rng.standard_normal(shape, np.float32), (1, 3, 3)) for _ in OFFSETS])
    smooth += 0.5 * smooth.std()
    order = np.argsort(np.abs(smooth), axis=None)
    # floats of one sign are ordered like their bits: consecutive bits are the nearest different numbers
    magnitude = np.empty(smooth.size, np.uint32)
    magnitude[order] = np.arange(smooth.size, dtype=np.uint32) + np.float32(1e-3).view(np.uint32)
    return np.copysign(magnitude.view(np.float32).reshape(smooth.shape), smooth)


def same_parts(ours: NDArray[np.uint32], other: NDArray[np.uint64]) -> bool:
    """Compare partitions; voxels without an attractive edge are 0 in mwatershed, and single parts here."""
    single = np.bincount(ours.ravel())[ours] == 1
    pairs = np.unique(np.stack([ours[~single], other[~single]]), axis=1)
    return bool((other[~single] > 0).all() and len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1])


def run_ours(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    return mutex_watershed(values, OFFSETS, cut=0.0)


def run_other(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    import mwatershed

    return mwatershed.agglom(values.astype(np.float64), OFFSETS)


def peak_mib(which: str, values: NDArray[np.float32]) -> float:
    """Return by how much the peak memory of a process of its own grows beyond the input."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.npy"
        np.save(path, values)
        command = [sys.executable, __file__, "--peak", which, str(path)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def high_water_mib() -> float:
    """Return the peak memory of this process (Linux); what getrusage tells includes the parent's."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def print_peak(which: str, path: str) -> None:
    run = {"ours": run_ours, "mwatershed": run_other}[which]
    run(weights((2, 16, 32)))
    values = np.load(path)
    before = high_water_mib()
    run(values)
    print(high_water_mib() - before)


def seconds(run: Callable[..., Any], values: NDArray[np.float32]) -> tuple[float, NDArray[Any]]:
    """Return the processor time, which other processes disturb less than the wall time, and the result."""
    began = time.process_time()
    found = run(values)
    return time.process_time() - began, found


def compare(name: str, values: NDArray[np.float32], rounds: int) -> None:
    """Print times in turns, and whether the parts are the same."""
    ours, other = [], []
    for _ in range(rounds):
        taken, parts = seconds(run_ours, values)
        ours.append(taken)
        taken, other_parts = seconds(run_other, values)
        other.append(taken)
        print(f"{name} round: {ours[-1]:.2f} s processor time, mwatershed {other[-1]:.2f} s", flush=True)
    ratios = ", ".join(f"{b / a:.2f}" for a, b in zip(ours, other, strict=True))
    print(f"{name} mutex_watershed: {min(ours):.2f} s processor time, {parts.max()} parts")
    print(f"{name} mwatershed: {min(other):.2f} s processor time")
    print(f"{name} speed: {min(other) / min(ours):.2f} x; in the rounds {ratios} (goal >= 2)")
    print(f"{name} same parts: {same_parts(parts, other_parts)} (goal True)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peak", nargs=2)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(*arguments.peak)
        return
    run_ours(weights((2, 16, 32)))
    for name, shape in list(SHAPES.items())[: 1 if arguments.quick else None]:
        values = weights(shape)
        compare(name, values, 3)
        usual = [0.1 if long else 1.0 for long in LONG]
        began = time.process_time()
        mutex_watershed(values, OFFSETS, cut=0.0, fractions=usual)
        print(f"{name} with 10 % of the long edges, the default: {time.process_time() - began:.2f} s processor time")
        peaks = [peak_mib(which, values) for which in ("ours", "mwatershed")]
        print(f"{name} peak memory beside the input: {peaks[0]:.0f} MiB, mwatershed {peaks[1]:.0f} MiB (goal: less)")


if __name__ == "__main__":
    main()
