"""Masks: which voxels are to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid


def check_mask(mask: Volume) -> None:
    """Raise UserError for an array that is no mask."""
    if mask.channels not in (None, 1):
        raise UserError(f"--mask: {mask.path} has {mask.channels} channels; a mask has none")
    if mask.dtype.kind not in "bui":
        raise UserError(f"--mask: {mask.path} is {mask.dtype}; a mask is bool or integer, and 0 outside")


def covered(mask: Volume, grid: Grid, begin: Sequence[int], end: Sequence[int]) -> NDArray[np.bool_]:
    """Return for each voxel of a box of `grid` whether the mask voxel in which its centre lies is not 0.

    The mask may have any voxel size and extent; what it does not reach is outside.
    """
    spans = enumerate(zip(begin, end, strict=True))
    indices = [_mask_indices(mask.grid, grid, axis, range(low, high)) for axis, (low, high) in spans]
    found = np.zeros([len(axis) for axis in indices], bool)
    reached = [np.flatnonzero((axis >= 0) & (axis < n)) for axis, n in zip(indices, mask.grid.shape_vx, strict=True)]
    if not all(len(axis) for axis in reached):
        return found
    used = [axis[inner] for axis, inner in zip(indices, reached, strict=True)]
    roi = mask.grid.roi_of([int(axis[0]) for axis in used], [int(axis[-1] - axis[0]) + 1 for axis in used])
    stored = mask.read(roi)
    stored = stored[0] if stored.ndim == 4 else stored
    found[np.ix_(*reached)] = stored[np.ix_(*(axis - axis[0] for axis in used))] != 0
    return found


@attrs.frozen(eq=False)
class InsideMask(Volume):
    """A mask as seen from the voxels of another grid: 1 in those that it covers."""

    mask: Volume
    grid: Grid

    @property
    def path(self) -> str:  # type: ignore[override]
        return self.mask.path

    @property
    def attributes(self) -> dict[str, Any]:  # type: ignore[override]
        return {}

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    @property
    def channels(self) -> None:
        return None

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        return self.grid.shape_vx

    def _read(self, region: tuple[slice, ...]) -> NDArray[Any]:
        begin, end = [part.start for part in region], [part.stop for part in region]
        return covered(self.mask, self.grid, begin, end).view(np.uint8)

    def _write(self, region: tuple[slice, ...], data: NDArray[Any]) -> None:
        raise ValueError("a mask is only read")


def _mask_indices(mask: Grid, grid: Grid, axis: int, voxels: range) -> NDArray[np.int64]:
    """Return the mask's voxel in which the centre of each voxel lies, in exact integers."""
    twice = 2 * (grid.offset[axis] - mask.offset[axis]) + (2 * np.asarray(voxels) + 1) * grid.voxel_size[axis]
    return np.asarray(twice // (2 * mask.voxel_size[axis]), np.int64)
