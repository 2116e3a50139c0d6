"""The pipeline of one process: from the number of a sample to its raw and targets."""

from __future__ import annotations

import attrs
import gunpowder as gp
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.sampling.augment import GeometricAugment, IntensityAugment, SectionAugment
from dacapo_hd.sampling.nodes import (
    INSTANCES,
    LABELS,
    LOCATION,
    RAW,
    AddTargets,
    ChangeIntensity,
    ChooseLocation,
    CropSource,
    LoseWholeSections,
    MoveVoxels,
    SampleRequest,
    box_roi,
    label_block,
    target_keys,
)
from dacapo_hd.sampling.recipe import Recipe
from dacapo_hd.tasks.base import Target


@attrs.frozen(eq=False)
class Sample:
    """One sample: raw float32 (c, z, y, x), labels and targets of the output window."""

    crop: str
    begin_vx: tuple[int, ...]
    raw: NDArray[np.float32]
    labels: LabelBlock
    targets: dict[str, Target]


class SamplePipeline:
    """A built gunpowder pipeline; sample `index` depends on (seed, index) alone.

    crops -> ChooseLocation -> MoveVoxels -> ChangeIntensity -> LoseWholeSections -> AddTargets
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
        sections = [(stream, augment) for stream, augment in numbered if isinstance(augment, SectionAugment)]
        if sections:
            pipeline += LoseWholeSections(sections)
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
        targets = {}
        for name in self._targets.names:
            value, weight = (batch[key] for key in target_keys(name))
            targets[name] = Target(value.data, weight.data, value.attrs["channels"])
        return Sample(
            self.recipe.locator.crops[crop].name,
            tuple(begin),
            batch[RAW].data,
            label_block(batch, self.recipe.task.classes),
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
