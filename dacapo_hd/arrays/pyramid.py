"""Fill the coarser levels of a pyramid block by block, each from the one before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays.backend import tensorstore
from dacapo_hd.arrays.nodes import find_node
from dacapo_hd.arrays.opening import downsampling_of
from dacapo_hd.arrays.ref import ArrayRef
from dacapo_hd.arrays.volume import Volume
from dacapo_hd.blockwise import Block, BlockFunction, BlockGrid, BlockWork, Compute, Local, run_blocks
from dacapo_hd.config import local_path
from dacapo_hd.errors import UserError

# of the finer level, in one block; several blocks are in flight
BLOCK_BYTES = 64 * 2**20
MIN_BLOCKS = 32


def fill_pyramid(
    path: str | Path,
    record: str | Path,
    compute: Compute | None = None,
    progress: bool = False,
    fresh: bool = False,
    block_bytes: int = BLOCK_BYTES,
) -> None:
    """Fill all levels but the finest of what `create_volume` made with several levels.

    A voxel is the mean of those it covers (integers: rounded, halves to even), or their mode (the smallest of several),
    as the group says; at the upper borders it may cover fewer. The folder `record` holds what is done for a restart;
    see `run_blocks` for it, `compute`, `fresh` and what is raised.
    """
    method = downsampling_of(str(path))
    if method not in ("mean", "mode"):
        label = find_node(local_path(path)).label
        raise UserError(f"{label}: does not say whether its levels are a mean or a mode; create it with levels")
    volumes = list(ArrayRef(str(path)).open_levels().items())
    for (_, finer), (name, coarse) in pairwise(volumes):
        work = Downsample(finer, coarse, method)
        grid = BlockGrid.over(coarse.grid.shape_vx, block_shape(work, block_bytes), chunk=coarse.chunk_shape_vx)
        # starting processes, or waiting for a cluster, takes longer than a small level
        where = compute if len(grid) >= MIN_BLOCKS else Local()
        run_blocks(work, grid, Path(record) / name, where, f"level {name}", progress, fresh=fresh)


@attrs.frozen(eq=False)
class Downsample(BlockWork):
    """Makes a level of a pyramid from the next finer one; blocks count voxels of the coarser."""

    finer: Volume
    coarse: Volume
    method: str

    @property
    def factors(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.coarse.grid.voxel_size / self.finer.grid.voxel_size)

    def identity(self) -> dict[str, Any]:
        finer, coarse = ([*volume.shape] for volume in (self.finer, self.coarse))
        return {"downsampling": self.method, "finer": finer, "coarse": coarse, "dtype": str(self.coarse.dtype)}

    def open(self) -> BlockFunction:
        return _DownsampleFunction(self, self.factors)


@attrs.frozen(eq=False)
class _DownsampleFunction(BlockFunction):
    work: Downsample
    factors: tuple[int, ...]

    def read(self, block: Block) -> NDArray[Any]:
        grid = self.work.finer.grid
        begin = [b * factor for b, factor in zip(block.begin, self.factors, strict=True)]
        ends = zip(block.end, self.factors, grid.shape_vx, strict=True)
        shape = [min(e * factor, n) - b for (e, factor, n), b in zip(ends, begin, strict=True)]
        return self.work.finer.read(grid.roi_of(begin, shape))

    def compute(self, block: Block, data: NDArray[Any]) -> NDArray[Any]:
        return downsampled(data, self.factors, self.work.method)

    def write(self, block: Block, result: NDArray[Any]) -> None:
        self.work.coarse.write(self.work.coarse.grid.roi_of(block.begin, block.shape), result)


def downsampled(data: NDArray[Any], factors: Sequence[int], method: str) -> NDArray[Any]:
    """Reduce ([c,] z, y, x) data by factors (z, y, x) from its lower corner."""
    ts = tensorstore()
    # there is no mean of truth values; the mode of an even number of them is false where half are
    method = "mode" if data.dtype == np.bool_ else method
    padded = (1,) * (data.ndim - 3) + tuple(factors)
    found: NDArray[Any] = ts.downsample(ts.array(data), padded, method).read().result()
    return found


def block_shape(work: Downsample, block_bytes: int) -> tuple[int, ...]:
    """Return the largest block in whole chunks of the coarse level that reads at most `block_bytes`, or one chunk."""
    chunk = work.coarse.chunk_shape_vx
    per_voxel = (work.finer.channels or 1) * work.finer.dtype.itemsize * prod(work.factors)
    shape = list(chunk)
    grew = True
    while grew:
        grew = False
        for axis in (2, 1, 0):
            doubled = [n * (2 if i == axis else 1) for i, n in enumerate(shape)]
            if shape[axis] < work.coarse.grid.shape_vx[axis] and prod(doubled) * per_voxel <= block_bytes:
                shape, grew = doubled, True
    return tuple(shape)
