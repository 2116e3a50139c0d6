"""The pipeline of one process: from the number of a sample to its raw and targets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import gunpowder as gp
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.datasplits import OpenCrop
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import format_shape, nm
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.sampling.augment import GeometricAugment, IntensityAugment
from dacapo_hd.sampling.locations import Locator
from dacapo_hd.sampling.nodes import (
    INSTANCES,
    LABELS,
    LOCATION,
    RAW,
    AddTargets,
    ChangeIntensity,
    ChooseLocation,
    CropSource,
    MoveVoxels,
    SampleRequest,
    box_roi,
    target_keys,
)
from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.sampling.warp import Box
from dacapo_hd.tasks.base import Target, Task


@attrs.frozen(eq=False)
class Sample:
    """One sample: raw float32 (c, z, y, x), labels and targets of the output window."""

    crop: str
    begin_vx: tuple[int, ...]
    raw: NDArray[np.float32]
    labels: LabelBlock
    targets: dict[str, Target]


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
        context = [math.ceil(task.context_nm / size) for size in voxel_size_nm]
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
    if problems:
        raise UserError(*problems)


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


class SamplePipeline:
    """A built gunpowder pipeline; sample `index` depends on (seed, index) alone.

    crops -> ChooseLocation -> MoveVoxels -> ChangeIntensity -> AddTargets
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        locator, windows = recipe.locator, recipe.windows
        sources = tuple(CropSource(crop) for crop in locator.crops)
        pipeline: gp.Pipeline = sources + ChooseLocation(locator, windows.output)  # type: ignore[operator, unused-ignore]
        # stream 0 draws locations
        numbered = list(enumerate(recipe.sampling.augments, start=1))
        geometric = [(stream, augment) for stream, augment in numbered if isinstance(augment, GeometricAugment)]
        if geometric:
            pipeline += MoveVoxels(geometric, windows.input, windows.planar)
        intensity = [(stream, augment) for stream, augment in numbered if isinstance(augment, IntensityAugment)]
        if intensity:
            pipeline += ChangeIntensity(intensity)
        self._targets = AddTargets(recipe.task, windows.output, windows.context_vx)
        self._pipeline = pipeline + self._targets
        self._pipeline.setup()

    def sample(self, index: int) -> Sample:
        """Make a sample; an error arrives as it was raised, without gunpowder's wrapping."""
        try:
            batch = self._pipeline.request_batch(self._request(index))
        except gp.PipelineRequestError as error:
            raise _cause(error) from None
        crop, *begin = (int(v) for v in batch[LOCATION].data)
        instances = dict(zip(batch[INSTANCES].attrs["classes"], batch[INSTANCES].data, strict=True))
        voxel_size_nm = nm(batch[LABELS].spec.voxel_size)
        targets = {}
        for name in self._targets.names:
            value, weight = (batch[key] for key in target_keys(name))
            targets[name] = Target(value.data, weight.data, value.attrs["channels"])
        return Sample(
            self.recipe.locator.crops[crop].name,
            tuple(begin),
            batch[RAW].data,
            LabelBlock(self.recipe.task.classes, batch[LABELS].data, voxel_size_nm, instances),
            targets,
        )

    def _request(self, index: int) -> SampleRequest:
        request = SampleRequest(self.recipe.seed, index)
        voxel_size = self.recipe.locator.crops[0].raw_grid.voxel_size
        output = box_roi(self.recipe.windows.output, voxel_size)
        request[RAW] = gp.ArraySpec(roi=box_roi(self.recipe.windows.input, voxel_size))
        for key in (LABELS, INSTANCES, *(key for name in self._targets.names for key in target_keys(name))):
            request[key] = gp.ArraySpec(roi=output)
        request[LOCATION] = gp.ArraySpec(nonspatial=True)
        return request


def _cause(error: BaseException) -> BaseException:
    """Return the exception at the root; gunpowder keeps it only as the context of its own."""
    while error.__context__ is not None:
        error = error.__context__
    return error
