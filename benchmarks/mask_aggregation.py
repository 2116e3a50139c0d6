"""Aggregation of single-instance masks: numba next to eager torch, and peak memory next to the volume."""

from __future__ import annotations

import argparse
import subprocess
import sys
from math import prod
from pathlib import Path

import torch
from timing import seconds

from dacapo_hd.operations.affinities import NEIGHBOURS_16
from dacapo_hd.operations.mask_aggregation import Branch, Window, add_numba, add_torch, aggregate

WINDOW = Window((5, 7, 7))
SHAPE = (12, 128, 128)
# those that fit the window, with as many others of the same length as are left out
FITTING = [tuple(int(step) for step in offset) for offset in NEIGHBOURS_16 if WINDOW.fits(tuple(map(int, offset)))]
OFFSETS = [*FITTING, (0, -2, -2), (0, -2, 2), (-1, -2, 0), (-1, 0, -2)][:16]
LATENTS, HIDDEN = 32, 64


def decoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(LATENTS, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, prod(WINDOW.size)),
        torch.nn.Sigmoid(),
    )


def whole(shape: tuple[int, ...]) -> None:
    """Decode and aggregate a volume."""
    decode = decoder()

    def masks(box: torch.Tensor) -> torch.Tensor:
        return decode(box.flatten(1).T).T.reshape(-1, *box.shape[1:])

    branch = Branch(WINDOW, torch.rand(LATENTS, *shape), masks)
    with torch.inference_mode():
        aggregate([branch], OFFSETS)


def high_water_mib() -> float:
    """Return the peak memory of this process (Linux); what getrusage tells includes the parent's."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def print_peak(depth: int) -> None:
    """Print the peak memory of a volume beside its latents and its results."""
    shape = (depth, 128, 128)
    whole((16, 64, 64))
    before = high_water_mib()
    whole(shape)
    volume = prod(shape) * 4 * (LATENTS + 2 * len(OFFSETS))
    print(high_water_mib() - before, volume / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peak", type=int)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(arguments.peak)
        return
    masks = torch.rand(prod(WINDOW.size), *SHAPE)
    sums = {name: torch.zeros(3, len(OFFSETS), *SHAPE) for name in ("numba", "torch")}
    add_numba(masks, WINDOW, OFFSETS, (0, 0, 0), torch.zeros_like(sums["numba"]))
    repeats = 2 if arguments.quick else 4
    ours = seconds(lambda: add_numba(masks, WINDOW, OFFSETS, (0, 0, 0), sums["numba"].zero_()), repeats)
    eager = seconds(lambda: add_torch(masks, WINDOW, OFFSETS, (0, 0, 0), sums["torch"].zero_()), repeats)
    print(f"numba, {len(OFFSETS)} offsets, 12x128x128, masks 5x7x7: {ours:.3f} s of processor time (goal <= 0.5)")
    print(f"eager torch: {eager:.3f} s of processor time")
    print(f"speed: {eager / ours:.1f} x (goal >= 5)")
    difference = (sums["numba"] - sums["torch"]).abs() / sums["torch"].clamp(min=1)
    print(f"largest relative difference of the sums: {float(difference.max()):.1e}")
    print(f"decoding and aggregating by tiles: {seconds(lambda: whole(SHAPE), 2):.2f} s")
    for depth in (32, 64) if arguments.quick else (32, 64, 128):
        command = [sys.executable, __file__, "--peak", str(depth)]
        peak, volume = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        print(f"{depth}x128x128: peak {peak:.0f} MiB above that of a tile; latents and results take {volume:.0f} MiB")


if __name__ == "__main__":
    main()
