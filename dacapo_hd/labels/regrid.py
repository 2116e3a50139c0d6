"""Labels on the voxel grid of the raw data, where the two voxel sizes differ by whole factors."""

from __future__ import annotations

from itertools import product
from typing import TypeVar

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, format_nm
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN

_T = TypeVar("_T", bound=np.generic)


@attrs.frozen
class Relation:
    """Per axis (z, y, x): how many label voxels make one raw voxel, and how many raw voxels one label voxel covers."""

    pooled: tuple[int, ...]
    repeated: tuple[int, ...]

    @classmethod
    def between(cls, labels: Grid, raw: Grid, what: str = "labels") -> Relation:
        """Relate two grids; UserError, beginning with `what`, unless sizes and offsets fit in whole voxels."""
        pairs = list(zip(labels.voxel_size, raw.voxel_size, strict=True))
        if any(a % b and b % a for a, b in pairs):
            raise UserError(
                f"{what}: voxel size {format_nm(labels.voxel_size_nm)} is no whole multiple or fraction of the raw's "
                f"{format_nm(raw.voxel_size_nm)}; resample one of them or correct its `voxel_size_nm`"
            )
        shifts = zip(labels.offset - raw.offset, pairs, strict=True)
        if any(shift % min(pair) for shift, pair in shifts):
            raise UserError(
                f"{what}: offset {format_nm(labels.offset_nm)} at voxel size {format_nm(labels.voxel_size_nm)} is "
                f"between voxels of the raw, offset {format_nm(raw.offset_nm)} at {format_nm(raw.voxel_size_nm)}; "
                f"write `offset_nm: {format_nm(raw.offset_nm).removesuffix(' nm')}` at that array if both begin at one "
                "corner, else the corner of its first voxel"
            )
        return cls(tuple(max(1, b // a) for a, b in pairs), tuple(max(1, a // b) for a, b in pairs))

    def covering(self, labels: Grid, roi: Roi) -> Roi:
        """Grow an ROI (femtometres, whole raw voxels) to whole label voxels."""
        grown: Roi = (roi - labels.offset).snap_to_grid(labels.voxel_size, mode="grow") + labels.offset
        return grown

    def codes(self, code: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring codes to raw voxels: the strict majority decides.

        Exactly half present and the rest absent counts as present; anything else is unknown.
        """
        count = int(np.prod(self.pooled))
        if count > 1:
            present, absent = self._count(code == PRESENT), self._count(code == ABSENT)
            known = (present + absent) == count
            is_present = (2 * present > count) | (known & (2 * present == count))
            code = np.select([is_present, 2 * absent > count], [np.uint8(PRESENT), np.uint8(ABSENT)], np.uint8(UNKNOWN))
        return self._repeat(code)

    def ids(self, ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Bring ids to raw voxels: the most frequent id > 0, the smallest of equals; 0 if there is none."""
        if max(self.pooled) > 1:
            ids = _mode(np.stack([ids[part] for part in self._parts()]))
        return self._repeat(ids)

    def all_of(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Bring a mask to raw voxels: true where all of a voxel is."""
        count = int(np.prod(self.pooled))
        return self._repeat(self._count(mask) == count) if count > 1 else self._repeat(mask)

    def _parts(self) -> list[tuple[slice, ...]]:
        """Strided views that together hold each label voxel of a raw voxel once."""
        starts = product(*map(range, self.pooled))
        return [tuple(slice(a, None, step) for a, step in zip(start, self.pooled, strict=True)) for start in starts]

    def _count(self, mask: NDArray[np.bool_]) -> NDArray[np.int32]:
        total = np.zeros(tuple(n // p for n, p in zip(mask.shape, self.pooled, strict=True)), np.int32)
        for part in self._parts():
            total += mask[part]
        return total

    def _repeat(self, data: NDArray[_T]) -> NDArray[_T]:
        for axis, times in enumerate(self.repeated):
            if times > 1:
                data = np.repeat(data, times, axis=axis)
        return data


def _mode(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the most frequent value > 0 along the first axis."""
    ordered = np.sort(values, axis=0)
    best = np.zeros(values.shape[1:], np.uint32)
    best_length = np.zeros(values.shape[1:], np.int32)
    length = np.zeros(values.shape[1:], np.int32)
    for n, current in enumerate(ordered):
        same = current == ordered[n - 1] if n else np.zeros(current.shape, bool)
        length = np.where(same, length + 1, 1)
        longer = (current > 0) & (length > best_length)
        best[longer], best_length[longer] = current[longer], length[longer]
    return best
