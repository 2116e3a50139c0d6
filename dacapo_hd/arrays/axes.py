"""Which stored axis is which, and where its voxels lie: from OME-NGFF or from plain attributes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.arrays.nodes import Node, read_node
from dacapo_hd.errors import UserError

SPATIAL = ("z", "y", "x")
VOXEL_SIZE_ATTRIBUTES = ("voxel_size", "resolution")


@attrs.frozen
class Axis:
    """One stored axis, in the file's own unit.

    `name` is one of t, c, z, y, x. `translation` is the position of the first voxel: of its centre if `centred`
    (OME-NGFF), else of its lower corner. None means that the file does not say.
    """

    name: str
    scale: float | None = None
    translation: float = 0.0
    unit: str | None = None
    centred: bool = False


def axes_of(array: Node) -> tuple[Axis, ...]:
    """Return the axes of an array: from the multiscales of a group above it, else from its own attributes."""
    for parent in array.path.parents:
        group = read_node(parent)
        if group is None:
            break
        for multiscale in group.multiscales:
            for dataset in multiscale["datasets"]:
                if parent / dataset["path"] == array.path:
                    return ome_axes(group.path, multiscale, dataset)
    return plain_axes(array)


def ome_axes(where: Path, multiscale: dict[str, Any], dataset: dict[str, Any]) -> tuple[Axis, ...]:
    """Return the axes of one level of an OME-NGFF multiscale.

    The level's own transformations come first, then those of the whole multiscale (NGFF 0.4 and 0.5, "multiscales
    metadata").
    """
    stored = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale.get("axes", [])]
    scales, translations = [1.0] * len(stored), [0.0] * len(stored)
    steps = [*(dataset.get("coordinateTransformations") or []), *(multiscale.get("coordinateTransformations") or [])]
    for step in steps:
        values = step.get(step["type"], [])
        if step["type"] not in ("scale", "translation") or len(values) != len(stored):
            raise UserError(
                f"{where}: the multiscales have a transformation {step}; "
                f"a scale or translation with {len(stored)} numbers can be read"
            )
        if step["type"] == "scale":
            scales = [a * b for a, b in zip(scales, values, strict=True)]
            translations = [a * b for a, b in zip(translations, values, strict=True)]
        else:
            translations = [a + b for a, b in zip(translations, values, strict=True)]
    names = _standard_names([axis["name"] for axis in stored], [axis.get("type") for axis in stored])
    rows = zip(names, scales, translations, stored, strict=True)
    return tuple(
        Axis(name, scale if steps else None, translation, axis.get("unit"), centred=True)
        for name, scale, translation, axis in rows
    )


def plain_axes(array: Node) -> tuple[Axis, ...]:
    """Return the axes that an array's own attributes describe, as funlib.persistence writes them.

    `voxel_size` (or `resolution`), `offset` and `units` may have one entry per axis or one per spatial axis.
    """
    attributes, ndim = array.attributes, len(array.shape)
    scales = next((attributes[name] for name in VOXEL_SIZE_ATTRIBUTES if attributes.get(name) is not None), None)
    names = attributes.get("axis_names") or array.metadata.get("dimension_names")
    types = attributes.get("types")
    if not names or len(names) != ndim or None in names:
        channels = ndim - len(scales) if scales is not None else max(ndim - 3, 0)
        names = ["c"] * channels + list(SPATIAL[-(ndim - channels) :] if ndim > channels else [])
        types = types if types and len(types) == len(names) else None
    standard = _standard_names(names, types or [None] * len(names))
    if len(standard) != ndim:
        return tuple(Axis(name) for name in standard)
    units = attributes.get("units")
    units = [units] * ndim if units is None or isinstance(units, str) else units
    columns = [
        _per_axis(array, standard, name, values)
        for name, values in (("voxel size", scales), ("offset", attributes.get("offset")), ("units", units))
    ]
    return tuple(
        Axis(name, scale, float(translation or 0), unit or "nm")
        for name, scale, translation, unit in zip(standard, *columns, strict=True)
    )


def _per_axis(array: Node, names: Sequence[str], what: str, values: Sequence[Any] | None) -> list[Any]:
    """Spread values given per axis, per non-channel axis or per spatial axis over all axes."""
    if values is None:
        return [None] * len(names)
    for skipped in ("", "c", "ct"):
        if len(values) == sum(name not in skipped for name in names):
            rest = iter(values)
            return [None if name in skipped else next(rest) for name in names]
    raise UserError(f"{array.path}: the {what} {list(values)} does not fit an array of shape {array.shape}")


def _standard_names(names: Sequence[str], types: Sequence[str | None]) -> tuple[str, ...]:
    """Name axes t, c, z, y, x; spatial axes with names of their own are taken in the order z, y, x."""
    kinds = [_kind(name, kind) for name, kind in zip(names, types, strict=True)]
    spatial = [name.lower() for name, kind in zip(names, kinds, strict=True) if kind == "space"]
    if set(spatial) not in ({"z", "y", "x"}, {"y", "x"}):
        spatial = list(SPATIAL[-len(spatial) :]) if 0 < len(spatial) <= 3 else spatial
    rest = iter(spatial)
    return tuple({"channel": "c", "time": "t"}.get(kind) or next(rest) for kind in kinds)


def _kind(name: str, kind: str | None) -> str:
    if kind in ("space", "channel", "time"):
        return kind
    return {"c": "channel", "channel": "channel", "t": "time", "time": "time"}.get(
        name.lower(), "channel" if name.endswith("^") else "space"
    )


def extent(axes: Sequence[Axis]) -> float:
    """Return the product of the spatial scales: how coarse a level is."""
    return math.prod(axis.scale or 1.0 for axis in axes if axis.name in SPATIAL)
