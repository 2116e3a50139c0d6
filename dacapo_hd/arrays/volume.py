"""Arrays with world coordinates, on disk or in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Coordinate, Roi
from numpy.typing import NDArray

from dacapo_hd.arrays.backend import reason
from dacapo_hd.arrays.source import OneChannel, Source
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import FM_UNIT, Grid, format_nm, format_shape


class Volume(ABC):
    """An array of shape ([c,] z, y, x) whose voxels lie on a `grid`.

    `channels` is the length of the leading axis, None where there is none. `attributes` is the array's own
    metadata. Volumes can be pickled, and read from several threads at once.
    """

    grid: Grid
    path: str
    attributes: Mapping[str, Any]

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]: ...

    @property
    @abstractmethod
    def channels(self) -> int | None: ...

    @property
    @abstractmethod
    def chunk_shape_vx(self) -> tuple[int, ...]:
        """The box (z, y, x) within which only one process may write at a time; the shard in a sharded array."""

    def described(self) -> str:
        """Return one line that says how the array was understood."""
        return f"{self.path}: {format_shape(self.grid.shape_vx)} voxels (z y x) of {self.dtype}"

    @abstractmethod
    def _read(self, region: tuple[slice, ...]) -> NDArray[Any]: ...

    @abstractmethod
    def _write(self, region: tuple[slice, ...], data: NDArray[Any]) -> None: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """([c,] z, y, x)."""
        return (*([] if self.channels is None else [self.channels]), *self.grid.shape_vx)

    def read(self, roi: Roi | None = None) -> NDArray[Any]:
        """Return the voxels of an ROI (femtometres; everything by default) as a new array ([c,] z, y, x).

        Raises ValueError for an ROI that is not inside or cuts voxels, UserError for data that cannot be read.
        """
        return self._read(self._region(self.grid.roi if roi is None else roi))

    def cached(self, cache_bytes: int) -> Volume:
        """Return the same volume, of which up to so many decoded bytes are kept for reading them again.

        Nobody may write to it meanwhile.
        """
        return self

    def write(self, roi: Roi, data: NDArray[Any]) -> None:
        """Write the voxels of an ROI (femtometres).

        Raises ValueError for an ROI that is not inside or cuts voxels, for data of another shape, or of a dtype that
        does not fit safely into the volume's; UserError when the disk refuses.
        """
        region = self._region(roi)
        expected = (*([] if self.channels is None else [self.channels]), *(s.stop - s.start for s in region[-3:]))
        if data.shape != expected:
            raise ValueError(f"{self.path}: cannot write data of shape {data.shape} to an ROI of shape {expected}")
        if not np.can_cast(data.dtype, self.dtype, "safe"):
            raise ValueError(f"{self.path}: cannot write {data.dtype} data to a {self.dtype} volume without loss")
        self._write(region, np.ascontiguousarray(data, dtype=self.dtype))

    def to_funlib(self) -> Any:
        """Return a `funlib.persistence.Array` over the same data, with femtometres as its integer world unit."""
        from funlib.persistence import Array

        with_channels = self.channels is not None
        return Array(
            _Indexed(self),
            offset=self.grid.offset,
            voxel_size=self.grid.voxel_size,
            axis_names=["c^", "z", "y", "x"] if with_channels else ["z", "y", "x"],
            units=[FM_UNIT] * 3,
            types=["channel", "space", "space", "space"] if with_channels else ["space"] * 3,
        )

    def _region(self, roi: Roi) -> tuple[slice, ...]:
        try:
            region = self.grid.slices(roi)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None
        return region if self.channels is None else (slice(0, self.channels), *region)


class _Indexed:
    """A Volume as dask and funlib index arrays."""

    def __init__(self, volume: Volume) -> None:
        self.volume, self.shape, self.dtype, self.ndim = volume, volume.shape, volume.dtype, len(volume.shape)

    def __getitem__(self, region: tuple[slice, ...]) -> NDArray[Any]:
        return self.volume._read(region)

    def __setitem__(self, region: tuple[slice, ...], data: NDArray[Any]) -> None:
        self.volume._write(region, data)


@attrs.frozen
class Understood:
    """How a file was read: its format, the names of its stored axes, and the level of its pyramid.

    `named`: the file itself names its axes.
    """

    format: str
    axes: tuple[str, ...]
    level: str = ""
    named: bool = True


@attrs.frozen(eq=False)
class StoredVolume(Volume):
    """An array in files."""

    grid: Grid
    path: str
    attributes: Mapping[str, Any] = attrs.field(repr=False)
    source: Source = attrs.field(repr=False)
    dtype: np.dtype[Any] = attrs.field()
    channels: int | None = attrs.field()
    understood: Understood = attrs.field()

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        return self.source.chunk_shape_vx

    def described(self) -> str:
        understood, channels = self.understood, self.channels
        return ", ".join(
            (
                f"{self.path}: {understood.format}",
                f"axes {' '.join(understood.axes)}",
                f"{format_shape(self.grid.shape_vx)} voxels (z y x) of {self.dtype}",
                "no channels" if channels is None else f"{channels} channel{'s' if channels > 1 else ''}",
                f"voxel size {format_nm(self.grid.voxel_size_nm)}",
                f"corner {format_nm(self.grid.offset_nm)}",
                *([f"level {understood.level}"] if understood.level else []),
            )
        )

    def in_section_of(self, grid: Grid) -> StoredVolume:
        """Return a two-dimensional image as lying in the single section of a grid, as thick as that."""
        own = self.grid
        size, offset = (
            Coordinate(a[0], *b[1:]) for a, b in ((grid.voxel_size, own.voxel_size), (grid.offset, own.offset))
        )
        return attrs.evolve(self, grid=Grid(own.shape_vx, size, offset))

    def one_channel(self, channel: int) -> StoredVolume:
        """Return one of the channels as a volume without channels; UserError if there is none of that number."""
        if self.channels is None or not channel < self.channels:
            has = "no channel axis" if self.channels is None else f"channels 0 to {self.channels - 1}"
            raise UserError(f"{self.path}: has {has}; correct or leave out channel: {channel}")
        return attrs.evolve(self, source=OneChannel(self.source, channel), channels=None)

    def cached(self, cache_bytes: int) -> StoredVolume:
        return attrs.evolve(self, source=self.source.cached(cache_bytes))

    def _read(self, region: tuple[slice, ...]) -> NDArray[Any]:
        try:
            return self.source.read(region)
        except (ValueError, OSError) as error:
            raise UserError(f"{self.path}: cannot read: {reason(error)}") from error

    def _write(self, region: tuple[slice, ...], data: NDArray[Any]) -> None:
        try:
            self.source.write(region, data)
        except (ValueError, OSError) as error:
            raise UserError(f"{self.path}: cannot write: {reason(error)}") from error


@attrs.frozen(eq=False)
class MemoryVolume(Volume):
    """A numpy array ([c,] z, y, x) as a Volume; `write` changes it in place."""

    data: NDArray[Any] = attrs.field(repr=False)
    grid: Grid = attrs.field()
    path: str = "memory"
    attributes: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.data.ndim not in (3, 4) or self.data.shape[-3:] != self.grid.shape_vx:
            raise ValueError(
                f"{self.path}: data of shape {self.data.shape} does not fill the grid {self.grid.shape_vx}"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def channels(self) -> int | None:
        return self.data.shape[0] if self.data.ndim == 4 else None

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        return self.grid.shape_vx

    def _read(self, region: tuple[slice, ...]) -> NDArray[Any]:
        return self.data[region].copy()

    def _write(self, region: tuple[slice, ...], data: NDArray[Any]) -> None:
        self.data[region] = data
