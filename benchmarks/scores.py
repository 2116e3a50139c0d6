"""Scores of one 256^3 crop: time and memory of the whole sets, next to scikit-image's functions.

Instances: a bent grid of touching cells with background, uint32 ids, found with shifted walls, merged and cut cells.
Mask: random blobs that fill a third of the volume, uint8, found with a rough boundary. Times are the least of several
repetitions, wall time first and processor time of all threads after it. Memory (Linux) is the peak resident set of a
fresh process above what it held with the truth and the found labels loaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import edt
import numpy as np
import skimage.metrics
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from dacapo_hd.evaluation import Evaluator, evaluate
from dacapo_hd.evaluation import marks as mark
from dacapo_hd.evaluation.distances import DistanceMap
from dacapo_hd.evaluation.matching import Matching
from dacapo_hd.evaluation.overlap import Overlap
from dacapo_hd.labels.block import ABSENT, PRESENT, LabelBlock
from dacapo_hd.segmentation.base import Segmentation

VOXEL_SIZE_NM = (8.0, 8.0, 8.0)
TOLERANCE_NM = 20.0
CELL_VX = 36
SEGMENTERS = 5


def smooth(side: int, scale_vx: int, seed: int) -> NDArray[np.float32]:
    """Make smooth noise of mean 0 and deviation 1."""
    coarse = np.random.default_rng(seed).standard_normal((side // scale_vx + 3,) * 3).astype(np.float32)
    fine = zoom(coarse, scale_vx, order=1)[:side, :side, :side]
    return np.asarray(fine / fine.std(), np.float32)


def cells(side: int, seed: int) -> NDArray[np.uint32]:
    """Number the cells of a bent grid; `seed` bends it a little more."""
    places = np.meshgrid(*[np.arange(side, dtype=np.float32)] * 3, indexing="ij", sparse=True)
    bent = [
        np.floor_divide(place + 8 * smooth(side, 32, axis) + 1.5 * smooth(side, 12, 10 + 3 * seed + axis), CELL_VX)
        for axis, place in enumerate(places)
    ]
    numbers = np.zeros((side,) * 3, np.uint32)
    for cell in bent:
        numbers = numbers * np.uint32(64) + (cell + 8).astype(np.uint32)
    return np.where(smooth(side, 24, 5) + 0.1 * smooth(side, 12, 40 + seed) > 1, 0, numbers).astype(np.uint32)


def instances(side: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Make true and found ids, the second with every 8th cell merged with its neighbour and every 8th cut in two."""
    truth, found = cells(side, 0), cells(side, 1)
    found[found % 8 == 1] += np.uint32(1)
    found[(found % 8 == 5) & (np.arange(side) // 18 % 2 == 0)] += np.uint32(1 << 20)
    return truth, found


def masks(side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make a true and a found mask."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((side,) * 3).astype(np.float32), 6)
    noise /= noise.std()
    rough = noise + 0.15 * smooth(side, 4, 1) + 0.1 * smooth(side, 24, 2)
    return (noise > 0.43).astype(np.uint8), (rough > 0.43).astype(np.uint8)


def block(truth: NDArray[np.uint8] | NDArray[np.uint32]) -> LabelBlock:
    code = np.where(truth > 0, PRESENT, ABSENT).astype(np.uint8)[None]
    return LabelBlock(("a",), code, VOXEL_SIZE_NM, {"a": truth} if truth.dtype == np.uint32 else {})


def object_scores(truth: LabelBlock, found: NDArray[np.uint32]) -> dict[str, float]:
    """Return the instance scores without those of the mask."""
    marks = mark.mark_truth(truth.code[0])
    mark.mark_near_borders(marks, truth.instances["a"], VOXEL_SIZE_NM, TOLERANCE_NM)
    overlap = Overlap.count(marks, truth.instances["a"], found, marks.size)
    return overlap.scores() | Matching.of(overlap.partition()).scores()


def all_scores(truth: LabelBlock, found: NDArray[np.uint8] | NDArray[np.uint32]) -> dict[str, float]:
    """Return what a validation of one segmentation gets."""
    values = evaluate(Segmentation({"a": found}, found.dtype == np.uint32), truth, TOLERANCE_NM)
    return {value.score: value.value for value in values}


def seconds(call: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """Return the least wall time and the least processor time of a call, after one that compiles."""
    call()
    times = []
    for _ in range(repetitions):
        wall, own = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - wall, time.process_time() - own))
    return min(wall for wall, _ in times), min(own for _, own in times)


def _peak_kib() -> int:
    # getrusage would give the parent's peak after a spawn
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def _measure_memory(kind: str, path: str, answer: object) -> None:
    score = {"objects": object_scores, "all": all_scores, "skimage": skimage_instances}[kind]
    truth, found = np.load(f"{path}/truth.npy"), np.load(f"{path}/found.npy")
    code = np.load(f"{path}/code.npy")
    score(block(truth[:8, :8, :8]), found[:8, :8, :8])
    labelled = LabelBlock(("a",), code, VOXEL_SIZE_NM, {"a": truth})
    before = _peak_kib()
    score(labelled, found)
    answer.put(_peak_kib() - before)  # type: ignore[attr-defined]


def memory_mib(kind: str, truth: LabelBlock, found: NDArray[np.uint8] | NDArray[np.uint32]) -> float:
    """Return how much a call adds to the peak resident set of a fresh process."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    with tempfile.TemporaryDirectory() as path:
        # loaded, not made there: the memory that making them freed would serve the call unseen
        arrays = {"truth": truth.instances.get("a", truth.code[0, :8]), "found": found, "code": truth.code}
        for name, array in arrays.items():
            np.save(f"{path}/{name}.npy", array)
        process = context.Process(target=_measure_memory, args=(kind, path, answer))
        process.start()
        grown = answer.get(timeout=1200)
        process.join()
    return float(grown) / 1024


def skimage_instances(truth: LabelBlock, found: NDArray[np.uint32]) -> tuple[float, float, float]:
    """Return split, merge and adapted Rand error by scikit-image: three of the instance scores."""
    ids = truth.instances["a"]
    split, merge = skimage.metrics.variation_of_information(ids, found, ignore_labels=(0,))
    return split, merge, skimage.metrics.adapted_rand_error(ids, found, ignore_labels=(0,))[0]


def boundaries(truth: LabelBlock, found: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    marks = mark.mark_truth(truth.code[0])
    mark.mark_prediction(marks, found)
    return marks & mark.BOUNDARY > 0, marks & mark.PREDICTED_BOUNDARY > 0


def report(name: str, times: tuple[float, float], note: str = "") -> None:
    print(f"{name}: {times[0]:.2f} s, processor {times[1]:.2f} s{note}", flush=True)


def report_memory(
    name: str, kind: str, truth: LabelBlock, found: NDArray[np.uint8] | NDArray[np.uint32], goal: str = ""
) -> None:
    grown = memory_mib(kind, truth, found)
    share = grown * 2**20 / found.nbytes
    print(f"{name}, peak memory: {grown:.0f} MiB, {share:.1f} x one {found.dtype} label volume{goal}", flush=True)


def of_instances(side: int, repetitions: int) -> None:
    truth, found = instances(side)
    labelled = block(truth)
    print(f"{side}^3, {len(np.unique(truth)) - 1} instances, {len(np.unique(found)) - 1} segments")
    report("instance scores", seconds(lambda: object_scores(labelled, found), repetitions), " (goal < 1.5 s)")
    report("instance scores and those of the mask", seconds(lambda: all_scores(labelled, found), repetitions))
    report("scikit-image: VOI and adapted Rand error", seconds(lambda: skimage_instances(labelled, found), 1))
    theirs, ours = skimage_instances(labelled, found), object_scores(labelled, found)
    far = max(abs(ours["instance_voi_split"] - theirs[0]), abs(ours["instance_voi_merge"] - theirs[1]))
    print(f"largest difference in VOI: {far:.1e} bit")
    report_memory("instance scores", "objects", labelled, found, " (goal < 4)")
    report_memory("instance scores and those of the mask", "all", labelled, found, " (goal < 4)")
    report_memory("scikit-image", "skimage", labelled, found)


def of_masks(side: int, repetitions: int) -> None:
    truth, found = masks(side)
    labelled = block(truth)
    report("mask scores", seconds(lambda: all_scores(labelled, found), repetitions), " (goal < 3 s)")
    edges = boundaries(labelled, found)
    hausdorff = seconds(lambda: skimage.metrics.hausdorff_distance(*edges), 1)
    report("scikit-image: Hausdorff distance of the boundary voxels", hausdorff)
    far = abs(skimage.metrics.hausdorff_distance(*edges) * VOXEL_SIZE_NM[0] - all_scores(labelled, found)["hausdorff"])
    print(f"difference in the Hausdorff distance: {far:.1e} nm")
    report_memory("mask scores", "all", labelled, found, " (goal < 4)")

    marks = mark.mark_truth(labelled.code[0])
    everywhere = seconds(lambda: DistanceMap.to(marks, mark.BOUNDARY, VOXEL_SIZE_NM).everywhere(), repetitions)
    report("distance to the boundary, all voxels", everywhere)
    for threads in (1, 2):
        other = seconds(lambda n=threads: edt.edt(~edges[0], VOXEL_SIZE_NM, parallel=n), repetitions)  # type: ignore[misc]
        report(f"the same, edt, {threads} threads", other)
    report("the same, scipy", seconds(lambda: distance_transform_edt(~edges[0], VOXEL_SIZE_NM), 1))
    of_segmenters(labelled, found, repetitions)


def of_segmenters(truth: LabelBlock, found: NDArray[np.uint8], repetitions: int) -> None:
    segmentations = [Segmentation({"a": np.roll(found, shift, 2)}) for shift in range(SEGMENTERS)]

    def shared() -> None:
        evaluator = Evaluator(truth, TOLERANCE_NM)
        for segmentation in segmentations:
            evaluator.scores(segmentation)

    def single() -> None:
        for segmentation in segmentations:
            evaluate(segmentation, truth, TOLERANCE_NM)

    report(f"{SEGMENTERS} masks of one crop, one evaluator", seconds(shared, repetitions))
    report(f"{SEGMENTERS} masks of one crop, one by one", seconds(single, repetitions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="96^3 instead of 256^3, one repetition")
    quick = parser.parse_args().quick
    side, repetitions = (96, 1) if quick else (256, 5)
    of_instances(side, repetitions)
    of_masks(side, repetitions)


if __name__ == "__main__":
    main()
