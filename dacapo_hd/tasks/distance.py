"""The distance baseline: how far is the boundary of the class?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args

import attrs

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.config import fraction, one_of, positive
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.operations.distance import Axes
from dacapo_hd.segmentation import Threshold, Watershed
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.tasks.base import Circumstances, Lesson, OutputChannel, Target
from dacapo_hd.tasks.parts import Boundaries, Supervision, distance_channels, distance_target, saturation_nm
from dacapo_hd.tasks.per_class import PerClassTask

if TYPE_CHECKING:
    from torch import Tensor, nn


@attrs.frozen
class Distance(PerClassTask):
    """Predict for each class tanh(d / scale_nm), d the signed distance to its boundary (nm, positive inside).

    Source: Heinrich et al. 2018 and 2021; Hot-Distance, section 2.2. Partial annotation gives bounds of d. Supervision
    `exact` counts a voxel where the bounds are at most `tolerance` (in units of the tanh) apart; `interval`, our
    extension, counts every bound and punishes only predictions outside of it. `distance_axes: yx` measures within
    sections: for two-dimensional networks, two-dimensional data and annotation of single sections. `boundaries:
    instance` puts a boundary between instances that touch; it needs instance ids.
    """

    scale_nm: float = attrs.field(default=50.0, validator=positive)
    distance_supervision: Supervision = attrs.field(default="exact", validator=one_of(*get_args(Supervision)))
    tolerance: float = attrs.field(default=0.01, validator=[positive, fraction])
    distance_axes: Axes = attrs.field(default="zyx", validator=one_of(*get_args(Axes)))
    boundaries: Boundaries = attrs.field(default="class", validator=one_of(*get_args(Boundaries)))

    @property
    def context_nm(self) -> float:
        return saturation_nm(self.scale_nm, self.tolerance)

    @property
    def context_axes(self) -> Axes:
        return self.distance_axes

    @property
    def dense(self) -> bool:
        return self.boundaries == "instance"

    def remedy(self, target: str, class_name: str, about: Circumstances) -> str:
        if target != "distance":
            return super().remedy(target, class_name, about)
        if self.boundaries == "instance" and not about.has_ids:
            return (
                f"boundaries: instance needs ids of {class_name!r}: give its labels as InstanceArray (in a folder "
                f"labels/{class_name}_inst), or set task.boundaries: class"
            )
        if about.sections_alone and self.distance_axes == "zyx":
            return "a section alone says little of distances along z: set task.distance_axes: yx"
        if about.fills_crops:
            return (
                f"{class_name!r} fills its crops, so that none of its boundary is in reach: give crops with its "
                "boundary, or learn it by OneHot"
            )
        return (
            f"task.scale_nm: {self.scale_nm:g} reaches further than what is known: lower it, or set "
            "task.distance_supervision: interval"
        )

    def remarks(self, lessons: Sequence[Lesson]) -> list[str]:
        if self.boundaries == "class":
            return []
        inside = [one for one in lessons if one.target == "distance" and one.present > 0]
        return [
            f"task: all distances inside {name!r} are the same, as if every voxel lay at a boundary: boundaries: "
            f"instance needs ids of it; give its labels as InstanceArray (in a folder labels/{name}_inst), or set "
            "task.boundaries: class"
            for name in dict.fromkeys(one.class_name for one in inside)
            if all(one.inside_low == one.inside_high for one in inside if one.class_name == name)
        ]

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        target = distance_target(
            labels, self.scale_nm, self.distance_supervision, self.tolerance, self.distance_axes, self.boundaries
        )
        return {"distance": target}

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module:
        from dacapo_hd.tasks.head import SplitHead

        return SplitHead(stages, {"distance": len(self.classes)}, bounded=["distance"])

    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        from dacapo_hd.operations.losses import interval_loss

        return {"distance": interval_loss(predictions["distance"], *targets["distance"], self.balance)}

    def output_channels(self) -> tuple[OutputChannel, ...]:
        return distance_channels(self.classes)

    def decode(self, predictions: Mapping[str, Tensor]) -> Tensor:
        return predictions["distance"].float()

    def default_grid(self) -> tuple[Segmenter, ...]:
        if self.boundaries == "instance":
            return tuple(Watershed(quantity="distance", threshold=0.0, seed_threshold=t) for t in (0.3, 0.5, 0.7))
        return tuple(Threshold(quantity="distance", threshold=t) for t in (-0.1, 0.0, 0.1))
