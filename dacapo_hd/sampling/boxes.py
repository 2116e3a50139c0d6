"""Boxes of voxels, and what flips and transpositions do to them."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray


@attrs.frozen
class Box:
    """A box of voxels; the corner may be negative."""

    begin: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def end(self) -> tuple[int, ...]:
        return tuple(b + n for b, n in zip(self.begin, self.shape, strict=True))

    def union(self, other: Box) -> Box:
        begin = tuple(min(a, b) for a, b in zip(self.begin, other.begin, strict=True))
        end = tuple(max(a, b) for a, b in zip(self.end, other.end, strict=True))
        return Box(begin, tuple(b - a for a, b in zip(begin, end, strict=True)))

    def slices_in(self, outer: Box) -> tuple[slice, ...]:
        """Return where this box lies in the data of a box around it."""
        starts = [b - a for a, b in zip(outer.begin, self.begin, strict=True)]
        return tuple(slice(a, a + n) for a, n in zip(starts, self.shape, strict=True))


def oriented_box(box: Box, orientation: NDArray[np.float64], twice_centre: tuple[int, ...]) -> Box:
    """Return the box of the volume that a signed permutation about a centre brings into `box`.

    `twice_centre` is the sum of the first and the last index of the sample. Where swapped axes have an odd and an
    even size, the centre moves by half a voxel.
    """
    begin, shape = [], []
    centres = source_twice_centre(orientation, twice_centre)
    for row, centre in zip(orientation, centres, strict=True):
        axis = int(np.flatnonzero(row)[0])
        low = 2 * box.begin[axis] - twice_centre[axis]
        high = low + 2 * (box.shape[axis] - 1)
        begin.append(((low if row[axis] > 0 else -high) + centre) // 2)
        shape.append(box.shape[axis])
    return Box(tuple(begin), tuple(shape))


def source_twice_centre(orientation: NDArray[np.float64], twice_centre: tuple[int, ...]) -> tuple[int, ...]:
    """Return the centre of the box of the volume, doubled like `twice_centre`, on which the sample's centre falls."""
    axes = [int(np.flatnonzero(row)[0]) for row in orientation]
    return tuple(c + (c - twice_centre[axis]) % 2 for c, axis in zip(twice_centre, axes, strict=True))


def orient(data: NDArray[Any], orientation: NDArray[np.float64]) -> NDArray[Any]:
    """Bring data (c, z, y, x) of an `oriented_box` into the sample's axes; contiguous."""
    order = [int(np.flatnonzero(column)[0]) for column in orientation.T]
    turned = data.transpose(0, *(1 + axis for axis in order))
    backwards = tuple(1 + axis for axis, column in enumerate(orientation.T) if column.sum() < 0)
    return np.ascontiguousarray(np.flip(turned, backwards))
