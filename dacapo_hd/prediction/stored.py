"""Predictions on disk: quantised to uint8, with the names and ranges of their channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume, create_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.segmentation.base import Prediction
from dacapo_hd.tasks.base import OutputChannel, Task

LEVELS = 255
ATTRIBUTE = "dacapo_hd_channels"


def quantise(prediction: NDArray[np.float32], channels: Sequence[OutputChannel]) -> NDArray[np.uint8]:
    """Map each channel's range to 0..255, rounding; what lies outside is clipped."""
    quantised = np.empty(prediction.shape, np.uint8)
    for values, channel, out in zip(prediction, channels, quantised, strict=True):
        scaled = (values - np.float32(channel.low)) * np.float32(LEVELS / (channel.high - channel.low))
        out[...] = np.rint(np.clip(scaled, 0, LEVELS, out=scaled), out=scaled)
    return quantised


def dequantise(stored: NDArray[np.uint8], channels: Sequence[OutputChannel]) -> NDArray[np.float32]:
    """Undo `quantise` up to half a level, (high - low) / 510."""
    values = stored.astype(np.float32)
    for value, channel in zip(values, channels, strict=True):
        value *= np.float32((channel.high - channel.low) / LEVELS)
        value += np.float32(channel.low)
    return values


def create_prediction(
    path: str | Path,
    grid: Grid,
    task: Task,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    chunk_shape_vx: Sequence[int] | None = None,
    levels: int | None = 1,
    zarr_format: int = 2,
) -> Volume:
    """Create the uint8 volume into which `predict` writes; its attributes hold each channel's name and range.

    See `create_volume` for the other arguments. Raises UserError where something exists and `overwrite` is false.
    """
    channels = task.output_channels()
    described = [attrs.asdict(channel, filter=_is_told) for channel in channels]
    return create_volume(
        path,
        grid,
        np.uint8,
        channels=len(channels),
        channel_names=[channel.name for channel in channels],
        chunk_shape_vx=chunk_shape_vx,
        zarr_format=zarr_format,
        overwrite=overwrite,
        attributes={**(attributes or {}), ATTRIBUTE: described},
        levels=levels,
    )


def _is_told(field: attrs.Attribute[Any], value: Any) -> bool:
    """Leave out what predictions of older versions do not say."""
    return field.name != "uncertainty" or value


def stored_channels(volume: Volume) -> list[OutputChannel]:
    """Return the channels of what `create_prediction` made; UserError for a volume that holds no prediction."""
    try:
        return [
            OutputChannel(entry["name"], entry["low"], entry["high"], entry.get("uncertainty", False))
            for entry in volume.attributes[ATTRIBUTE]
        ]
    except (KeyError, TypeError):
        raise UserError(
            f"{volume.path}: not a prediction of dacapo_hd (no attribute {ATTRIBUTE!r}); make one with dacapo-hd apply"
        ) from None


def read_prediction(volume: Volume, roi: Roi | None = None) -> Prediction:
    """Read a part (femtometres; everything by default) of what `create_prediction` made, as float32.

    Raises UserError for a volume that holds no prediction.
    """
    channels = stored_channels(volume)
    data = dequantise(volume.read(roi), channels)
    return Prediction(tuple(channel.name for channel in channels), data, volume.grid.voxel_size_nm)
