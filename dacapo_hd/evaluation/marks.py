"""One byte per voxel that says what is known of it and what is predicted there: all that scores of masks read.

Voxels whose truth is unknown have the mark 0, whatever is predicted there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.labels.block import PRESENT as PRESENT_CODE
from dacapo_hd.labels.block import UNKNOWN

Marks = NDArray[np.uint8]

KNOWN, PRESENT, BOUNDARY, NEAR_BORDER, PREDICTED, PREDICTED_BOUNDARY = (np.uint8(1 << bit) for bit in range(6))
KINDS = 64
TRUTH = KNOWN | PRESENT | BOUNDARY | NEAR_BORDER

# distances are rounded: one that is exactly the tolerance must not miss it
ROUNDING = 1e-5


def mark_truth(code: NDArray[np.uint8]) -> Marks:
    """Mark the voxels (z, y, x) of a class whose `code` is that of a `LabelBlock`.

    BOUNDARY voxels are present and share a face with an absent one: neither the edge of the block nor a border against
    unknown voxels is a boundary.
    """
    from dacapo_hd.evaluation import kernels

    marks = np.empty(code.shape, np.uint8)
    for plane, codes in zip(marks, code, strict=True):
        np.multiply(codes != UNKNOWN, KNOWN, out=plane)
        plane |= (codes == PRESENT_CODE) * PRESENT
    kernels.mark_boundary(marks, KNOWN, PRESENT, BOUNDARY)
    return marks


def mark_near_borders(marks: Marks, ids: NDArray[Any], voxel_size_nm: Sequence[float], tolerance_nm: float) -> None:
    """Set NEAR_BORDER on instances up to `tolerance_nm` away from a border pixel of their section; nothing at 0.

    The border mask of CREMI: a pixel is a border if one of its four neighbours in the section has another id.
    """
    from dacapo_hd.evaluation import kernels

    if tolerance_nm == 0:
        return
    reach = _reach(tolerance_nm * (1 + ROUNDING), voxel_size_nm[-2], voxel_size_nm[-1])
    for plane, own in zip(marks, ids, strict=True):
        kernels.mark_near_border(plane, _plane(own), KNOWN, PRESENT, NEAR_BORDER, reach)


def mark_prediction(marks: Marks, labels: NDArray[Any]) -> None:
    """Replace what is marked of an earlier prediction by `labels` (z, y, x), which are present where > 0."""
    from dacapo_hd.evaluation import kernels

    for plane, values in zip(marks, labels, strict=True):
        plane &= TRUTH
        plane |= ((values > 0) & (plane > 0)) * PREDICTED
    kernels.mark_boundary(marks, KNOWN, PREDICTED, PREDICTED_BOUNDARY)


def census(marks: Marks) -> NDArray[np.int64]:
    """Return the number of voxels of each of the KINDS of marks."""
    from dacapo_hd.evaluation import kernels

    counts = np.zeros(KINDS, np.int64)
    kernels.census(marks, counts)
    return counts


def kinds(condition: Callable[[int], Any]) -> NDArray[np.bool_]:
    """Return which of the KINDS of marks fulfil a condition."""
    return np.array([bool(condition(mark)) for mark in range(KINDS)])


def _plane(ids: NDArray[Any]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(ids, dtype=np.uint64)


def _reach(limit_nm: float, dy: float, dx: float) -> NDArray[np.int64]:
    """Return how many pixels along x are within the limit, for each number of rows away."""
    rows = np.arange(int(limit_nm / dy) + 1) * dy
    return np.array([int(math.sqrt(max(limit_nm**2 - row**2, 0)) / dx) for row in rows], np.int64)
