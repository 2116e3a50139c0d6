"""What fixes the samples: crops, locations, windows, task, augmentations and seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.datasplits import OpenCrop
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import format_shape
from dacapo_hd.sampling.boxes import Box
from dacapo_hd.sampling.locations import Locator
from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.tasks.base import Task


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
        context = [
            max(math.ceil(task.context_nm / size), least)
            for size, least in zip(voxel_size_nm, task.context_vx, strict=True)
        ]
        if task.context_axes == "yx":
            context[0] = 0
        planar = shape[0] == 1 or architecture.context_vx[0] == 0
        return cls(Box((0, 0, 0), shape), Box(begin, output), tuple(context), planar)


def check_crops(crops: Sequence[OpenCrop], task: Task, architecture: Architecture, sampling: Sampling) -> None:
    """Raise UserError with everything that keeps the crops from being sampled together."""
    if not crops:
        raise UserError("datasplit: the list of training crops is empty; give at least one crop")
    problems = []
    for crop in crops:
        if crop.raw_grid.voxel_size != crops[0].raw_grid.voxel_size:
            problems.append(
                f"crop {crop.name!r}: voxel size {crop.raw_grid.voxel_size_nm} nm differs from "
                f"{crops[0].raw_grid.voxel_size_nm} nm of crop {crops[0].name!r}; set datasplit.voxel_size_nm"
            )
        if crop.channels != architecture.in_channels:
            problems.append(
                f"crop {crop.name!r}: raw has {crop.channels} channels, the architecture takes "
                f"{architecture.in_channels}; set architecture.in_channels"
            )
        needed, raw = architecture.input_shape_vx, crop.raw_grid.shape_vx
        if not sampling.pad_small_crops and any(n > size for n, size in zip(needed, raw, strict=True)):
            problems.append(
                f"crop {crop.name!r}: raw is {format_shape(raw)} voxels, smaller than the network's input of "
                f"{format_shape(needed)}; make architecture.input_shape_vx smaller, or set "
                "trainer.sampling.pad_small_crops: true to mirror the raw data"
            )
        if tuple(crop.classes) != tuple(task.classes):
            raise ValueError(f"crop {crop.name!r} was opened for {crop.classes}, the task has {task.classes}")
        problems += [
            f"crop {crop.name!r}: {problem}"
            for problem in task.problems_with(architecture, crop.raw_grid.voxel_size_nm, crop.raw_grid.shape_vx)
        ]
    if task.needs_instances:
        numbered = {name for crop in crops for name in crop.instance_classes}
        problems += [
            f"datasplit.train: no crop has instance ids of {name!r}, which {type(task).__name__} needs; "
            "give its labels as InstanceArray"
            for name in task.classes
            if name not in numbered
        ]
    if problems:
        raise UserError(*dict.fromkeys(problems))


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
