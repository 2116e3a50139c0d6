"""Create valid OME-Zarr: a multiscale group with the levels `s0`, `s1`, ..."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from dacapo_hd.arrays.backend import reason
from dacapo_hd.arrays.layout import Layout
from dacapo_hd.arrays.levels import level_grids
from dacapo_hd.arrays.metadata import NGFF_VERSIONS, funlib_attributes, level_name, ome_attributes
from dacapo_hd.arrays.nodes import Node, arrays_inside, listed, read_node
from dacapo_hd.arrays.source import StoreSource
from dacapo_hd.arrays.volume import StoredVolume, Understood
from dacapo_hd.config import local_path
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

Downsampling = Literal["mean", "mode"]


def create_volume(
    path: str | Path,
    grid: Grid,
    dtype: DTypeLike,
    channels: int | None = None,
    channel_names: Sequence[str] = (),
    chunk_shape_vx: Sequence[int] | None = None,
    zarr_format: int = 2,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    levels: int | None = 1,
    downsampling: Downsampling = "mean",
    shard_shape_vx: Sequence[int] | None = None,
) -> StoredVolume:
    """Create an OME-Zarr group (NGFF 0.4 in Zarr 2, 0.5 in Zarr 3) and return its finest level, filled with zeros.

    There are at most `levels` levels; with None as many as it takes until one fits into a chunk. `fill_pyramid` fills
    the coarser ones by `downsampling`. Each level also carries the attributes that funlib.persistence reads, in the
    coarsest of nm, pm and fm in which they are whole numbers, `channel_names` and the given `attributes`. Groups above
    `path` are made up to the folder that ends with `.zarr`. A chunk holds all channels; `shard_shape_vx` (Zarr 3, whole
    chunks) puts several into one file. Raises UserError where something exists (unless `overwrite`, which replaces a
    Zarr array or a group that holds nothing but its levels) or cannot be written.
    """
    if zarr_format not in NGFF_VERSIONS:
        raise ValueError(f"zarr_format must be 2 or 3, got {zarr_format!r}")
    if channel_names and len(channel_names) != (channels or 0):
        raise ValueError(f"got {len(channel_names)} channel names for {channels} channels")
    folder, dtype = local_path(path), np.dtype(dtype)
    layout = Layout.of(zarr_format, channels, chunk_shape_vx, shard_shape_vx)
    grids = level_grids(grid, levels, layout.chunk_vx)
    named = {"channel_names": list(channel_names)} if channel_names else {}
    own = [{**funlib_attributes(level, channels), **named, **(attributes or {})} for level in grids]
    try:
        groups = _groups_above(folder, zarr_format)
        _make_room(folder, overwrite)
        for group in groups:
            _write_group(group, zarr_format, {})
        # the group first: what a failure leaves behind is then known as an output and can be overwritten
        ome = ome_attributes(folder.name, grids, channels, channel_names, dtype, downsampling, zarr_format)
        _write_group(folder, zarr_format, ome)
        for number, (level, described) in enumerate(zip(grids, own, strict=True)):
            layout.create(folder / level_name(number), level.shape_vx, dtype)
            _write_attributes(folder / level_name(number), zarr_format, described)
    except (ValueError, OSError) as error:
        raise UserError(f"cannot create {folder}: {reason(error)}") from error
    finest = folder / level_name(0)
    source = StoreSource(finest, f"Zarr {zarr_format}", layout.axes)
    understood = Understood(f"Zarr {zarr_format}", layout.axes, level_name(0))
    return StoredVolume(grid, str(finest), own[0], source, dtype, channels, understood)


def _groups_above(folder: Path, zarr_format: int) -> list[Path]:
    """Return the groups to make above `folder`; UserError where an array or another Zarr format is in the way."""
    inside = [p for p in folder.parents if p.suffix == ".zarr" or read_node(p) is not None]
    root = inside[-1] if inside else folder
    missing = []
    for parent in reversed(folder.parents):
        if not parent.is_relative_to(root):
            continue
        node = read_node(parent)
        if node is None:
            missing.append(parent)
        elif node.is_array:
            raise UserError(f"cannot create {folder}: {parent} is an array, not a group")
        elif node.format == "N5":
            raise UserError(f"cannot create {folder}: {parent} is an N5 group; use another folder")
        elif node.format != f"Zarr {zarr_format}":
            raise UserError(
                f"cannot create {folder} as Zarr {zarr_format}: {parent} is {node.format}; "
                f"use zarr_format {node.format[-1]} or another folder"
            )
    return missing


def _make_room(folder: Path, overwrite: bool) -> None:
    """Remove an earlier output at `folder`, if that is what it is and it may be."""
    node = read_node(folder)
    if node is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists and is neither a Zarr array nor a group; give another path")
        return
    foreign = _foreign_arrays(folder, node)
    if foreign:
        raise UserError(f"{folder} exists and holds other arrays ({listed(foreign)}); give a path inside it")
    if not overwrite:
        raise UserError(f"{folder} exists; give --overwrite to replace it")
    shutil.rmtree(folder)


def _foreign_arrays(folder: Path, node: Node) -> list[str]:
    levels = {dataset["path"] for multiscale in node.multiscales for dataset in multiscale["datasets"]}
    found = [] if node.is_array else arrays_inside(folder)
    return [name for name in (str(array.relative_to(folder)) for array in found) if name not in levels]


def _write_group(folder: Path, zarr_format: int, attributes: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if zarr_format == 2:
        _write_json(folder / ".zgroup", {"zarr_format": 2})
        _write_attributes(folder, zarr_format, attributes)
    else:
        _write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _write_attributes(folder: Path, zarr_format: int, attributes: dict[str, Any]) -> None:
    if zarr_format == 2:
        _write_json(folder / ".zattrs", attributes)
    else:
        document = json.loads((folder / "zarr.json").read_text())
        _write_json(folder / "zarr.json", {**document, "attributes": attributes})


def _write_json(path: Path, document: dict[str, Any]) -> None:
    # replaced in one step: other processes may be reading the metadata of a common parent
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(document, indent=2) + "\n")
    part.replace(path)
