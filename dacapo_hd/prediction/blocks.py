"""Cutting a volume into blocks, and reading a block with the context that its network needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lcm, prod

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.blockwise.grid import BlockGrid, Shape
from dacapo_hd.geometry import Grid
from dacapo_hd.operations.mirror import mirrored


def aligned_outwards(begin: Sequence[int], end: Sequence[int], step: Sequence[int]) -> tuple[Shape, Shape]:
    """Extend a box to multiples of `step`; returns its begin and shape."""
    first = tuple(b // s * s for b, s in zip(begin, step, strict=True))
    return first, tuple(-((f - e) // s) * s for f, e, s in zip(first, end, step, strict=True))


@attrs.frozen
class Layout:
    """Blocks that together write each voxel of a box once, in voxels of the source.

    Where a block has room for one of the target's chunks (`chunk` voxels long, the first at `chunk_origin`), cuts lie
    between chunks; otherwise on multiples of `step`. The blocks of an axis have about the same length.
    """

    begin: Shape
    end: Shape
    step: Shape
    chunk: Shape
    chunk_origin: Shape

    @classmethod
    def of(cls, grid: Grid, roi: Roi, step: Shape, chunk: Shape, chunk_origin: Shape) -> Layout:
        """Return the layout of an ROI (femtometres) in voxels of `grid`."""
        box = grid.slices(roi)
        return cls(tuple(s.start for s in box), tuple(s.stop for s in box), step, chunk, chunk_origin)

    def grid(self, block_shape: Sequence[int]) -> BlockGrid:
        """Return the blocks, none longer than `block_shape` unless that is less than a step."""
        cuts = [self._cuts(axis, size) for axis, size in enumerate(block_shape)]
        lengths, origins = zip(*cuts, strict=True)
        return BlockGrid(self.begin, self.end, lengths, origins)

    def largest_block(self, input_shape_for: Callable[[Sequence[int]], Shape], input_voxels: float) -> Shape:
        """Choose the block shape that computes fewest voxels with at most `input_voxels` in the input of a block.

        Blocks are split along the axis on which that adds least context. The smallest block is one step, however many
        voxels its input has.
        """
        shape = tuple(e - b for b, e in zip(self.begin, self.end, strict=True))
        while prod(input_shape_for(self._padded(shape))) > input_voxels:
            smaller = [
                (*shape[:axis], size, *shape[axis + 1 :]) for axis in range(3) if (size := self._next(axis, shape))
            ]
            if not smaller:
                break
            shape = min(smaller, key=lambda candidate: self._computed(candidate, input_shape_for))
        return shape

    def _padded(self, shape: Sequence[int]) -> Shape:
        return tuple(-(-size // step) * step for size, step in zip(shape, self.step, strict=True))

    def times_computed(self, shape: Sequence[int], input_shape_for: Callable[[Sequence[int]], Shape]) -> float:
        """Return how many voxels the inputs of all blocks of a shape have, for each voxel of the box."""
        return self._computed(shape, input_shape_for) / prod(e - b for b, e in zip(self.begin, self.end, strict=True))

    def _computed(self, shape: Sequence[int], input_shape_for: Callable[[Sequence[int]], Shape]) -> int:
        counts = (-(-(e - b) // size) for b, e, size in zip(self.begin, self.end, shape, strict=True))
        return prod(counts) * prod(input_shape_for(self._padded(shape)))

    def _unit(self, axis: int, block: int) -> int:
        """Return the spacing of the places where an axis may be cut."""
        chunk, step = self.chunk[axis], self.step[axis]
        both = lcm(chunk, step)
        return both if both <= block else chunk if chunk <= block else step

    def _next(self, axis: int, shape: Shape) -> int:
        """Return the next smaller block length along an axis, 0 where there is none."""
        extent, size = self.end[axis] - self.begin[axis], shape[axis]
        unit = self._unit(axis, size - 1)
        if size <= unit:
            return 0
        count = -(-extent // ((size - 1) // unit * unit))
        return -(-extent // (count * unit)) * unit

    def _cuts(self, axis: int, block: int) -> tuple[int, int]:
        """Return the distance between cuts and one of them."""
        begin, end = self.begin[axis], self.end[axis]
        if end - begin <= block:
            return end - begin, begin
        unit = self._unit(axis, block)
        origin = self.chunk_origin[axis] if unit % self.chunk[axis] == 0 else 0
        start = begin - (begin - origin) % unit
        count = -(-(end - start) // (max(block // unit, 1) * unit))
        return -(-(end - start) // (count * unit)) * unit, start


def read_mirrored(source: Volume, begin: Sequence[int], shape: Sequence[int]) -> NDArray[np.generic]:
    """Read a box that may reach beyond a volume, which is reflected there: (c, z, y, x) in the source's dtype.

    `begin` counts voxels from the source's first one.
    """
    axes = [mirrored(b, b + n, size) for b, n, size in zip(begin, shape, source.grid.shape_vx, strict=True)]
    first = [int(axis.min()) for axis in axes]
    extent = [int(axis.max()) - low + 1 for axis, low in zip(axes, first, strict=True)]
    data: NDArray[np.generic] = source.read(source.grid.roi_of(first, extent))
    data = data if data.ndim == 4 else data[np.newaxis]
    for number, (axis, low, size) in enumerate(zip(axes, first, shape, strict=True), start=1):
        if data.shape[number] != size or axis[0] != low or axis[-1] != low + size - 1:
            data = data.take(axis - low, axis=number)
    return data
