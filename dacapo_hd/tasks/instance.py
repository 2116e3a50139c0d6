"""What tasks share that tell the objects of a class apart: instance ids, offsets between voxels, branches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import attrs

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.config import non_empty, non_negative, one_of
from dacapo_hd.errors import UserError
from dacapo_hd.operations.affinities import Offset, Unit, format_offset, offsets_in_voxels, reach
from dacapo_hd.tasks.per_class import PerClassTask, known_score

AXES = "zyx"


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

    `offset_unit` is the unit of all offsets, `vx` or `nm`.
    """

    offset_unit: Unit = attrs.field(default="vx", validator=one_of(*get_args(Unit)), kw_only=True)
    best_by: str = attrs.field(default="cremi_score", validator=known_score, kw_only=True)

    @property
    def needs_instances(self) -> bool:
        return True

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
