"""What tasks share that tell the objects of a class apart: instance ids, offsets between voxels, branches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import attrs

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.config import non_empty, non_negative, one_of
from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.operations.affinities import Offset, Unit, format_offset, offsets_in_voxels, reach
from dacapo_hd.tasks.base import Circumstances, Lesson, OutputChannel, Target
from dacapo_hd.tasks.parts import one_hot_target, probability_channels
from dacapo_hd.tasks.per_class import PerClassTask, known_score

if TYPE_CHECKING:
    from torch import Tensor

AXES = "zyx"
FOREGROUND = "foreground"


def check_offsets(instance: Any, attribute: attrs.Attribute[Any], value: tuple[Offset, ...]) -> None:
    """Validate offsets: three numbers each, whole in voxels, none twice and none that leads nowhere."""
    for offset in value:
        if len(offset) != 3:
            raise ValueError(
                f"must be three numbers each (z, y, x), 0 along z within a section; got {format_offset(offset)}"
            )
        if not any(offset):
            raise ValueError("must lead to another voxel, got (0,0,0)")
        if getattr(instance, "offset_unit", "vx") == "vx" and any(step != round(step) for step in offset):
            raise ValueError(f"must be whole numbers of voxels, got {format_offset(offset)}")
    if len(set(value)) < len(value):
        raise ValueError("must differ from each other")


@attrs.frozen
class AffinityBranch:
    """Offsets (z, y, x) that are learnt on a decoder level, 0 being the finest; for training only."""

    level: int = attrs.field(validator=non_negative)
    offsets: tuple[Offset, ...] = attrs.field(validator=non_empty)
    # checked by the task, which knows the unit


@attrs.frozen
class InstanceTask(PerClassTask):
    """A task that learns from instance ids and predicts for pairs of voxels whether they lie in the same object.

    `offset_unit` is the unit of all offsets, `vx` or `nm`. With `foreground` the probability that the class is present
    is learnt beside, to which segmenters keep: without it, what lies between objects is given to them.
    """

    offset_unit: Unit = attrs.field(default="vx", validator=one_of(*get_args(Unit)), kw_only=True)
    best_by: str = attrs.field(default="panoptic_quality", validator=known_score, kw_only=True)
    foreground: bool = attrs.field(default=True, kw_only=True)

    @property
    def needs_instances(self) -> bool:
        return True

    def remedy(self, target: str, class_name: str, about: Circumstances) -> str:
        if target == FOREGROUND:
            return super().remedy(target, class_name, about)
        if not about.has_ids:
            where = f"give its labels as InstanceArray (in a folder labels/{class_name}_inst)"
            return f"{class_name!r} has no instance ids: {where}"
        return "few pairs of voxels are known at both ends: choose shorter offsets, or annotate more densely"

    def remarks(self, lessons: Sequence[Lesson]) -> list[str]:
        of_pairs = [one for one in lessons if "(" in one.channel and one.counted > 0 and one.low == one.high]
        never = [one.channel for one in of_pairs if one.high == 0]
        always = [one.channel for one in of_pairs if one.low == 1]
        found = []
        if never:
            found.append(
                f"task: in no sample do both ends of {', '.join(never)} lie in one object; leave out these offsets, or "
                "check the ids"
            )
        if always:
            found.append(
                f"task: in every sample both ends of {', '.join(always)} lie in one object, so that no border is "
                "learnt; check the ids, or choose longer offsets"
            )
        return found

    @abstractmethod
    def all_offsets(self) -> tuple[Offset, ...]:
        """Return every offset that a target is made for."""

    def levels(self) -> Iterable[int]:
        """Return the decoder levels that are used."""
        return (0,)

    @property
    def context_nm(self) -> float:
        return max(reach(self.all_offsets())) if self.offset_unit == "nm" else 0.0

    @property
    def context_vx(self) -> tuple[int, ...]:
        return tuple(map(int, reach(self.all_offsets()))) if self.offset_unit == "vx" else (0, 0, 0)

    def foreground_targets(self, labels: LabelBlock) -> dict[str, Target]:
        """Return the target of `foreground`, if it is learnt."""
        return {FOREGROUND: one_hot_target(labels)} if self.foreground else {}

    def foreground_branches(self) -> dict[str, tuple[int, int]]:
        """Return level and channels of its output."""
        return {FOREGROUND: (0, len(self.classes))} if self.foreground else {}

    def foreground_losses(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """Return its loss, where it is taught."""
        from dacapo_hd.operations.losses import one_hot_loss

        if FOREGROUND not in targets:
            return {}
        return {FOREGROUND: one_hot_loss(predictions[FOREGROUND], *targets[FOREGROUND], self.balance)}

    def foreground_channels(self) -> tuple[OutputChannel, ...]:
        """Name its decoded channels."""
        return probability_channels(self.classes) if self.foreground else ()

    def decoded_foreground(self, predictions: Mapping[str, Tensor]) -> list[Tensor]:
        """Return its probabilities, (b, class, z, y, x)."""
        return [predictions[FOREGROUND].float().sigmoid()] if self.foreground else []

    def in_voxels(self, offsets: Sequence[Offset], voxel_size_nm: Sequence[float]) -> tuple[tuple[int, ...], ...]:
        """Return offsets in whole voxels; UserError if they are none."""
        return offsets_in_voxels(offsets, self.offset_unit, voxel_size_nm)

    def problems_with(
        self, architecture: Architecture, voxel_size_nm: Sequence[float], shape_vx: Sequence[int]
    ) -> list[str]:
        levels = len(architecture.stages()[-1])
        problems = [
            f"task.branches: the network has no decoder level {level}, only 0 to {levels - 1}"
            for level in sorted(set(self.levels()))
            if level >= levels
        ]
        try:
            offsets = self.in_voxels(self.all_offsets(), voxel_size_nm)
        except UserError as error:
            return [*problems, *(f"task: {problem}" for problem in error.problems)]
        for given, offset in zip(self.all_offsets(), offsets, strict=True):
            axes = zip(AXES, offset, architecture.input_shape_vx, strict=True)
            problems += [
                f"task: the offset {format_offset(given)} reaches out of the network's input, which is {size} voxels "
                f"along {name}; enlarge architecture.input_shape_vx or choose a shorter offset"
                for name, step, size in axes
                if abs(step) >= size
            ]
        if shape_vx[0] > 1 and not any(offset[0] for offset in offsets):
            problems.append(
                f"task: no offset leaves the section, but the volume has {shape_vx[0]} sections, whose objects would "
                "fall apart; add an offset along z such as (-1,0,0)"
            )
        return problems
