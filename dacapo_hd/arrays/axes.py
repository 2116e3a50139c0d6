"""Which stored axis is which, and where its voxels lie: from OME-NGFF or from plain attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from dacapo_hd.arrays.nodes import Node, read_node
from dacapo_hd.errors import UserError

SPATIAL = ("z", "y", "x")
VOXEL_SIZE_ATTRIBUTES = ("voxel_size", "resolution", "element_size_um")


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
        for level, axes in levels_of(group).items():
            if parent / level == array.path:
                return axes
    return plain_axes(array.label, array.shape, array.attributes, array.metadata.get("dimension_names"))


def levels_of(group: Node) -> dict[str, tuple[Axis, ...]]:
    """Return the axes of each level of a group's OME-NGFF multiscales, by the path of its array in the group."""
    try:
        return {
            dataset["path"]: ome_axes(group, multiscale, dataset)
            for multiscale in group.multiscales
            for dataset in multiscale["datasets"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{group.label}: its OME multiscales are damaged: {error!r}") from error


def ome_axes(group: Node, multiscale: dict[str, Any], dataset: dict[str, Any]) -> tuple[Axis, ...]:
    """Return the axes of one level of an OME-NGFF multiscale.

    The level's own transformations come first, then those of the whole multiscale (NGFF 0.4 and 0.5, "multiscales
    metadata").
    """
    stored = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale.get("axes", [])]
    scales, translations = [1.0] * len(stored), [0.0] * len(stored)
    steps = [*(dataset.get("coordinateTransformations") or []), *(multiscale.get("coordinateTransformations") or [])]
    for step in steps:
        kind = step["type"]
        values = step.get(kind, [])
        if kind not in ("scale", "translation") or len(values) != len(stored):
            raise UserError(
                f"{group.label}: cannot apply the transformation {step} of its OME multiscales; "
                f"it must be a scale or a translation of {len(stored)} numbers"
            )
        if kind == "scale":
            scales = [a * b for a, b in zip(scales, values, strict=True)]
            translations = [a * b for a, b in zip(translations, values, strict=True)]
        else:
            translations = [a + b for a, b in zip(translations, values, strict=True)]
    names = standard_names(group.label, [axis["name"] for axis in stored], [axis.get("type") for axis in stored])
    rows = zip(names, scales, translations, stored, strict=True)
    return tuple(
        Axis(name, scale if steps else None, translation, axis.get("unit"), centred=True)
        for name, scale, translation, axis in rows
    )


def plain_axes(
    label: str,
    shape: Sequence[int],
    attributes: Mapping[str, Any],
    dimension_names: Sequence[str | None] | None = None,
    fastest_first: bool = False,
) -> tuple[Axis, ...]:
    """Return the axes that an array's own attributes describe, as funlib.persistence writes them.

    `voxel_size` (or `resolution`, or `element_size_um`), `offset` and `units` have one entry per axis or one per
    spatial axis; without units the numbers are nanometres. `fastest_first`: the array and its attributes begin with x.
    """
    ndim = len(shape)
    key = next((name for name in VOXEL_SIZE_ATTRIBUTES if attributes.get(name) is not None), VOXEL_SIZE_ATTRIBUTES[0])
    names: Sequence[Any] = attributes.get("axis_names") or dimension_names or ()
    types = attributes.get("types")
    if len(names) != ndim or None in names:
        names = usual_names(ndim, attributes.get(key))
        names = names[::-1] if fastest_first else names
    standard = standard_names(label, names, types if types and len(types) == ndim else [None] * ndim)
    scales = _per_axis(label, attributes, standard, key, float)
    translations = _per_axis(label, attributes, standard, "offset", float)
    unit = "um" if key == "element_size_um" else attributes.get("units")
    units = [unit] * ndim if isinstance(unit, str) else _per_axis(label, attributes, standard, "units", str)
    return tuple(
        Axis(name, scale, translation or 0.0, unit or "nm")
        for name, scale, translation, unit in zip(standard, scales, translations, units, strict=True)
    )


def usual_names(ndim: int, voxel_size: Any) -> list[str]:
    """Name unnamed axes: ([t, c,] z, y, x), or as many spatial ones as the voxel size has entries."""
    spatial = min(len(voxel_size) if isinstance(voxel_size, list) else ndim, ndim, 3)
    leading = ("t", "c")[-(ndim - spatial) :] if ndim > spatial else ()
    return ["?"] * (ndim - spatial - len(leading)) + [*leading, *SPATIAL[3 - spatial :]]


def _per_axis(
    label: str, attributes: Mapping[str, Any], names: Sequence[str], key: str, kind: Callable[[Any], Any]
) -> list[Any]:
    """Spread an attribute given per axis, per non-channel axis or per spatial axis over all axes."""
    values = attributes.get(key)
    if values is None:
        return [None] * len(names)
    for skipped in ("", "c", "ct"):
        if isinstance(values, list) and len(values) == sum(name not in skipped for name in names):
            try:
                converted = iter([kind(value) for value in values])
            except (TypeError, ValueError):
                break
            return [None if name in skipped else next(converted) for name in names]
    raise UserError(f"{label}: its attribute {key!r} is {values!r}, not one entry per axis ({', '.join(names)})")


def standard_names(label: str, names: Sequence[str], types: Sequence[str | None]) -> tuple[str, ...]:
    """Name axes t, c, z, y, x; spatial axes with names of their own are taken in the order z, y, x."""
    kinds = [_kind(name, kind) for name, kind in zip(names, types, strict=True)]
    spatial = [name.lower() for name, kind in zip(names, kinds, strict=True) if kind == "space"]
    if not set(spatial) & set(SPATIAL) and len(spatial) in (2, 3):
        spatial = list(SPATIAL[-len(spatial) :])
    rest = iter(spatial)
    standard = tuple({"channel": "c", "time": "t"}.get(kind) or next(rest) for kind in kinds)
    if sorted(spatial) not in (["x", "y"], ["x", "y", "z"]) or len(set(standard)) != len(standard):
        raise UserError(
            f"{label}: cannot use its axes ({', '.join(names)}); "
            "they must be (y, x), (z, y, x) or (c, z, y, x), in any order"
        )
    return standard


def _kind(name: str, kind: str | None) -> str:
    if kind in ("space", "channel", "time"):
        return kind
    by_name = {"c": "channel", "channel": "channel", "t": "time", "time": "time"}
    return by_name.get(name.lower(), "channel" if name.endswith("^") else "space")


def coarseness(axes: Sequence[Axis]) -> float:
    """Return the product of the spatial scales."""
    return math.prod(axis.scale or 1.0 for axis in axes if axis.name in SPATIAL)
