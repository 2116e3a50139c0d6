"""Which stored axis is which, and where its voxels lie: from OME-NGFF or from plain attributes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from dacapo_hd.arrays.naming import USUAL, AxisNaming, listed_axes
from dacapo_hd.arrays.nodes import Node, groups_above
from dacapo_hd.arrays.webknossos import webknossos_attributes
from dacapo_hd.errors import UserError

SPATIAL = ("z", "y", "x")
VOXEL_SIZE_ATTRIBUTES = ("voxel_size", "resolution", "element_size_um")
_NAMING_ATTRIBUTES = ("axis_names", "axistags", "_ARRAY_DIMENSIONS", "axisOrder", "axes")
# names that number an axis and say nothing about it, as xarray and netCDF give them
_NUMBERED = re.compile(r"(phony_)?(dimension|dim|axis|d)_?\d+|\??")
_WORDS = {
    **dict.fromkeys(("depth", "d", "plane", "planes", "slice", "slices", "section", "sections"), "z"),
    **dict.fromkeys(("height", "h", "row", "rows", "line", "lines"), "y"),
    **dict.fromkeys(("width", "w", "column", "columns", "col", "pixel", "pixels"), "x"),
    **dict.fromkeys(("channel", "channels", "c^", "band", "bands"), "c"),
    "time": "t",
}
# x_1, xpos, X_nm
_DECORATED = re.compile(r"([zyx])[_ -]?(pos|position|coord|coordinate|axis|dim|nm|um|px|vx|\d+)")


@attrs.frozen
class Axis:
    """One stored axis, in the file's own unit.

    `name` is one of t, c, z, y, x. `translation` is the position of the first voxel: of its centre if `centred`
    (OME-NGFF), else of its lower corner. None means that the file does not say. `named`: the file names it.
    """

    name: str
    scale: float | None = None
    translation: float = 0.0
    unit: str | None = None
    centred: bool = False
    named: bool = True


def own_axes(array: Node, naming: AxisNaming) -> tuple[Axis, ...]:
    """Return the axes that an array itself describes, or the properties of a WEBKNOSSOS dataset around it."""
    attributes, dimension_names = array.attributes, array.metadata.get("dimension_names")
    if dimension_names is None and attributes.keys().isdisjoint(_NAMING_ATTRIBUTES):
        attributes = {**webknossos_attributes(array), **attributes}
    return plain_axes(array.label, array.shape, attributes, dimension_names, naming=naming)


def level_above(array: Node) -> tuple[Node, tuple[Axis, ...]] | None:
    """Return the group of whose OME multiscales an array is a level, and its axes there."""
    for group, member in groups_above(array):
        for level, axes in levels_of(group).items():
            if group.path / level == member.path:
                return group, axes
    return None


def require_agreement(array: Node, axes: Sequence[Axis], naming: AxisNaming) -> None:
    """Raise UserError if an array's own names of its axes contradict the multiscales above it."""
    if naming.insists or len(axes) != len(array.shape):
        return
    own = said_names(array.label, len(axes), array.attributes, naming, array.metadata.get("dimension_names"))
    pairs = zip(own, axes, strict=True)
    if any(name not in (None, axis.name) for name, axis in pairs):
        above = listed_axes([axis.name for axis in axes])
        raise UserError(
            f"{array.label}: names its axes ({listed_axes(own)}), but the OME multiscales above it ({above}); "
            f"{naming.advice.axes_insisted(len(axes))}"
        )


def renamed(label: str, axes: Sequence[Axis], naming: AxisNaming) -> tuple[Axis, ...]:
    """Return axes that the file names by the names that the user gives; sizes and positions stay in their places."""
    said = tuple(axis.name for axis in axes)
    names = naming.resolve(label, said, said)
    return tuple(attrs.evolve(axis, name=name) for axis, name in zip(axes, names, strict=True))


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
    # NGFF before 0.3 has no axes: they are always these
    stored = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale.get("axes") or "tczyx"]
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
    naming: AxisNaming = USUAL,
) -> tuple[Axis, ...]:
    """Return the axes that an array's own attributes describe, as funlib.persistence and others write them.

    `voxel_size` (or `resolution`, or `element_size_um`), `offset` and `units` have one entry per axis or one per
    spatial axis; without units the numbers are nanometres. `fastest_first`: the array and its attributes begin with x.
    """
    ndim = len(shape)
    key = next((name for name in VOXEL_SIZE_ATTRIBUTES if attributes.get(name) is not None), VOXEL_SIZE_ATTRIBUTES[0])
    usual = usual_names(ndim, attributes.get(key))
    said = said_names(label, ndim, attributes, naming, dimension_names)
    if naming.given is None and not any(said) and not fastest_first:
        _refuse_channels_last(label, shape, naming)
    names = naming.resolve(label, said, usual[::-1] if fastest_first else usual)
    standard = standard_names(label, names, [None] * ndim)
    scales = _per_axis(label, attributes, standard, key, float)
    translations = _per_axis(label, attributes, standard, "offset", float)
    unit = "um" if key == "element_size_um" else attributes.get("units")
    units = [unit] * ndim if isinstance(unit, str) else _per_axis(label, attributes, standard, "units", str)
    return tuple(
        Axis(name, scale, translation or 0.0, unit or "nm", named=one is not None)
        for name, scale, translation, unit, one in zip(standard, scales, translations, units, said, strict=True)
    )


def usual_names(ndim: int, voxel_size: Any) -> list[str]:
    """Name unnamed axes: ([t, c,] z, y, x), or as many spatial ones as the voxel size has entries."""
    spatial = min(len(voxel_size) if isinstance(voxel_size, list) else ndim, ndim, 3)
    leading = ("t", "c")[-(ndim - spatial) :] if ndim > spatial else ()
    return ["?"] * (ndim - spatial - len(leading)) + [*leading, *SPATIAL[3 - spatial :]]


def _refuse_channels_last(label: str, shape: Sequence[int], naming: AxisNaming) -> None:
    """Ask where an array that says nothing looks like (z, y, x, c) or (y, x, c) and not like what is usual."""
    forms = {3: ("yxc", "zyx"), 4: ("zyxc", "czyx"), 5: ("tzyxc", "tczyx")}
    most = 4 if len(shape) == 3 else 16
    if len(shape) not in forms or shape[-1] > most or 3 * shape[-1] > shape[-2] or shape[-2] <= 4:
        return
    last, usual = forms[len(shape)]
    raise UserError(
        f"{label}: does not name its axes, and its last one may be channels; {naming.advice.axes(last)} if it is, "
        f"{naming.advice.axes(usual)} if not"
    )


def said_names(
    label: str,
    ndim: int,
    attributes: Mapping[str, Any],
    naming: AxisNaming = USUAL,
    dimension_names: Sequence[str | None] | None = None,
) -> tuple[str | None, ...]:
    """Return the standard name of each axis as far as the array names it; UserError if it contradicts itself."""
    found: dict[str, tuple[str | None, ...]] = {}
    for where, listed, types in () if naming.insists else _name_lists(label, attributes, dimension_names):
        if len(listed) != ndim:
            raise UserError(
                f"{label}: {where} names {len(listed)} axes ({listed_axes(listed)}), but the array has {ndim}; "
                f"{naming.advice.axes_insisted(ndim)}"
            )
        known = [None if name is None or _NUMBERED.fullmatch(name.lower()) else name for name in listed]
        if any(known):
            found[where] = _recognised(label, known, types or [None] * ndim, naming)
    first = next(iter(found), "")
    for where, names in list(found.items())[1:]:
        if any(a != b for a, b in zip(found[first], names, strict=True) if a is not None and b is not None):
            raise UserError(
                f"{label}: {first} says that its axes are ({listed_axes(found[first])}), but {where} says "
                f"({listed_axes(names)}); {naming.advice.axes_insisted(ndim)}"
            )
    return next(iter(found.values()), (None,) * ndim)


def _recognised(
    label: str, names: Sequence[str | None], types: Sequence[str | None], naming: AxisNaming
) -> tuple[str | None, ...]:
    """Return standard names, None for axes without one; UserError for a name that is not understood or comes twice."""
    kinds = {"channel": "c", "time": "t"}
    found = tuple(
        None if name is None else kinds.get(_kind(name, kind)) or _standard_name(name)
        for name, kind in zip(names, types, strict=True)
    )
    said = [name for name in found if name is not None]
    if len(set(said)) != len(said) or not set(said) <= {"t", "c", *SPATIAL}:
        raise UserError(
            f"{label}: cannot tell which of its axes ({listed_axes(names)}) is which; "
            f"{naming.advice.axes_insisted(len(names))}"
        )
    return found


_NameList = tuple[str, list[str | None], Sequence[str | None] | None]


def _name_lists(
    label: str, attributes: Mapping[str, Any], dimension_names: Sequence[str | None] | None
) -> Iterator[_NameList]:
    """Yield each list of names that an array carries: where it stands, the names, and their types if there are any."""
    if attributes.get("axis_names") and isinstance(attributes["axis_names"], list):
        names, types = attributes["axis_names"], attributes.get("types")
        fits = isinstance(types, list) and len(types) == len(names)
        yield "its attribute 'axis_names'", _texts(names), types if fits else None
    if dimension_names:
        yield "its dimension names", _texts(dimension_names), None
    tags = attributes.get("axistags")
    if tags:
        yield "its attribute 'axistags'", *_vigra_names(label, tags)
    if isinstance(attributes.get("_ARRAY_DIMENSIONS"), list):
        yield "its attribute '_ARRAY_DIMENSIONS'", _texts(attributes["_ARRAY_DIMENSIONS"]), None
    for key in ("axisOrder", "axes"):
        listed = _listed(attributes.get(key))
        if listed:
            yield f"its attribute {key!r}", listed, None


def _listed(names: Any) -> list[str | None]:
    """Return names that are given as a text, a list, a list of objects, or with their places; none for all else."""
    if isinstance(names, dict):
        places = {name: place for name, place in names.items() if isinstance(place, int)}
        names = sorted(places, key=lambda name: places[name]) if len(places) == len(names) else []
    if isinstance(names, str):
        names = list(names.replace(",", ""))
    if not isinstance(names, list):
        return []
    return _texts([entry.get("name") if isinstance(entry, dict) else entry for entry in names])


def _texts(names: Sequence[Any]) -> list[str | None]:
    return [None if name is None else str(name) for name in names]


def _vigra_names(label: str, tags: Any) -> tuple[list[str | None], list[str | None]]:
    """Read vigra's axistags, as ilastik writes them: JSON, in which a flag of 1 marks channels."""
    try:
        axes = (json.loads(tags) if isinstance(tags, str) else tags)["axes"]
        return [str(axis["key"]) for axis in axes], ["channel" if axis.get("typeFlags") == 1 else None for axis in axes]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{label}: its attribute 'axistags' is damaged: {error!r}") from error


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
    spatial = [_standard_name(name) for name, kind in zip(names, kinds, strict=True) if kind == "space"]
    if not set(spatial) & set(SPATIAL) and len(spatial) in (2, 3):
        spatial = list(SPATIAL[-len(spatial) :])
    rest = iter(spatial)
    standard = tuple({"channel": "c", "time": "t"}.get(kind) or next(rest) for kind in kinds)
    if sorted(spatial) not in (["x", "y"], ["x", "y", "z"]) or len(set(standard)) != len(standard):
        raise UserError(
            f"{label}: cannot use its axes ({listed_axes(names)}); "
            "they must be (y, x), (z, y, x) or (c, z, y, x), in any order"
        )
    return standard


def _standard_name(name: str) -> str:
    word = name.lower()
    decorated = _DECORATED.fullmatch(word)
    return decorated[1] if decorated else _WORDS.get(word, word)


def _kind(name: str, kind: str | None) -> str:
    if kind in ("space", "channel", "time"):
        return kind
    standard = _standard_name(name)
    return {"c": "channel", "t": "time"}.get(standard, "channel" if name.endswith("^") else "space")


def coarseness(axes: Sequence[Axis]) -> float:
    """Return the product of the spatial scales."""
    return math.prod(axis.scale or 1.0 for axis in axes if axis.name in SPATIAL)
