"""Which blocks a volume is cut into."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from dacapo_hd.geometry import Grid
from dacapo_hd.segmentation.base import InstanceSegmenter

# Measured (benchmarks/stitching.py): what a worker holds per voxel of a block and its halo, beside the prediction as it
# is stored, which it holds for each block in flight
BLOCKS_IN_FLIGHT = 3
BYTES_PER_VOXEL = {"pointwise": 20, "connectivity": 40, "overlap": 60, "seeds": 60}


def halo_of(segmenter: InstanceSegmenter, grid: Grid, blocks: Sequence[int]) -> tuple[int, ...]:
    """Return the halo per axis: `halo_vx` voxels of the finest axis, about the same length in nm on the others."""
    if segmenter.united_by == "connectivity":
        return (0, 0, 0)
    # both blocks label the layers on either side of a face
    least = 1 if segmenter.united_by == "overlap" else 0
    finest = min(grid.voxel_size)
    wanted = (-(-segmenter.halo_vx * finest // size) for size in grid.voxel_size)
    return tuple(max(n, least) if count > 1 else 0 for n, count in zip(wanted, blocks, strict=True))


def largest_blocks(shape: Sequence[int], chunk: Sequence[int], halo: Sequence[int], voxels: float) -> tuple[int, ...]:
    """Return a block shape in whole chunks that has at most `voxels` with its halo, unless one chunk has more.

    The longest axes are cut first, and the blocks of an axis have about the same length.
    """
    lengths = [-(-n // c) * c for n, c in zip(shape, chunk, strict=True)]

    def size() -> int:
        return prod(min(length + 2 * h, n) for length, h, n in zip(lengths, halo, shape, strict=True))

    while size() > voxels and any(length > c for length, c in zip(lengths, chunk, strict=True)):
        axis = max((a for a in range(3) if lengths[a] > chunk[a]), key=lambda a: lengths[a])
        lengths[axis] -= chunk[axis]
    counts = [-(-n // length) for n, length in zip(shape, lengths, strict=True)]
    return tuple(-(-n // (count * c)) * c for n, count, c in zip(shape, counts, chunk, strict=True))
