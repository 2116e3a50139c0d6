"""Which pairs of voxels lie in the same object, and where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT, LabelBlock

Offset = tuple[float, ...]
Unit = Literal["vx", "nm"]
Labels = NDArray[np.int64]

# Labels of single voxels beside ids (> 0): outside of all objects, inside of some object, nothing known.
OUTSIDE, SOME, NOTHING = 0, -1, -2

# (z, y, x) in voxels: the 16 neighbours of Bailoni et al. 2020, table S3, first column.
NEIGHBOURS_16: tuple[Offset, ...] = (
    (-1, 0, 0),
    (0, 0, -1),
    (0, -1, 0),
    (0, 0, -4),
    (0, -4, 0),
    (0, -4, -4),
    (0, -4, 4),
    (-1, 0, -4),
    (-1, -4, 0),
    (-1, -4, -4),
    (-1, -4, 4),
    (-2, 0, 0),
    (0, -8, -8),
    (0, -8, 8),
    (0, 0, -12),
    (0, -12, 0),
)


def offsets_in_voxels(
    offsets: Sequence[Offset], unit: Unit, voxel_size_nm: Sequence[float]
) -> tuple[tuple[int, ...], ...]:
    """Return offsets (z, y, x) in whole voxels; UserError for one that is no whole number of voxels."""
    if unit == "vx":
        return tuple(tuple(round(step) for step in offset) for offset in offsets)
    found = []
    for offset in offsets:
        steps = [step / size for step, size in zip(offset, voxel_size_nm, strict=True)]
        whole = tuple(map(round, steps))
        if any(abs(step - near) > 1e-6 * max(1, abs(near)) for step, near in zip(steps, whole, strict=True)):
            sizes = ", ".join(f"{size:g}" for size in voxel_size_nm)
            raise UserError(
                f"the offset {format_offset(offset)} nm is no whole number of voxels of {sizes} nm; "
                "choose multiples of the voxel size, or offsets in voxels"
            )
        found.append(whole)
    return tuple(found)


def format_offset(offset: Sequence[float]) -> str:
    """Write an offset as in channel names, `(-1,0,4)`."""
    return "(" + ",".join(f"{step:g}" for step in offset) + ")"


def object_labels(labels: LabelBlock, class_name: str) -> Labels:
    """Return what is known of the objects of a class, (z, y, x): ids, OUTSIDE, SOME or NOTHING."""
    code = labels.code[labels.classes.index(class_name)]
    found = np.full(code.shape, NOTHING, np.int64)
    found[code == ABSENT] = OUTSIDE
    present = code == PRESENT
    found[present] = SOME
    ids = labels.instances.get(class_name)
    if ids is not None:
        numbered = present & (ids > 0)
        found[numbered] = ids[numbered]
    return found


def affinities(labels: Labels, offsets_vx: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the affinity of each voxel u and u + offset, and whether it is known: two float32 (offset, z, y, x).

    It is 1 where both have the same id and 0 elsewhere, also between two voxels outside of all objects. It is known
    (weight 1) if both voxels are, or if one is outside and the other in some object; never where u + offset leaves
    the array. `labels` (z, y, x) comes from `object_labels`. Source: Turaga et al. 2010; Wolf et al. 2018.
    """
    value = np.zeros((len(offsets_vx), *labels.shape), np.float32)
    weight = np.zeros_like(value)
    for number, offset in enumerate(offsets_vx):
        here, there = overlap(labels.shape, offset)
        a, b = labels[here], labels[there]
        value[number][here] = (a == b) & (a > 0)
        weight[number][here] = ((a >= 0) & (b >= 0)) | (np.maximum(a, b) == OUTSIDE) & (np.minimum(a, b) == SOME)
    return value, weight


def overlap(shape: Sequence[int], offset: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where u and where u + offset lie, for all u of an array that stay inside with the offset."""
    axes = list(zip(shape, offset, strict=True))
    here = tuple(slice(min(max(0, -o), n), max(0, min(n, n - o))) for n, o in axes)
    there = tuple(slice(min(max(0, o), n), max(0, min(n, n + o))) for n, o in axes)
    return here, there


def reach(offsets_vx: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the largest step along each axis."""
    found: NDArray[Any] = np.abs(np.array(offsets_vx, float)).max(axis=0)
    return tuple(found.tolist())
