"""Seams: what partitions of affinities in 8 and 27 blocks lose against one block, and against ground truth.

Affinities are made from the instances of FIB-25 (folder DACAPO_HD_DATA): blurred, with smooth noise that the offsets
share and noise of their own, as uint8. With `--prediction` a stored prediction is taken instead, such as `apply` leaves
in its output, of a run trained on `--truth` or without any.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from math import prod
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from stitching import segmented

from dacapo_hd.arrays import MemoryVolume, Volume, open_volume
from dacapo_hd.evaluation.marks import mark_truth
from dacapo_hd.evaluation.overlap import Overlap
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import ABSENT, PRESENT
from dacapo_hd.operations.affinities import affinities
from dacapo_hd.prediction.stored import ATTRIBUTE, read_prediction, stored_channels
from dacapo_hd.segmentation import MutexWatershed, SuperpixelAgglomeration
from dacapo_hd.segmentation.affinities import KINDS, affinity_channel
from dacapo_hd.segmentation.base import InstanceSegmenter, kind_of

TRUTH = "fib25_neurons.zarr/labels/neuron_inst"
# those of experiments/tasks/snb_fib25.yaml
OFFSETS = tuple(tuple(-step * (axis == n) for n in range(3)) for step in (1, 4, 8) for axis in range(3))
BLUR_VX, NOISE_VX = 0.5, 2.0
NOISES = (0.1, 0.2)
CHUNK_VX = (8, 8, 8)


def smooth_noise(shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """Return noise with a standard deviation of 1."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape, np.float32), NOISE_VX)
    found: NDArray[np.float32] = noise / noise.std()
    return found


def prediction_from(instances: NDArray[Any], noise: float) -> MemoryVolume:
    """Make plausible affinities of instances (z, y, x); `noise` is the standard deviation of each of both noises."""
    data = np.empty((len(OFFSETS), *instances.shape), np.uint8)
    shared = noise * smooth_noise(instances.shape, len(OFFSETS))
    for number, offset in enumerate(OFFSETS):
        values = gaussian_filter(affinities(instances.astype(np.int64), [offset])[0][0], BLUR_VX)
        values = values + shared + noise * smooth_noise(instances.shape, number)
        data[number] = np.rint(values.clip(0, 1) * 255)
    channels = [
        {"name": affinity_channel("neuron", "affinity", offset, "vx"), "low": 0.0, "high": 1.0} for offset in OFFSETS
    ]
    return MemoryVolume(data, Grid.from_nm(instances.shape, (10, 10, 10)), "prediction", {ATTRIBUTE: channels})


def scores(truth: NDArray[Any], found: NDArray[Any]) -> dict[str, float]:
    marks = mark_truth(np.where(truth > 0, PRESENT, ABSENT).astype(np.uint8))
    return Overlap.count(marks, truth, found, truth.size).scores()


def words(name: str, found: dict[str, float]) -> str:
    split, merge = found["instance_voi_split"], found["instance_voi_merge"]
    return f"{name}: Rand error {found['adapted_rand_error']:.4f}, VOI split {split:.3f} merge {merge:.3f}"


def seams(prediction: Volume, truth: NDArray[Any], segmenter: InstanceSegmenter) -> None:
    """Print what one and many blocks are worth."""
    one = next(iter(segmenter.segment(read_prediction(prediction)).labels.values()))
    print(f"{segmenter.label}\n  1 block, {one.max()} objects, {words('to truth', scores(truth, one))}", flush=True)
    for parts in (2, 3):
        # in whole chunks, or there would be more blocks
        blocks = [-(-n // (parts * c)) * c for n, c in zip(one.shape, CHUNK_VX, strict=True)]
        count = prod(-(-n // block) for n, block in zip(one.shape, blocks, strict=True))
        for halo in (segmenter.halo_vx, segmenter.halo_vx // 2):
            began = time.perf_counter()
            found = segmented(prediction, attrs.evolve(segmenter, halo_vx=halo), blocks, CHUNK_VX)
            print(
                f"  {count} blocks of {blocks}, halo {halo}, {found.max()} objects, "
                f"{words('to one block', scores(one, found))}; {words('to truth', scores(truth, found))}; "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="96 x 128 x 128 voxels of the ground truth")
    parser.add_argument("--prediction", help="of a run, on the voxels of the truth or a part of them")
    parser.add_argument("--truth", help=f"instance ids; by default {TRUTH} in DACAPO_HD_DATA")
    parser.add_argument("--min-size", type=int, default=200, help="least number of voxels of an object")
    parser.add_argument("--boundary", type=float, default=0.7, help="of the superpixels")
    arguments = parser.parse_args()
    truth = open_volume(arguments.truth or f"{os.environ['DACAPO_HD_DATA']}/{TRUTH}")
    if arguments.prediction:
        prediction = open_volume(arguments.prediction)
        partitions(prediction, truth.read(prediction.grid.roi), arguments)
        return
    instances = truth.read()[(slice(96), slice(128), slice(128)) if arguments.quick else (slice(None))]
    for noise in NOISES:
        print(f"affinities made with noise {noise:g}")
        partitions(prediction_from(instances, noise), instances, arguments)


def partitions(prediction: Volume, instances: NDArray[Any], arguments: argparse.Namespace) -> None:
    kinds = dict.fromkeys(kind_of(channel.name) for channel in stored_channels(prediction))
    for kind in [kind for kind in kinds if kind in KINDS]:
        size = arguments.min_size
        seams(prediction, instances, MutexWatershed(kind, min_size_vx=size))
        seams(prediction, instances, SuperpixelAgglomeration(kind, min_size_vx=size, boundary=arguments.boundary))


if __name__ == "__main__":
    main()
