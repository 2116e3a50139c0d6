"""Boxes of a stored prediction, as segmenters read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, format_nm
from dacapo_hd.prediction.stored import dequantise, stored_channels
from dacapo_hd.segmentation.base import Prediction
from dacapo_hd.tasks.base import OutputChannel


@attrs.frozen(eq=False)
class Stored:
    """A box of the prediction as it is stored (channel, z, y, x), and where it lies outside of the mask (z, y, x)."""

    data: NDArray[Any]
    outside: NDArray[np.bool_] | None


@attrs.frozen(eq=False)
class Source:
    """The part of a prediction that is segmented, `grid`; boxes are in its voxels."""

    volume: Volume
    grid: Grid
    mask: Volume | None
    channels: tuple[OutputChannel, ...]

    @classmethod
    def open(cls, volume: Volume, roi: Roi | None, mask: Volume | None) -> Source:
        """Take an ROI (femtometres) of a prediction; UserError for what is none, and for a mask that does not fit."""
        grid = volume.grid if roi is None else Grid.from_roi(roi, volume.grid.voxel_size)
        if mask is not None:
            _require_fit(mask, grid)
        return cls(volume, grid, mask, tuple(stored_channels(volume)))

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Stored:
        shape = [b - a for a, b in zip(begin, end, strict=True)]
        roi = self.grid.roi_of(begin, shape)
        return Stored(self.volume.read(roi), None if self.mask is None else _outside(self.mask, roi))

    def uncertain(self, class_name: str) -> tuple[str, ...]:
        """Return the names of the channels of a class that say how uncertain it is."""
        names = (channel.name for channel in self.channels if channel.uncertainty)
        return tuple(name for name in names if name.rsplit("/", 1)[0] == class_name)

    def prediction(self, stored: Stored, class_name: str | None = None) -> Prediction:
        """Return the channels of a class, or all; outside of the mask each has the lowest value of its range."""
        chosen = [
            number
            for number, channel in enumerate(self.channels)
            if class_name is None or channel.name.rsplit("/", 1)[0] == class_name
        ]
        channels = [self.channels[number] for number in chosen]
        data = stored.data if len(chosen) == len(self.channels) else stored.data[chosen]
        values = dequantise(data, channels)
        if stored.outside is not None:
            for channel, found in zip(channels, values, strict=True):
                found[stored.outside] = channel.low
        return Prediction(tuple(channel.name for channel in channels), values, self.grid.voxel_size_nm)


def _require_fit(mask: Volume, grid: Grid) -> None:
    if mask.grid.voxel_size != grid.voxel_size or any((mask.grid.offset - grid.offset) % grid.voxel_size):
        raise UserError(
            f"{mask.path}: a mask must have the voxels of the prediction, {format_nm(grid.voxel_size_nm)} on its grid; "
            f"it has {format_nm(mask.grid.voxel_size_nm)} from {format_nm(mask.grid.offset_nm)}"
        )
    if mask.channels not in (None, 1):
        raise UserError(f"{mask.path}: a mask has one channel, this has {mask.channels}")


def _outside(mask: Volume, roi: Roi) -> NDArray[np.bool_]:
    outside = np.ones(tuple(roi.shape / mask.grid.voxel_size), np.bool_)
    inside = roi.intersect(mask.grid.roi)
    if not inside.empty:
        begin = (inside.offset - roi.offset) / mask.grid.voxel_size
        extent = inside.shape / mask.grid.voxel_size
        box = tuple(slice(int(b), int(b + n)) for b, n in zip(begin, extent, strict=True))
        outside[box] = mask.read(inside).reshape(tuple(extent)) == 0
    return outside
