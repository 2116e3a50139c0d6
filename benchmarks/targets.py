"""Distance targets: ours next to the reference's way, a scipy transform on a grid of doubled resolution.

Both give tanh(d / scale) of a fully known mask. The reference marks the faces between voxels of different labels on a
grid with twice the resolution, transforms that grid and keeps every second voxel. Ours transforms labels once. Times
are processor seconds, the least of several repetitions, on one thread; memory (Linux) is the peak resident set of a
fresh process above what it held before the call.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from timing import seconds

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.operations.distance import signed_distance
from dacapo_hd.tasks import HotDistance, OneHot

VOXEL_SIZE_NM = (8.0, 8.0, 8.0)
SCALE_NM = 50.0
OUTPUT_VX = 52
REFERENCE_BATCH_S = 0.67  # the reference's targets and weights of the same batch, on another machine


def blobs(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.bool_]:
    """Make smooth random objects that fill a third of the volume."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), 4)
    return noise > np.quantile(noise, 2 / 3)


def doubled_grid(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return tanh(d / scale) as the reference does."""
    faces = np.zeros([2 * n - 1 for n in mask.shape], bool)
    for axis in range(mask.ndim):
        upper = tuple(slice(1, None) if a == axis else slice(None) for a in range(mask.ndim))
        lower = tuple(slice(None, -1) if a == axis else slice(None) for a in range(mask.ndim))
        between = tuple(slice(1, None, 2) if a == axis else slice(None, None, 2) for a in range(mask.ndim))
        faces[between] = mask[upper] != mask[lower]
    distance = distance_transform_edt(~faces, sampling=[edge / 2 for edge in VOXEL_SIZE_NM]).astype(np.float32)
    distance = distance[(slice(None, None, 2),) * mask.ndim]
    distance[~mask] *= -1
    return np.tanh(distance / SCALE_NM)


def one_pass(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return tanh(d / scale) as we do."""
    distance = signed_distance(mask, VOXEL_SIZE_NM)
    distance /= SCALE_NM
    return np.tanh(distance, out=distance)


def _peak_kib() -> int:
    # getrusage would give the parent's peak after a spawn
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _measure_memory(method: Callable[[NDArray[np.bool_]], object], shape: tuple[int, ...], answer: object) -> None:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 4, -n // 4) for n in shape)] = True
    method(mask[:8, :8, :8])
    before = _peak_kib()
    method(mask)
    answer.put(_peak_kib() - before)  # type: ignore[attr-defined]


def memory_mib(method: Callable[[NDArray[np.bool_]], object], shape: tuple[int, ...]) -> float:
    """Return how much a call adds to the peak resident set of a fresh process."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_measure_memory, args=(method, shape, answer))
    process.start()
    grown = answer.get(timeout=600)
    process.join()
    return float(grown) / 1024


def label_blocks(task: HotDistance, share_known: float) -> list[LabelBlock]:
    """Make the two samples of a batch: two classes, 52^3 and the task's context, random boxes of it annotated."""
    side = OUTPUT_VX + 2 * int(np.ceil(task.context_nm / VOXEL_SIZE_NM[0]))
    blocks = []
    for seed in range(2):
        masks = np.stack([blobs((side,) * 3, seed=10 * seed + index) for index in range(2)])
        code = np.where(masks, PRESENT, ABSENT).astype(np.uint8)
        code[:, int(side * share_known) :] = UNKNOWN
        blocks.append(LabelBlock(task.classes, code, VOXEL_SIZE_NM))
    return blocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64^3 instead of 128^3, one repetition")
    quick = parser.parse_args().quick
    side, repetitions = (64, 1) if quick else (128, 5)

    mask = blobs((side,) * 3)
    ours, theirs = seconds(lambda: one_pass(mask), repetitions), seconds(lambda: doubled_grid(mask), repetitions)
    far = np.abs(np.arctanh(one_pass(mask)) - np.arctanh(doubled_grid(mask))).max() * SCALE_NM / VOXEL_SIZE_NM[0]
    memory = [memory_mib(method, mask.shape) for method in (one_pass, doubled_grid)]
    lines = [
        f"one pass, {side}^3: {ours:.4f} s",
        f"doubled grid, {side}^3: {theirs:.4f} s",
        f"speed ratio: {theirs / ours:.1f} x (goal >= 10)",
        f"one pass, peak memory: {memory[0]:.0f} MiB",
        f"doubled grid, peak memory: {memory[1]:.0f} MiB",
        f"memory ratio: {memory[1] / memory[0]:.1f} x",
        f"largest difference: {far:.2f} voxel",
    ]
    for supervision in ("exact", "interval"):
        task = HotDistance(("a", "b"), scale_nm=SCALE_NM, distance_supervision=supervision)
        for words, share in (("all known", 1.0), ("half known", 0.5)):
            blocks = label_blocks(task, share)
            batch = seconds(lambda b=blocks, t=task: [t.targets(block) for block in b], repetitions)  # type: ignore[misc]
            shape = blocks[0].code.shape[1:]
            lines.append(
                f"HotDistance {supervision}, {words}, 2 x 2 classes x {shape[0]}^3: {batch:.3f} s "
                f"(reference {REFERENCE_BATCH_S} s without context)"
            )
    blocks = label_blocks(HotDistance(("a", "b")), 1.0)
    batch = seconds(lambda: [OneHot(("a", "b")).targets(block) for block in blocks], repetitions)
    lines.append(f"OneHot, same blocks: {batch:.4f} s")
    print("\n".join(lines))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
