"""The metadata that a created volume carries: OME-NGFF, and what funlib.persistence reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dacapo_hd.geometry import FM_UNIT, Grid

NGFF_VERSIONS = {2: "0.4", 3: "0.5"}
COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF8000", "0080FF", "FF0000")


def level_name(number: int) -> str:
    return f"s{number}"


def ome_attributes(
    name: str,
    grids: Sequence[Grid],
    channels: int | None,
    channel_names: Sequence[str],
    dtype: np.dtype[Any],
    downsampling: str,
    zarr_format: int,
) -> dict[str, Any]:
    """Return the attributes of a group whose levels lie on `grids`."""
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    multiscale = {
        "name": name,
        **({"type": downsampling} if len(grids) > 1 else {}),
        "axes": axes if channels is None else [{"name": "c", "type": "channel"}, *axes],
        "datasets": [_dataset(number, grid, channels is not None) for number, grid in enumerate(grids)],
    }
    shown = {"omero": _omero(channel_names, dtype)} if channel_names and dtype.kind == "u" else {}
    version = NGFF_VERSIONS[zarr_format]
    if zarr_format == 2:
        return {"multiscales": [{"version": version, **multiscale}], **shown}
    return {"ome": {"version": version, "multiscales": [multiscale], **shown}}


def _dataset(number: int, grid: Grid, with_channels: bool) -> dict[str, Any]:
    """The translation is the centre of the first voxel, so that levels with one corner have different ones."""
    centre = [o + s / 2 for o, s in zip(grid.offset_nm, grid.voxel_size_nm, strict=True)]
    transformations = [
        {"type": "scale", "scale": [*[1.0] * with_channels, *grid.voxel_size_nm]},
        {"type": "translation", "translation": [*[0.0] * with_channels, *centre]},
    ]
    return {"path": level_name(number), "coordinateTransformations": transformations}


def _omero(channel_names: Sequence[str], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Name the channels for OME's viewers, and give each a colour and its range of intensities."""
    top = int(np.iinfo(dtype).max)
    window = {"min": 0, "max": top, "start": 0, "end": top}
    return {
        "channels": [
            {"label": name, "color": COLOURS[number % len(COLOURS)], "window": window, "active": True}
            for number, name in enumerate(channel_names)
        ]
    }


def funlib_attributes(grid: Grid, channels: int | None) -> dict[str, Any]:
    """Return what funlib.persistence reads; its `offset` is the lower corner and all its numbers are integers.

    The unit is the coarsest of nm, pm and fm in which they are.
    """
    numbers = [*grid.voxel_size, *grid.offset]
    unit, factor = next(
        (unit, factor)
        for unit, factor in (("nm", 10**6), ("pm", 10**3), (FM_UNIT, 1))
        if not any(number % factor for number in numbers)
    )
    return {
        "voxel_size": [int(size // factor) for size in grid.voxel_size],
        "offset": [int(offset // factor) for offset in grid.offset],
        "units": [unit] * 3,
        "axis_names": ["z", "y", "x"] if channels is None else ["c^", "z", "y", "x"],
        "types": ["space"] * 3 if channels is None else ["channel", *["space"] * 3],
    }
