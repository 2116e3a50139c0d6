"""What fixes the samples: crops, locations, windows, task, augmentations and seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.datasplits import OpenCrop
from dacapo_hd.datasplits.fingerprint import unknown_everywhere
from dacapo_hd.errors import UserError, said_once
from dacapo_hd.geometry import format_nm, format_shape
from dacapo_hd.sampling.augment import GeometricAugment
from dacapo_hd.sampling.boxes import Box
from dacapo_hd.sampling.geometric import Transpose
from dacapo_hd.sampling.locations import Locator
from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.tasks.base import Task

# labels further around a sample than so many lengths of the crop, or more voxels of them: a mistaken unit
MOST_CONTEXT = 10
MOST_WINDOW_VX = 2**31


@attrs.frozen
class Windows:
    """The input and output windows, in voxels from the input's first voxel, and the labels' context.

    `planar`: the network looks at single sections, so nothing may move along z.
    """

    input: Box
    output: Box
    context_vx: tuple[int, ...]
    planar: bool

    @classmethod
    def of(cls, architecture: Architecture, task: Task, voxel_size_nm: Sequence[float]) -> Windows:
        """Centre the output in the input."""
        shape = tuple(architecture.input_shape_vx)
        output = tuple(architecture.output_shape_vx(shape))
        scale = architecture.stages()[-1][0].scale
        if any(s != 1 for s in scale):
            raise UserError(f"architecture: its output voxels must be its input voxels, but each covers {scale}")
        begin = tuple((n - m) // 2 for n, m in zip(shape, output, strict=True))
        planar = shape[0] == 1 or architecture.context_vx[0] == 0
        return cls(Box((0, 0, 0), shape), Box(begin, output), label_context_vx(task, voxel_size_nm), planar)


def label_context_vx(task: Task, voxel_size_nm: Sequence[float]) -> tuple[int, ...]:
    """Return how many voxels (z, y, x) beyond the output a task needs labels."""
    context = [
        max(math.ceil(task.context_nm / size), least)
        for size, least in zip(voxel_size_nm, task.context_vx, strict=True)
    ]
    return (0, *context[1:]) if task.context_axes == "yx" else tuple(context)


def check_crops(crops: Sequence[OpenCrop], task: Task, architecture: Architecture, sampling: Sampling) -> None:
    """Raise UserError with everything that keeps the crops from being sampled together."""
    if not crops:
        raise UserError("datasplit: the list of training crops is empty; give at least one crop")
    found: list[tuple[str, str]] = []
    for crop in crops:
        if tuple(crop.classes) != tuple(task.classes):
            raise ValueError(f"crop {crop.name!r} was opened for {crop.classes}, the task has {task.classes}")
        own = [
            *_of_raw(crop, crops[0], architecture, sampling),
            *_of_annotations(crop, task, architecture),
            *_of_context(crop, task, architecture, sampling),
            *task.problems_with(architecture, crop.raw_grid.voxel_size_nm, crop.raw_grid.shape_vx),
        ]
        found += [(f"crop {crop.name!r}", problem) for problem in own]
    problems = said_once(found)
    problems += [problem for crop in crops for problem in _of_sampling(crop, task, architecture, sampling)]
    if task.needs_instances:
        numbered = {name for crop in crops for name in crop.instance_classes}
        problems += [
            f"datasplit.train: no crop has instance ids of {name!r}, which {type(task).__name__} needs; "
            f"give its labels as InstanceArray, or in a folder as labels/{name}_inst"
            for name in task.classes
            if name not in numbered
        ]
    if problems:
        raise UserError(*dict.fromkeys(problems))


def untaught(task: Task, crops: Sequence[OpenCrop]) -> tuple[str, ...]:
    """Return the classes of which no training crop knows a voxel, nor anything else that the task learns from."""
    labelled = [crop for crop in crops if crop.labelled]
    unknown = unknown_everywhere(labelled) if labelled else tuple(task.classes)
    taught = {name for crop in crops for name in task.taught_by(crop)} if unknown else set()
    return tuple(name for name in unknown if name not in taught)


def _of_raw(crop: OpenCrop, first: OpenCrop, architecture: Architecture, sampling: Sampling) -> list[str]:
    """Say what keeps the network from being trained on a crop's raw data, next to the first crop."""
    problems = []
    if crop.raw_grid.voxel_size != first.raw_grid.voxel_size:
        problems.append(
            f"voxel size {crop.raw_grid.voxel_size_nm} nm differs from {first.raw_grid.voxel_size_nm} nm of crop "
            f"{first.name!r}; set datasplit.voxel_size_nm"
        )
    if crop.channels != architecture.in_channels:
        problems.append(
            f"raw has {crop.channels} channels, the architecture takes {architecture.in_channels}; set "
            "architecture.in_channels"
        )
    needed, raw, context = architecture.input_shape_vx, crop.raw_grid.shape_vx, architecture.context_vx
    if raw[0] == 1 and context[0] > 0:
        problems.append(
            f"raw is a single section, but the network sees {context[0]} more on either side, which would be copies of "
            "it; set architecture.dims: 2"
        )
    elif not sampling.pad_small_crops and any(n > size for n, size in zip(needed, raw, strict=True)):
        problems.append(
            f"raw is {format_shape(raw)} voxels, smaller than the network's input of {format_shape(needed)}; make "
            "architecture.input_shape_vx smaller, or set trainer.sampling.pad_small_crops: true to mirror the raw data"
        )
    return problems


def _of_context(crop: OpenCrop, task: Task, architecture: Architecture, sampling: Sampling) -> list[str]:
    """Say that labels would be needed so far around a sample that a length is probably in another unit."""
    context, longest = label_context_vx(task, crop.raw_grid.voxel_size_nm), max(crop.raw_grid.shape_vx)
    window = [
        n + 2 * c for n, c in zip(architecture.output_shape_vx(architecture.input_shape_vx), context, strict=True)
    ]
    far = max(context) > MOST_CONTEXT * longest or math.prod(window) > MOST_WINDOW_VX
    if sampling.allow_large_context or not far:
        return []
    return [
        f"the task needs labels up to {task.context_nm:g} nm ({max(context)} voxels) around each patch, but raw is "
        f"{longest} voxels long; correct the voxel size {format_nm(crop.raw_grid.voxel_size_nm)} (is it in "
        "micrometres?) or the lengths of the task, or set trainer.sampling.allow_large_context: true"
    ]


def _of_annotations(crop: OpenCrop, task: Task, architecture: Architecture) -> list[str]:
    """Say what keeps a crop from teaching by what it is annotated with instead of labels, or beside them."""
    try:
        taught = task.taught_by(crop)
    except UserError as error:
        return list(error.problems)
    if not taught:
        what = "no labels; give at least one label source in `labels`"
        return [] if crop.labelled else [f"{what} (its annotations teach this task nothing)"]
    output, extent = architecture.output_shape_vx(architecture.input_shape_vx), crop.label_grid.shape_vx
    if any(n > size for n, size in zip(extent, output, strict=True)):
        return [
            f"what is annotated takes {format_shape(extent)} voxels, but the network's output {format_shape(output)}, "
            "which would cut objects; make architecture.input_shape_vx larger or crops smaller"
        ]
    return []


def _of_sampling(crop: OpenCrop, task: Task, architecture: Architecture, sampling: Sampling) -> list[str]:
    """Say which settings of sampling spoil what a crop teaches by its annotations."""
    try:
        taught = task.taught_by(crop)
    except UserError:
        # said with the crop
        return []
    if not taught:
        return []
    problems = []
    shape = architecture.input_shape_vx
    planar, output = shape[0] == 1 or architecture.context_vx[0] == 0, architecture.output_shape_vx(shape)
    if not crop.labelled and sampling.locations == "balanced":
        problems.append(
            "sampling.locations: balanced takes samples where labels are, so that crops without labels would never be "
            "seen; set known or uniform"
        )
    for augment in sampling.augments:
        if isinstance(augment, GeometricAugment) and not augment.keeps_sizes:
            problems.append(
                f"sampling.augments: {type(augment).__name__} changes the sizes of objects, with which crops are "
                "annotated; leave it out"
            )
        elif isinstance(augment, Transpose) and len({output[axis] for axis in _turned(crop, planar)}) > 1:
            problems.append(
                f"sampling.augments: Transpose turns samples, so that an output of {format_shape(output)} voxels would "
                "cut annotated objects; leave it out, or make architecture.input_shape_vx equal along the turned axes"
            )
    return problems


def _turned(crop: OpenCrop, planar: bool) -> list[int]:
    """Return the axes that a transposition may exchange."""
    sizes = crop.raw_grid.voxel_size
    return [axis for axis in range(3) if sizes[axis] == sizes[2] and not (planar and axis == 0)]


@attrs.frozen(eq=False)
class Recipe:
    """All that fixes the samples; picklable, so that each process builds its own pipeline from it."""

    locator: Locator
    task: Task
    sampling: Sampling
    windows: Windows
    seed: int

    @classmethod
    def of(
        cls, crops: Sequence[OpenCrop], task: Task, architecture: Architecture, sampling: Sampling, seed: int
    ) -> Recipe:
        """Check and prepare; reads all labels once unless locations are `uniform`. UserError with all problems."""
        check_crops(crops, task, architecture, sampling)
        windows = Windows.of(architecture, task, crops[0].raw_grid.voxel_size_nm)
        locator = Locator.of(sampling.locations, crops, windows.output.shape, sampling.min_known)
        return cls(locator, task, sampling, windows, seed)
