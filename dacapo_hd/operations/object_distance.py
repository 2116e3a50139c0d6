"""How deep a voxel lies in its object, as a share of the object's deepest voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.operations.distance import ROUNDING, Axes, distance_to, half_edge_nm, signed_distance_interval


def object_distance(
    code: NDArray[np.uint8], ids: NDArray[np.uint32], voxel_size_nm: Sequence[float], axes: Axes = "zyx"
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (the distance to the boundary of a voxel's object over the largest in the object, which objects are cut).

    Both are (z, y, x); 0 to 1 in objects, 0 outside, NaN in objects of which no boundary is seen. `code` holds UNKNOWN,
    ABSENT and PRESENT, `ids` (0 for none) the objects; with `axes="yx"` each section of an object is one of its own.
    Distances are those of `signed_distance`. Neither unknown voxels nor the edge of the array are a boundary: what is
    seen of an object is taken for the whole. True in the second are the voxels of objects of which some voxel might
    have a nearer boundary there.

    Wu, Chen, Merhof 2020, section 3.
    """
    inside = (code == PRESENT) & (ids > 0)
    low, high = signed_distance_interval(code, voxel_size_nm, ids, axes)
    numbers = _numbered(ids, inside, axes)
    _tighten(high, low, numbers, code, ids, voxel_size_nm, axes)
    deepest = np.zeros(int(numbers.max(initial=0)) + 1, np.float32)
    known = inside & np.isfinite(high)
    np.maximum.at(deepest, numbers[known], high[known])
    unsure = inside & (low < high * (1 - ROUNDING))
    cut = np.zeros(len(deepest), np.bool_)
    cut[numbers[unsure]] = True
    cut[0] = False
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(known, high / deepest[numbers], np.float32(np.nan))
    return np.where(inside, share, np.float32(0)), cut[numbers]


def _tighten(
    high: NDArray[np.float32],
    low: NDArray[np.float32],
    numbers: NDArray[np.int64],
    code: NDArray[np.uint8],
    ids: NDArray[np.uint32],
    voxel_size_nm: Sequence[float],
    axes: Axes,
) -> None:
    """Make `high` the distance to the nearest voxel that is known to be outside, for objects with unknown ones about.

    The interval bounds it by absent voxels alone where an unknown one is nearer than another object.
    """
    from scipy.ndimage import find_objects

    if (code != UNKNOWN).all():
        return
    unsure = (numbers > 0) & (low < high * (1 - ROUNDING))
    half = np.float32(half_edge_nm(voxel_size_nm, axes))
    farthest = high + half
    if axes == "zyx":
        # where sections are annotated, the border in the section keeps the boxes small
        in_section = signed_distance_interval(code, voxel_size_nm, ids, "yx")[1]
        farthest = np.minimum(farthest, in_section + np.float32(half_edge_nm(voxel_size_nm, "yx")))
    for number, box in enumerate(find_objects(numbers), start=1):
        own = (numbers[box] == number) & unsure[box]
        if not own.any():
            continue
        around = _widened(box, float(farthest[box][own].max()), voxel_size_nm, code.shape, axes)
        others = (numbers[around] != number) & ((code[around] == ABSENT) | (numbers[around] > 0))
        distance = distance_to(others, voxel_size_nm, axes) - half
        here = (numbers[around] == number) & unsure[around]
        np.minimum(high[around], distance, out=high[around], where=here)


def _widened(
    box: tuple[slice, ...], reach_nm: float, voxel_size_nm: Sequence[float], shape: Sequence[int], axes: Axes
) -> tuple[slice, ...]:
    """Widen a box by a distance along the measured axes, not beyond the array."""
    widened = list(box)
    for axis in range(len(shape) - len(axes), len(shape)):
        steps = int(min(reach_nm / voxel_size_nm[axis], shape[axis])) + 1
        widened[axis] = slice(max(0, box[axis].start - steps), min(shape[axis], box[axis].stop + steps))
    return tuple(widened)


def _numbered(ids: NDArray[np.uint32], inside: NDArray[np.bool_], axes: Axes) -> NDArray[np.int64]:
    """Number the objects 1, 2, ..., 0 outside; those of each section on their own with `axes="yx"`."""
    import fastremap

    numbers, _ = fastremap.renumber(np.where(inside, ids, 0), preserve_zero=True)
    numbers = numbers.astype(np.int64)
    if axes == "yx":
        sections = np.arange(len(numbers)).reshape(-1, 1, 1) * (int(numbers.max(initial=0)) + 1)
        numbers = np.where(numbers > 0, numbers + sections, 0)
    return numbers
