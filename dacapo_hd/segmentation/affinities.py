"""Affinities as channels of a prediction, and as weights of a graph whose nodes are voxels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.operations.affinities import Offset, Unit, format_offset, offsets_in_voxels, overlap, reach
from dacapo_hd.segmentation.base import MissingChannelError, Prediction, Segmenter
from dacapo_hd.segmentation.reading import quantities

# what a task predicts itself; by a second stage from frozen latent masks; by aggregating decoded latent masks
KINDS = ("affinity", "latent_affinity", "mask_affinity")

_CHANNEL = re.compile(r"(?P<name>.*)/(?P<kind>\w+)\((?P<offset>[-+.,e\d]+)\)(?P<unit>nm)?")


@attrs.frozen(eq=False)
class Affinities:
    """Values float32 (offset, z, y, x) in 0..1 of the pairs u and u + offset; offsets in voxels (z, y, x).

    `mask` tells which voxels may be in an object, None: all.
    """

    offsets_vx: tuple[tuple[int, ...], ...]
    values: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None

    def within(self, mask: NDArray[np.bool_]) -> Affinities:
        """Return the same affinities, but 0 for pairs that are not both inside of a mask (z, y, x)."""
        values = self.values.copy()
        for value, offset in zip(values, self.offsets_vx, strict=True):
            here, there = overlap(mask.shape, offset)
            value[here] *= mask[here] & mask[there]
        return Affinities(self.offsets_vx, values, mask)

    def near(self) -> NDArray[np.bool_]:
        """Tell which offsets lead to one of the 26 neighbours."""
        steps: NDArray[np.int64] = np.abs(np.array(self.offsets_vx, np.int64)).max(axis=1)
        return steps == 1


def affinity_channel(class_name: str, kind: str, offset: Offset, unit: Unit) -> str:
    """Name the channel of an offset (z, y, x)."""
    return f"{class_name}/{kind}{format_offset(offset)}{'nm' if unit == 'nm' else ''}"


def affinities_of(prediction: Prediction, kind: str, segmenter: Segmenter) -> dict[str, Affinities]:
    """Return the affinities of each class, in the prediction's order; UserError if there are none of this kind.

    Also for offsets that are no whole number of voxels, and where there are several sections and only offsets within
    one, because their objects would fall apart.
    """
    numbers: dict[str, list[int]] = {}
    offsets: dict[str, list[Offset]] = {}
    units: set[Unit] = set()
    for number, channel in enumerate(prediction.channels):
        parts = _CHANNEL.fullmatch(channel)
        if parts is not None and parts["kind"] == kind:
            numbers.setdefault(parts["name"], []).append(number)
            offsets.setdefault(parts["name"], []).append(tuple(float(step) for step in parts["offset"].split(",")))
            units.add("nm" if parts["unit"] else "vx")
    if not numbers:
        raise MissingChannelError(
            f"{segmenter.label}: the prediction has no channel of {kind!r}, only "
            f"{', '.join(quantities(prediction.channels))}; choose a segmenter for what the task predicts"
        )
    (unit,) = units
    shape = prediction.data.shape[1:]
    return {
        name: Affinities(_in_voxels(offsets[name], unit, prediction, segmenter), prediction.data[_run(chosen)])
        if shape != (1, 1, 1)
        # a single voxel stands for a volume of any size, before the voxel size is known
        else Affinities(tuple((0, 0, 0) for _ in chosen), prediction.data[chosen])
        for name, chosen in numbers.items()
    }


def _run(numbers: Sequence[int]) -> slice | list[int]:
    """Return numbers that follow each other as a slice, which copies nothing."""
    run = range(numbers[0], numbers[0] + len(numbers))
    return slice(run.start, run.stop) if list(run) == list(numbers) else list(numbers)


def _in_voxels(
    offsets: Sequence[Offset], unit: Unit, prediction: Prediction, segmenter: Segmenter
) -> tuple[tuple[int, ...], ...]:
    found = offsets_in_voxels(offsets, unit, prediction.voxel_size_nm)
    sections = prediction.data.shape[1]
    if sections > 1 and not any(offset[0] for offset in found):
        raise UserError(
            f"{segmenter.label}: no offset leaves the section, but there are {sections} sections, whose objects would "
            "fall apart; add an offset along z such as (-1,0,0) to the task"
        )
    return found


def reach_vx(prediction: Prediction, kind: str, segmenter: Segmenter) -> tuple[int, ...]:
    """Return the largest step along each axis of the affinities of all classes."""
    found = affinities_of(prediction, kind, segmenter).values()
    return tuple(map(int, reach([offset for one in found for offset in one.offsets_vx])))


def interior(affinities: Affinities) -> NDArray[np.float32]:
    """Return the mean affinity of each voxel with its face neighbours, (z, y, x) in 0..1.

    Where no offset leads there, all offsets count; without any pair, as of a single voxel, it is 0.
    """
    shape = affinities.values.shape[1:]
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for values, here, there in _of_neighbours(affinities, axes=(0, 1, 2)):
        for end in (here, there):
            total[end] += values
            count[end] += 1
    return np.divide(total, count, out=total, where=count > 0)


def interior_of_sections(affinities: Affinities) -> NDArray[np.float32]:
    """Return the least affinity of each voxel with its face neighbours in the section, (z, y, x) in 0..1.

    Of four neighbours a boundary separates a voxel often from one alone, which a mean would hardly show.
    """
    found = np.ones(affinities.values.shape[1:], np.float32)
    for values, here, there in _of_neighbours(affinities, axes=(1, 2)):
        for end in (here, there):
            np.minimum(found[end], values, out=found[end])
    return found


def _of_neighbours(
    affinities: Affinities, axes: Sequence[int]
) -> Iterator[tuple[NDArray[np.float32], tuple[slice, ...], tuple[slice, ...]]]:
    """Yield for the offsets to face neighbours along axes, else for all, the values and where both ends lie."""
    steps = np.abs(np.array(affinities.offsets_vx, np.int64))
    chosen = (steps.sum(axis=1) == 1) & (steps[:, axes].sum(axis=1) == 1)
    for number in np.flatnonzero(chosen if chosen.any() else np.ones_like(chosen)):
        here, there = overlap(affinities.values.shape[1:], affinities.offsets_vx[number])
        yield affinities.values[number][here], here, there
