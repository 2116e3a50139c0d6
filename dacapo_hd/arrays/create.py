"""Create valid OME-Zarr: a multiscale group with one level, `s0`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dacapo_hd.arrays.nodes import Node, arrays_inside, listed, read_node
from dacapo_hd.arrays.source import DRIVERS, ZarrSource, reason, tensorstore
from dacapo_hd.arrays.volume import ZarrVolume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import FM_UNIT, Grid

LEVEL = "s0"
DEFAULT_CHUNK_VX = (64, 64, 64)
NGFF_VERSIONS = {2: "0.4", 3: "0.5"}


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
) -> ZarrVolume:
    """Create an OME-Zarr group (NGFF 0.4 in Zarr 2, 0.5 in Zarr 3) and return its only level, filled with zeros.

    The level also carries the attributes that funlib.persistence reads, in the coarsest of nm, pm and fm in which they
    are whole numbers, `channel_names` and the given `attributes`. Groups above `path` are made up to the folder
    that ends with `.zarr`. A chunk holds all channels. Raises UserError where something exists (unless
    `overwrite`, which replaces a Zarr array or a group that holds nothing but its levels) or cannot be written.
    """
    if zarr_format not in DRIVERS:
        raise ValueError(f"zarr_format must be 2 or 3, got {zarr_format!r}")
    if channel_names and len(channel_names) != (channels or 0):
        raise ValueError(f"got {len(channel_names)} channel names for {channels} channels")
    folder = Path(path).absolute()
    leading = () if channels is None else (channels,)
    chunks = [min(int(c), n) for c, n in zip(chunk_shape_vx or DEFAULT_CHUNK_VX, grid.shape_vx, strict=True)]
    names = ("z", "y", "x") if channels is None else ("c", "z", "y", "x")
    named = {"channel_names": list(channel_names)} if channel_names else {}
    level_attributes = {**_funlib_attributes(grid, channels), **named, **(attributes or {})}
    try:
        groups = _groups_above(folder, zarr_format)
        _make_room(folder, overwrite)
        for group in groups:
            _write_group(group, zarr_format, {})
        # the group first: what a failure leaves behind is then known as an output and can be overwritten
        _write_group(folder, zarr_format, _ome_attributes(folder.name, grid, channels, zarr_format))
        shape = (*leading, *grid.shape_vx)
        _create_array(folder / LEVEL, shape, (*leading, *chunks), np.dtype(dtype), names, zarr_format)
        _write_attributes(folder / LEVEL, zarr_format, level_attributes)
    except (ValueError, OSError) as error:
        raise UserError(f"cannot create {folder}: {reason(error)}") from error
    source = ZarrSource(str(folder / LEVEL), zarr_format, names)
    return ZarrVolume(grid, str(folder / LEVEL), level_attributes, source, np.dtype(dtype), channels)


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
        elif node.zarr_format != zarr_format:
            raise UserError(
                f"cannot create {folder} as Zarr {zarr_format}: {parent} is Zarr {node.zarr_format}; "
                f"use zarr_format {node.zarr_format} or another folder"
            )
    return missing


def _make_room(folder: Path, overwrite: bool) -> None:
    """Remove an earlier output at `folder`, if that is what it is and it may be."""
    node = read_node(folder)
    if node is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists and is neither a Zarr array nor a group; give another path")
        return
    foreign = _foreign_arrays(node)
    if foreign:
        raise UserError(f"{folder} exists and holds other arrays ({listed(foreign)}); give a path inside it")
    if not overwrite:
        raise UserError(f"{folder} exists; give --overwrite to replace it")
    shutil.rmtree(folder)


def _foreign_arrays(node: Node) -> list[str]:
    levels = {dataset["path"] for multiscale in node.multiscales for dataset in multiscale["datasets"]}
    found = [] if node.is_array else arrays_inside(node.path)
    return [name for name in (str(array.relative_to(node.path)) for array in found) if name not in levels]


def _ome_attributes(name: str, grid: Grid, channels: int | None, zarr_format: int) -> dict[str, Any]:
    """Return the multiscales of NGFF; the translation is the centre of the first voxel."""
    leading = [] if channels is None else [1.0]
    centre = [o + s / 2 for o, s in zip(grid.offset_nm, grid.voxel_size_nm, strict=True)]
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    transformations = [
        {"type": "scale", "scale": [*leading, *grid.voxel_size_nm]},
        {"type": "translation", "translation": [*(0.0 for _ in leading), *centre]},
    ]
    multiscale = {
        "name": name,
        "axes": axes if channels is None else [{"name": "c", "type": "channel"}, *axes],
        "datasets": [{"path": LEVEL, "coordinateTransformations": transformations}],
    }
    version = NGFF_VERSIONS[zarr_format]
    if zarr_format == 2:
        return {"multiscales": [{"version": version, **multiscale}]}
    return {"ome": {"version": version, "multiscales": [multiscale]}}


def _funlib_attributes(grid: Grid, channels: int | None) -> dict[str, Any]:
    """Return what funlib.persistence reads; its `offset` is the lower corner and all its numbers are integers."""
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


def _create_array(
    folder: Path,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    names: tuple[str, ...],
    zarr_format: int,
) -> None:
    ts = tensorstore()
    metadata: dict[str, Any]
    if zarr_format == 2:
        compressor = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1, "blocksize": 0}
        metadata = {"shape": shape, "chunks": chunks, "compressor": compressor, "dimension_separator": "/"}
        metadata["dtype"] = dtype.str
    else:
        blosc = {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "typesize": dtype.itemsize, "blocksize": 0}
        metadata = {
            "data_type": dtype.name,
            "shape": shape,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "blosc", "configuration": blosc},
            ],
            "dimension_names": names,
        }
    metadata["fill_value"] = False if dtype.kind == "b" else 0
    kvstore = {"driver": "file", "path": str(folder)}
    ts.open({"driver": DRIVERS[zarr_format], "kvstore": kvstore, "metadata": metadata, "create": True}).result()


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
