"""Blocks, chunks and memory of a prediction, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import attrs
from funlib.geometry import Roi

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.arrays import Volume
from dacapo_hd.blockwise import BlockGrid
from dacapo_hd.blockwise.grid import Shape
from dacapo_hd.errors import UserError
from dacapo_hd.prediction.blocks import Layout
from dacapo_hd.prediction.predictor import InferenceShapes
from dacapo_hd.prediction.work import PredictWork
from dacapo_hd.tasks.base import Task

CHUNK_VX = 64
# Python, torch and tensorstore without data; measured
BASE_BYTES = 0.5e9
GIGABYTE = 1e9
# what `apply` may take unless it is told
DEFAULT_MEMORY_BYTES = 4 * GIGABYTE
# of the memory that blocks may take, at most this part is for raw data that is read again
CACHED_PART = 1 / 8
BLOCKS_CACHED = 2


@attrs.frozen
class Plan(InferenceShapes):
    """How `roi` (femtometres) of `source` is predicted within `memory_bytes` of each worker.

    Blocks begin and end between the chunks of a target that begins where the ROI does.
    """

    architecture: Architecture
    task: Task
    source: Volume
    roi: Roi
    memory_bytes: float
    flips: bool = False

    def grid(self) -> BlockGrid:
        """Return the blocks in voxels of the source; UserError if the smallest takes more memory than there is."""
        if not self.architecture.block_independent:
            return self.cut(self.output_shape_vx(self.architecture.input_shape_vx))
        voxels = (1 - CACHED_PART) * self._free_bytes() / self._bytes_per_voxel()
        grid = self.cut(self._layout().largest_block(self._largest_input, voxels))
        needed = self.worker_bytes(grid)
        if needed > self.memory_bytes:
            raise UserError(
                f"--memory: {self.memory_bytes / GIGABYTE:.3g} GB are not enough for this network; its smallest block "
                f"takes about {needed / GIGABYTE:.3g} GB"
            )
        return grid

    def cut(self, block_shape: Shape) -> BlockGrid:
        """Return blocks of about a shape; they are counted from where the ROI begins, as the target's chunks are."""
        layout = self._layout()
        return BlockGrid(layout.begin, layout.end, layout.grid(block_shape).length, layout.begin)

    def chunk_shape_vx(self, grid: BlockGrid) -> Shape:
        """Return the chunks of the target: about 64 voxels long, and never in two blocks."""
        return tuple(_chunk(length) for length in grid.length)

    def worker_bytes(self, grid: BlockGrid) -> float:
        """Estimate the memory of a worker, a little generously."""
        largest = tuple(min(n, e - b) for n, b, e in zip(grid.length, grid.begin, grid.end, strict=True))
        padded = [-(-size // step) * step for size, step in zip(largest, self.step_vx, strict=True)]
        block = prod(self._largest_input(padded)) * self._bytes_per_voxel()
        return self._fixed_bytes() + block + self.cache_bytes(grid)

    def cache_bytes(self, grid: BlockGrid) -> int:
        """Return how much of what it has read a worker keeps: the chunks that two blocks want, if that is not much."""
        padded = [-(-size // step) * step for size, step in zip(grid.length, self.step_vx, strict=True)]
        axes = zip(self._largest_input(padded), self.source.chunk_shape_vx, self.source.grid.shape_vx, strict=True)
        # an input that does not begin with a chunk reaches into one more
        voxels = prod((-(-min(length, n) // chunk) + 1) * chunk for length, chunk, n in axes)
        wanted = BLOCKS_CACHED * voxels * (self.source.channels or 1) * self.source.dtype.itemsize
        return int(min(wanted, CACHED_PART * self._free_bytes()))

    def read_bytes(self, grid: BlockGrid) -> int:
        """Return how many bytes of raw data the blocks want, context included, before compression."""
        voxels = prod(sum(lengths) for lengths in self._read_lengths(grid))
        return voxels * (self.source.channels or 1) * self.source.dtype.itemsize

    def write_bytes(self, grid: BlockGrid) -> int:
        """Return how many bytes the prediction has before compression."""
        return grid.voxels * len(self.task.output_channels())

    def _layout(self) -> Layout:
        chunk = (CHUNK_VX,) * 3
        begin = tuple((self.roi.offset - self.source.grid.offset) / self.source.grid.voxel_size)
        return Layout.of(self.source.grid, self.roi, self.step_vx, chunk, begin)

    def _largest_input(self, output_shape: Sequence[int]) -> Shape:
        """Return the largest input for blocks of a shape: they need not begin where the network's voxels do."""
        if not self.architecture.block_independent:
            return self.input_shape_for(self.window((0, 0, 0), output_shape, self.source.grid.shape_vx)[1])
        steps = zip(output_shape, self._layout().begin, self.step_vx, strict=True)
        return self.input_shape_for([size + (step if begin % step else 0) for size, begin, step in steps])

    def _free_bytes(self) -> float:
        return max(0.0, self.memory_bytes - self._fixed_bytes())

    def _fixed_bytes(self) -> float:
        from dacapo_hd.architectures.sizes import parameter_count

        return BASE_BYTES + 4 * parameter_count(self.architecture, self.task) + self.task.decode_bytes

    def _bytes_per_voxel(self) -> float:
        """Return the bytes per input voxel: the network's, and those of the blocks being read and written."""
        from dacapo_hd.architectures.sizes import bytes_per_input_voxel

        inputs, outputs = self.architecture.in_channels, len(self.task.output_channels())
        block = inputs * (4 + self.source.dtype.itemsize) + outputs * (4 + 1)
        flipped = 4 * inputs + 8 * outputs if self.flips else 0
        return bytes_per_input_voxel(self.architecture, self.task) + PredictWork.in_flight * block + flipped

    def _read_lengths(self, grid: BlockGrid) -> list[list[int]]:
        """Return for each axis how many voxels of the source each block along it wants."""
        lengths: list[list[int]] = []
        for axis, count in enumerate(grid.shape):
            lengths.append([])
            size = self.source.grid.shape_vx[axis]
            for place in range(count):
                block = grid.block(tuple(place if other == axis else 0 for other in range(3)))
                first, output = self.window(block.begin, block.end, self.source.grid.shape_vx)
                shape = self.input_shape_for(output)
                margin = (shape[axis] - self.output_shape_vx(shape)[axis]) // 2
                low = max(0, first[axis] - margin)
                lengths[axis].append(min(size, first[axis] - margin + shape[axis]) - low)
        return lengths


def _chunk(length: int) -> int:
    """Return the divisor of a block's length that is nearest to the usual chunk."""
    divisors = [n for n in range(CHUNK_VX // 4, min(length, 2 * CHUNK_VX) + 1) if length % n == 0]
    return min(divisors, key=lambda n: abs(n - CHUNK_VX), default=length)
