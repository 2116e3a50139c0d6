"""The size of an object, for its squared error as a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.marks import KNOWN, Marks


def size_nm(marks: Marks, inside: np.uint8, voxel_size_nm: Sequence[float]) -> float:
    """Return twice the largest chessboard distance of a known voxel with the bit `inside` to a known one without.

    In nm: a step along an axis counts the voxel's edge there. Unknown voxels are neither object nor background, nor is
    what lies beyond the block. 0 without an object; without background twice the longest edge of the box around what
    is known, which no other size reaches. Source: Baručić and Kybic, Learning to segment from object sizes (2022),
    equation 5.
    """
    from dacapo_hd.operations import size_kernels as kernels

    foreground = (marks & inside) > 0
    background = ((marks & KNOWN) > 0) & ~foreground
    if not foreground.any():
        return 0.0
    if not background.any():
        known = _around(foreground, margin=0)
        return 2 * max((part.stop - part.start) * size for part, size in zip(known, voxel_size_nm, strict=True))
    if (foreground | background).all():
        # around the object there is background: no other is nearer
        box = _around(foreground, margin=1)
        foreground, background = foreground[box], background[box]
    edges = {size for n, size in zip(marks.shape, voxel_size_nm, strict=True) if n > 1}
    if len(edges) == 1:
        states = np.where(background, np.uint8(kernels.BACKGROUND), np.uint8(kernels.OBJECT))
        return 2 * float(kernels.distances(states)[foreground].max()) * edges.pop()
    depth, height, width = map(float, voxel_size_nm)
    found = kernels.scaled_distances(np.ascontiguousarray(background), (depth, height, width))
    return 2 * float(found[foreground].max())


def _around(mask: NDArray[Any], margin: int) -> tuple[slice, ...]:
    """Return the box around a mask and the next voxels on each side, as far as there are some."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(int(filled[0]) - margin, 0), min(int(filled[-1]) + 1 + margin, mask.shape[axis])))
    return tuple(box)
