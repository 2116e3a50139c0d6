"""How deep a voxel lies in its object, as a share of the object's deepest voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.labels.block import PRESENT
from dacapo_hd.operations.distance import ROUNDING, Axes, signed_distance_interval


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


def _numbered(ids: NDArray[np.uint32], inside: NDArray[np.bool_], axes: Axes) -> NDArray[np.int64]:
    """Number the objects 1, 2, ..., 0 outside; those of each section on their own with `axes="yx"`."""
    import fastremap

    numbers, _ = fastremap.renumber(np.where(inside, ids, 0), preserve_zero=True)
    numbers = numbers.astype(np.int64)
    if axes == "yx":
        sections = np.arange(len(numbers)).reshape(-1, 1, 1) * (int(numbers.max(initial=0)) + 1)
        numbers = np.where(numbers > 0, numbers + sections, 0)
    return numbers
