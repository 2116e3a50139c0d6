"""The levels of a pyramid: which axes are halved, and where the voxels of each level lie."""

from __future__ import annotations

from collections.abc import Sequence

from funlib.geometry import Coordinate

from dacapo_hd.geometry import Grid


def halved_axes(grid: Grid) -> tuple[int, ...]:
    """Return 2 for each axis (z, y, x) that the next coarser level halves, 1 for the others.

    Those are the axes whose voxels are less than sqrt(2) times as long as the shortest: what is anisotropic becomes as
    nearly isotropic as halving can make it. An axis of one voxel stays.
    """
    sizes = [size for size, n in zip(grid.voxel_size, grid.shape_vx, strict=True) if n > 1]
    shortest = min(sizes, default=0)
    axes = zip(grid.voxel_size, grid.shape_vx, strict=True)
    return tuple(2 if n > 1 and size * size < 2 * shortest * shortest else 1 for size, n in axes)


def coarser(grid: Grid, factors: Sequence[int]) -> Grid:
    """Return the grid of voxels that each cover `factors` voxels; it has the same corner.

    Where a length is no multiple of its factor, the last voxel reaches beyond the volume.
    """
    shape = tuple(-(-n // factor) for n, factor in zip(grid.shape_vx, factors, strict=True))
    return Grid(shape, grid.voxel_size * Coordinate(factors), grid.offset)


def level_grids(grid: Grid, levels: int | None, chunk_shape_vx: Sequence[int]) -> list[Grid]:
    """Return the grids of at most `levels` levels, finest first; None: until a level fits into one chunk."""
    grids = [grid]
    while len(grids) != levels:
        last = grids[-1]
        fits = all(n <= chunk for n, chunk in zip(last.shape_vx, chunk_shape_vx, strict=True))
        factors = halved_axes(last)
        if (levels is None and fits) or max(factors) == 1:
            break
        grids.append(coarser(last, factors))
    return grids
