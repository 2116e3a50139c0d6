"""Exact world coordinates: nanometres for people, integer femtometres for funlib and gunpowder.

funlib.geometry's `Coordinate` truncates fractions (4.6 nm becomes 4). Femtometres keep every voxel size that
occurs in practice exact, through several halvings of a pyramid, and one cubic metre still fits 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from funlib.geometry import Coordinate, Roi

from dacapo_hd.errors import UserError

FM_PER_NM = 1_000_000
FM_UNIT = "fm"


def fm(values_nm: Sequence[float]) -> Coordinate:
    """Convert nanometres to integer femtometres."""
    return Coordinate(*(round(value * FM_PER_NM) for value in values_nm))


def nm(values_fm: Sequence[int]) -> tuple[float, ...]:
    """Convert integer femtometres to nanometres; the inverse of `fm`."""
    return tuple(value / FM_PER_NM for value in values_fm)


@attrs.frozen
class Grid:
    """A box of voxels in world space, always three-dimensional (z, y, x).

    `voxel_size` and `offset` are in femtometres; `offset` is the lower corner of the first voxel, not its centre.
    """

    shape_vx: tuple[int, ...]
    voxel_size: Coordinate = attrs.field()
    offset: Coordinate

    @voxel_size.validator
    def _check_voxel_size(self, attribute: attrs.Attribute[Coordinate], value: Coordinate) -> None:
        if not all(size > 0 for size in value):
            raise ValueError(f"a voxel size must be at least 1 fm on every axis, got {format_nm(nm(value))}")

    @classmethod
    def from_nm(
        cls,
        shape_vx: Sequence[int],
        voxel_size_nm: Sequence[float],
        offset_nm: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> Grid:
        """Make a grid from nanometres."""
        return cls(tuple(int(n) for n in shape_vx), fm(voxel_size_nm), fm(offset_nm))

    @classmethod
    def from_roi(cls, roi: Roi, voxel_size: Coordinate) -> Grid:
        """Make the grid that fills an ROI (femtometres), which must be a whole number of voxels."""
        if any(extent % size for extent, size in zip(roi.shape, voxel_size, strict=True)):
            raise ValueError(f"ROI {format_roi(roi)} is not a whole number of voxels of {format_nm(nm(voxel_size))}")
        return cls(tuple(roi.shape / voxel_size), voxel_size, roi.offset)

    def __str__(self) -> str:
        return f"{format_roi(self.roi)} with voxels of {format_nm(self.voxel_size_nm)}"

    @property
    def voxel_size_nm(self) -> tuple[float, ...]:
        return nm(self.voxel_size)

    @property
    def offset_nm(self) -> tuple[float, ...]:
        return nm(self.offset)

    @property
    def roi(self) -> Roi:
        """The extent in femtometres."""
        return Roi(self.offset, Coordinate(self.shape_vx) * self.voxel_size)

    def aligned(self, roi: Roi) -> bool:
        """Tell whether an ROI (femtometres) begins and ends between voxels of this grid."""
        starts = zip(roi.offset - self.offset, self.voxel_size, strict=True)
        extents = zip(roi.shape, self.voxel_size, strict=True)
        return not any(a % b for a, b in [*starts, *extents])

    def slices(self, roi: Roi) -> tuple[slice, ...]:
        """Return the voxels of an aligned ROI (femtometres) that lies inside; raises ValueError otherwise."""
        # whole numbers instead of funlib's coordinates: this is called several times for each sample of a training
        starts = [divmod(a - b, size) for a, b, size in zip(roi.offset, self.offset, self.voxel_size, strict=True)]
        lengths = [divmod(n, size) for n, size in zip(roi.shape, self.voxel_size, strict=True)]
        if any(rest for _, rest in (*starts, *lengths)):
            raise ValueError(f"ROI {format_roi(roi)} cuts voxels of the grid {self}")
        found = tuple(slice(int(a), int(a + n)) for (a, _), (n, _) in zip(starts, lengths, strict=True))
        if any(part.start < 0 or part.stop > n for part, n in zip(found, self.shape_vx, strict=True)):
            raise ValueError(f"ROI {format_roi(roi)} is not inside the grid {self}")
        return found

    def roi_of(self, begin_vx: Sequence[int], shape_vx: Sequence[int]) -> Roi:
        """Return the ROI (femtometres) of a box of voxels, given from this grid's first voxel."""
        return Roi(self.offset + Coordinate(begin_vx) * self.voxel_size, Coordinate(shape_vx) * self.voxel_size)

    def part(self, begin_vx: Sequence[int], end_vx: Sequence[int]) -> Grid:
        """Return the grid of the voxels `begin_vx` (included) to `end_vx` (excluded); UserError when outside."""
        inside = all(0 <= a < b <= n for a, b, n in zip(begin_vx, end_vx, self.shape_vx, strict=True))
        if not inside:
            raise UserError(
                f"ROI {format_box(begin_vx, end_vx)} is not inside the volume of shape {tuple(self.shape_vx)} voxels"
            )
        shape = tuple(b - a for a, b in zip(begin_vx, end_vx, strict=True))
        return Grid(shape, self.voxel_size, self.roi_of(begin_vx, shape).offset)


def format_box(begin: Sequence[int], end: Sequence[int]) -> str:
    """Write a box as `z0:z1,y0:y1,x0:x1`, the form in which the command line takes it."""
    return ",".join(f"{a}:{b}" for a, b in zip(begin, end, strict=True))


def format_roi(roi: Roi) -> str:
    """Write an ROI (femtometres) as `z0:z1,y0:y1,x0:x1 nm`."""
    begin, end = ([f"{value:.15g}" for value in nm(corner)] for corner in (roi.begin, roi.end))
    return ",".join(f"{a}:{b}" for a, b in zip(begin, end, strict=True)) + " nm"


def format_shape(shape: Sequence[int]) -> str:
    """Write a shape as `z x y x x`, the way people read it."""
    return " x ".join(map(str, shape))


def format_nm(values_nm: Sequence[float]) -> str:
    """Write a voxel size or a position as configuration files hold it, with its unit: `[4.6, 10, 10] nm`."""
    return f"[{', '.join(f'{value:.15g}' for value in values_nm)}] nm"
