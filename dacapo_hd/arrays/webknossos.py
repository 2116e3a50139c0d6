"""What the `datasource-properties.json` of a WEBKNOSSOS dataset says about the arrays in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dacapo_hd.arrays.nodes import Node
from dacapo_hd.arrays.places import Place, read_files
from dacapo_hd.errors import UserError

DOCUMENT = "datasource-properties.json"


def webknossos_attributes(array: Node) -> dict[str, Any]:
    """Return axis order, voxel size and unit of an array LAYER/MAG of a WEBKNOSSOS dataset; empty for all others."""
    folders = array.path.parents[:2]
    if isinstance(array.path, Path):
        # layers and mags may be links into another dataset
        folders = (*folders, *array.path.resolve().parents[:2])
    for dataset in folders:
        content = read_files(dataset, [DOCUMENT], refused_is_missing=True).get(DOCUMENT)
        if content is not None:
            return _attributes(dataset, array, content)
    return {}


def _attributes(dataset: Place, array: Node, content: bytes) -> dict[str, Any]:
    try:
        described = json.loads(content)
        scale = described["scale"]
        factor = scale["factor"] if isinstance(scale, dict) else scale
        unit = scale["unit"] if isinstance(scale, dict) else "nm"
        for layer in described["dataLayers"]:
            for mag in layer.get("mags", []):
                path = mag.get("path") or f"{layer['name']}/{_mag_name(mag['mag'])}"
                if _is_same(dataset / path.removeprefix("./"), array.path) and "axisOrder" in mag:
                    sizes = dict(zip("xyz", (f * m for f, m in zip(factor, mag["mag"], strict=True)), strict=True))
                    order = sorted(mag["axisOrder"], key=mag["axisOrder"].get)
                    spatial = [sizes[name] for name in order if name in sizes]
                    return {"axisOrder": mag["axisOrder"], "voxel_size": spatial, "units": [unit] * len(spatial)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{dataset}/{DOCUMENT}: is damaged: {error!r}") from error
    return {}


def _is_same(one: Place, other: Place) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other


def _mag_name(mag: list[int]) -> str:
    """WEBKNOSSOS names equal factors once: 2, but 2-2-1."""
    return str(mag[0]) if len(set(mag)) == 1 else "-".join(map(str, mag))
