"""Sampling: samples per second, our geometric augmentation next to gunpowder's, a training iteration next to its step.

Crops are Zarr arrays with smooth random objects of two classes; targets are those of HotDistance. The two geometric
nodes run in this process on one thread, in turns, and are timed in processor seconds; both rotate freely and deform
with the same control points, raw and one label array. Rates and training are wall-clock times, meaningless while other
work takes the processors; the times of one sample are processor seconds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gunpowder as gp
import numpy as np
import torch
from funlib.persistence import Array
from scipy.ndimage import gaussian_filter

from dacapo_hd.architectures import UNet
from dacapo_hd.architectures.base import Architecture
from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.datasplits import Crop, Crops, OpenCrop
from dacapo_hd.geometry import Grid
from dacapo_hd.labels import ClassArrays, ClassScheme
from dacapo_hd.sampling import (
    Augment,
    Batch,
    Defects,
    Elastic,
    Gamma,
    IntensityScaleShift,
    Mirror,
    Noise,
    Rotate,
    Sampling,
    Scale,
    Transpose,
    make_loader,
)
from dacapo_hd.sampling.boxes import Box
from dacapo_hd.sampling.locations import Locator
from dacapo_hd.sampling.nodes import (
    INSTANCES,
    LABELS,
    RAW,
    ChooseLocation,
    CropSource,
    MoveVoxels,
    SampleRequest,
    box_roi,
)
from dacapo_hd.sampling.pipeline import SamplePipeline
from dacapo_hd.sampling.recipe import Recipe
from dacapo_hd.tasks import HotDistance
from dacapo_hd.training.loop import TrainingState, training_step
from dacapo_hd.training.trainer import Trainer

VOXEL_SIZE_NM = (8.0, 8.0, 8.0)
SIDE_VX = 96
SPACING_VX, SIGMA_VX = 40, 2
ALL: tuple[Augment, ...] = (
    Mirror(),
    Transpose(),
    Rotate(),
    Scale(),
    Elastic(SPACING_VX, SIGMA_VX),
    IntensityScaleShift(),
    Gamma(),
    Noise(),
    Defects(),
)


@contextmanager
def open_crop(shape: tuple[int, ...], classes: tuple[str, ...]) -> Iterator[OpenCrop]:
    """Write a crop of random objects into a temporary folder and open it."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(shape).astype(np.float32), 4)
    cuts = np.quantile(noise, np.linspace(0, 1, len(classes) + 2))
    data = {"raw": ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)}
    data |= {
        c: ((noise > a) & (noise <= b)).astype(np.uint8) for c, a, b in zip(classes, cuts[1:-1], cuts[2:], strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / "crop.zarr" / name) for name in data}
        for name, values in data.items():
            volume = create_volume(paths[name], Grid.from_nm(shape, VOXEL_SIZE_NM), values.dtype)
            volume.write(volume.grid.roi, values)
        labels = ClassArrays(arrays={name: ArrayRef(paths[name]) for name in classes})
        scheme = ClassScheme(classes=dict.fromkeys(classes, ()))
        crop = Crop(name="crop", raw=ArrayRef(paths["raw"]), labels=(labels,))
        yield Crops(scheme=scheme, train=(crop,)).open("train", classes)[0]


def samples_per_second(
    crop: OpenCrop, task: HotDistance, architecture: Architecture, augments: tuple[Augment, ...], workers: int, n: int
) -> float:
    """Return the rate at which a loader that is always waited for gives samples, after its first ones."""
    with make_loader([crop], task, architecture, Sampling(augments=augments), 1, 0, workers) as loader:
        for _ in range(4 * workers):
            next(loader)
        begin = time.perf_counter()
        for _ in range(n):
            next(loader)
        return n / (time.perf_counter() - begin)


def processor_seconds(crop: OpenCrop, task: HotDistance, architecture: Architecture, n: int) -> list[str]:
    """Return lines with the processor time of a sample in this process, and the targets' share of it."""
    lines = []
    for name, augments in (("all augmentations", ALL), ("no augmentation", ())):
        pipeline = SamplePipeline(Recipe.of([crop], task, architecture, Sampling(augments=augments), 0))
        pipeline.sample(0)
        begin = time.process_time()
        for index in range(n):
            pipeline.sample(1 + index)
        lines.append(f"one sample, {name}: {(time.process_time() - begin) / n:.3f} s")
    windows = pipeline.recipe.windows
    shape = tuple(m + 2 * c for m, c in zip(windows.output.shape, windows.context_vx, strict=True))
    block = crop.read_labels(crop.label_grid.roi_of((0, 0, 0), shape))
    begin = time.process_time()
    for _ in range(n):
        task.targets(block)
    return [*lines, f"of which targets of {len(task.classes)} classes: {(time.process_time() - begin) / n:.3f} s"]


def our_node(crop: OpenCrop) -> Callable[[int], object]:
    """Return a call that makes the n-th deformed sample with our node."""
    window = Box((0, 0, 0), (SIDE_VX,) * 3)
    locator = Locator.of("uniform", [crop], window.shape, 0.0)
    augments = [(1, Rotate(about="any")), (2, Elastic(SPACING_VX, SIGMA_VX))]
    sources = (CropSource(crop),)
    pipeline = sources + ChooseLocation(locator, window) + MoveVoxels(augments, window, planar=False)
    pipeline.setup()

    def make(index: int) -> object:
        request = SampleRequest(0, index)
        for key in (RAW, LABELS, INSTANCES):
            request[key] = gp.ArraySpec(roi=box_roi(window, crop.raw_grid.voxel_size))
        return pipeline.request_batch(request)

    return make


def gunpowders_node(crop: OpenCrop) -> Callable[[int], object]:
    """Return a call that makes the n-th deformed sample with gunpowder's node, from arrays in memory."""
    raw, label = gp.ArrayKey("GP_RAW"), gp.ArrayKey("GP_LABEL")
    size = tuple(int(v) for v in VOXEL_SIZE_NM)
    grid = crop.raw_grid
    sources = (
        gp.ArraySource(raw, Array(crop.read_raw(grid.roi)[0], (0, 0, 0), size), interpolatable=True),
        gp.ArraySource(label, Array(crop.read_labels(grid.roi).code[0], (0, 0, 0), size), interpolatable=False),
    )
    spacing, sigma = (gp.Coordinate(size) * n for n in (SPACING_VX, SIGMA_VX))
    pipeline = sources + gp.MergeProvider() + gp.DeformAugment(spacing, sigma, rotate=True)
    pipeline.setup()
    corner = gp.Coordinate((n - SIDE_VX) // 2 for n in grid.shape_vx) * gp.Coordinate(size)

    def make(index: int) -> object:
        request = gp.BatchRequest(random_seed=index)
        for key in (raw, label):
            request[key] = gp.ArraySpec(roi=gp.Roi(corner, gp.Coordinate(size) * SIDE_VX))
        return pipeline.request_batch(request)

    return make


def geometric_nodes(n: int) -> list[str]:
    times: dict[str, list[float]] = {"ours": [], "gunpowder": []}
    with open_crop((256,) * 3, ("mito",)) as crop:
        nodes = {"ours": our_node(crop), "gunpowder": gunpowders_node(crop)}
        for index in range(n + 1):
            for name, make in nodes.items():
                begin = time.process_time()
                make(index)
                times[name].append(time.process_time() - begin)
    # the first sample compiles and opens
    ours, theirs = (float(np.median(values[1:])) for values in times.values())
    return [
        f"our geometric node, {SIDE_VX}^3: {ours:.4f} s",
        f"gunpowder DeformAugment, {SIDE_VX}^3: {theirs:.4f} s",
        f"geometric node speed ratio: {theirs / ours:.1f} x (goal >= 5, aim 10)",
    ]


def rates(n: int) -> list[str]:
    lines = []
    cases = {
        f"{SIDE_VX}^3": ((192,) * 3, UNet(input_shape_vx=(SIDE_VX,) * 3), HotDistance(("mito", "er"))),
        "512^2": (
            (32, 768, 768),
            UNet(input_shape_vx=(1, 512, 512), dims=2, padding="same"),
            HotDistance(("mito", "er"), distance_axes="yx"),
        ),
    }
    for name, (shape, architecture, task) in cases.items():
        with open_crop(shape, task.classes) as crop:
            lines += [f"{name}, {line}" for line in processor_seconds(crop, task, architecture, n)]
            for workers in (1, 2):
                full, plain = (samples_per_second(crop, task, architecture, a, workers, n) for a in (ALL, ()))
                case = f"{name}, {workers} worker{'s' * (workers > 1)}"
                lines.append(f"all augmentations, {case}: {full:.2f} samples/s")
                lines.append(f"no augmentation, {case}: {plain:.2f} samples/s")
    return lines


def training(turns: int, quick: bool) -> list[str]:
    """Time iterations with one worker in turns with bare steps on one batch, some of each per turn."""
    task, trainer = HotDistance(("mito", "er")), Trainer(precision="float32")
    architecture = UNet(input_shape_vx=(92,) * 3, num_fmaps=4 if quick else 12, fmap_inc_factor=2 if quick else 3)
    torch.set_num_threads(1)
    state = TrainingState.start(trainer, Network(architecture, task))
    waits, whole, bare = [], [], []

    def step(batch: Batch) -> None:
        torch.stack(list(training_step(trainer, task, state, batch).values())).sum().item()

    sampling = Sampling(augments=ALL)
    with (
        open_crop((192,) * 3, task.classes) as crop,
        make_loader([crop], task, architecture, sampling, 1, 0, workers=1) as loader,
    ):
        batch = next(loader)
        for _ in range(turns):
            # batches that were made during bare steps are not counted
            for counted in [False] * sampling.prefetch + [True] * 3:
                begin = time.perf_counter()
                fresh = next(loader)
                waited = time.perf_counter()
                step(fresh)
                if counted:
                    waits.append(waited - begin)
                    whole.append(time.perf_counter() - begin)
            for _ in range(3):
                begin = time.perf_counter()
                step(batch)
                bare.append(time.perf_counter() - begin)
    iteration, step_alone = float(np.median(whole)), float(np.median(bare))
    return [
        f"waiting for a batch, one worker: {np.median(waits):.4f} s",
        f"training iteration, one worker: {iteration:.4f} s",
        f"bare step on one batch: {step_alone:.4f} s",
        f"sampling overhead: {100 * (iteration / step_alone - 1):.1f} % (goal <= 5)",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, a smaller network")
    quick = parser.parse_args().quick
    lines = geometric_nodes(3 if quick else 15) + rates(4 if quick else 20) + training(2 if quick else 8, quick)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
