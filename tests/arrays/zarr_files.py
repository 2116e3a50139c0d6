"""Arrays as other programs write them: metadata by hand, bytes through tensorstore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import NDArray


def write_array(
    folder: Path,
    data: NDArray[Any],
    attributes: dict[str, Any] | None = None,
    zarr_format: int = 2,
    dimension_names: list[str] | None = None,
) -> Path:
    metadata: dict[str, Any] = {"shape": data.shape}
    if dimension_names:
        metadata["dimension_names"] = dimension_names
    spec = {"driver": {2: "zarr", 3: "zarr3"}[zarr_format], "kvstore": {"driver": "file", "path": str(folder)}}
    tensorstore.open({**spec, "metadata": metadata, "create": True}, dtype=data.dtype).result()[...] = data
    if zarr_format == 2:
        (folder / ".zattrs").write_text(json.dumps(attributes or {}))
    else:
        document = json.loads((folder / "zarr.json").read_text())
        (folder / "zarr.json").write_text(json.dumps({**document, "attributes": attributes or {}}))
    return folder


def write_group(folder: Path, multiscale: dict[str, Any] | None = None, zarr_format: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {} if multiscale is None else {"multiscales": [multiscale]}
    if zarr_format == 2:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(content))
    else:
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **content}}}
        (folder / "zarr.json").write_text(json.dumps(document))
    return folder


def multiscale(
    levels: dict[str, list[dict[str, Any]]], names: str = "zyx", unit: str | None = "nanometer", **more: Any
) -> dict[str, Any]:
    """Return a multiscale whose levels have the given transformations."""
    axes = [{"name": name, "type": {"t": "time", "c": "channel"}.get(name, "space")} for name in names]
    for axis in axes:
        if axis["type"] == "space" and unit is not None:
            axis["unit"] = unit
    datasets = [{"path": path, "coordinateTransformations": steps} for path, steps in levels.items()]
    return {"axes": axes, "datasets": datasets, **more}


def scale(*values: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(values)}


def translation(*values: float) -> dict[str, Any]:
    return {"type": "translation", "translation": list(values)}


def numbers(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """Return an array in which every voxel is different."""
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)
