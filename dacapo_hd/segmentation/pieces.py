"""The pieces of objects, and of the gaps between them, that one block of a volume holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.components import components

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
NO_PAIRS: Int64s = np.zeros((0, 2), np.int64)
NO_SUMS: Floats = np.zeros(0)


@attrs.frozen(eq=False)
class Pieces:
    """What is known of the pieces 1, 2, ... of a block; entry 0 is piece 1.

    The first `foreground` pieces are of objects, the others are gaps: face-connected pieces of what is no object.
    Positions are in voxels of the whole volume.
    """

    foreground: int
    voxels: Int64s  # (n,)
    begin: Int64s  # (n, 3), the box
    end: Int64s  # (n, 3)
    sums: Int64s  # (n, 3), of the positions of all voxels
    first: Int64s  # (n,), the least position in the flattened volume
    open: NDArray[np.bool_]  # (n,), reaches the border of the volume, or of the mask
    seeds: Int64s  # (n,), the seed from which a piece grew, 0 for none; (0,) where objects have no seeds
    touching: Int64s  # (m, 2), pieces of this block that share faces, except two gaps; (0, 2) unless holes are filled
    uncertainty: Floats = NO_SUMS  # (n,), the sum over all voxels; (0,) where the prediction has none

    def __len__(self) -> int:
        return len(self.voxels)

    @property
    def certain(self) -> NDArray[np.bool_]:
        """Which pieces make an object (n,): those of the foreground, with a seed where objects have seeds."""
        own: NDArray[np.bool_] = np.arange(len(self)) < self.foreground
        return own & (self.seeds > 0) if len(self.seeds) else own


def with_gaps(labels: NDArray[Any], foreground: int) -> tuple[NDArray[np.uint32], int]:
    """Return labels in which the gaps have the numbers above `foreground`, and the highest number."""
    found = components(labels == 0, 6)
    number = foreground + int(found.max(initial=0))
    found += np.uint32(foreground)
    np.copyto(found, labels, where=labels > 0)
    return found, number


def measure(
    labels: NDArray[Any],
    number: int,
    foreground: int,
    begin: Sequence[int],
    shape: Sequence[int],
    outside: NDArray[np.bool_] | None = None,
    seeds: Int64s | None = None,
) -> Pieces:
    """Measure the labels 1 to `number` of a block (z, y, x) that begins at `begin` in a volume of `shape`.

    `outside` marks voxels that are not to be segmented. Where there are gaps, it is also found what touches what.
    Labels above `number` must not occur.
    """
    from dacapo_hd.segmentation import kernels

    largest = np.iinfo(np.int64).max
    voxels, sums = np.zeros(number, np.int64), np.zeros((number, 3), np.int64)
    low, high = np.full((number, 3), largest), np.zeros((number, 3), np.int64)
    first = np.full(number, largest)
    corner, extent = tuple(map(int, begin)), tuple(map(int, shape))
    kernels.measure(labels, corner, extent, voxels, low, high, sums, first)
    # two-dimensional data has no border above and below
    thick = np.array(extent) > 1
    reaches = (((low == 0) | (high == extent)) & thick).any(axis=1)
    if outside is not None:
        beside = np.unique(labels[outside])
        reaches[beside[beside > 0] - 1] = True
    touching = _touching(labels, foreground) if number > foreground else NO_PAIRS
    no_seeds = np.zeros(0, np.int64)
    return Pieces(foreground, voxels, low, high, sums, first, reaches, no_seeds if seeds is None else seeds, touching)


def sums(labels: NDArray[Any], number: int, values: NDArray[np.float32]) -> Floats:
    """Return the sum of `values` over each of the labels 1 to `number`; both arrays are (z, y, x)."""
    found = np.zeros(number + 1)
    # a section at a time, because both are copied as 64 bits
    for plane, own in zip(labels, values, strict=True):
        found += np.bincount(plane.ravel(), own.ravel(), number + 1)
    return found[1:]


def _touching(labels: NDArray[Any], foreground: int) -> Int64s:
    from dacapo_hd.segmentation import kernels

    keys = np.empty(labels.size // 8 + 64, np.int64)
    count = kernels.touching(labels, foreground, keys)
    if count > len(keys):
        keys = np.empty(count, np.int64)
        kernels.touching(labels, foreground, keys)
    found = np.unique(keys[:count])
    return np.stack([found >> 32, found & 0xFFFFFFFF], axis=1)
