"""Where the voxels of N5 arrays lie: the conventions of COSEM, N5-Viewer, Paintera, BigDataViewer and funlib.

N5 stores x first. Lists of numbers in its attributes are in that order, except where axes are named beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from dacapo_hd.arrays.axes import SPATIAL, Axis, ome_axes, plain_axes, said_names, usual_names
from dacapo_hd.arrays.naming import USUAL
from dacapo_hd.arrays.nodes import Node, find_node, groups_above, read_node
from dacapo_hd.errors import UserError

Attributes = Mapping[str, Any]


def n5_axes_of(array: Node) -> tuple[Axis, ...]:
    """Return the axes of an array, x first: as a level of the group above it, else from its own attributes."""
    for group, member in groups_above(array):
        if group.attributes and not group.is_array and member.path.parents[0] == group.path:
            return _axes_in_group(group, member, _described_levels(group))
    return _level_axes(array, {}, {}, 0)


def n5_levels_of(group: Node) -> dict[str, tuple[Axis, ...]]:
    """Return the axes of each level of a group by its name: of its `multiscales`, else of s0, s1, ... in it."""
    described = _described_levels(group)
    if described:
        return {name: _axes_in_group(group, find_node(group.path / name), described) for name in described}
    levels: dict[str, tuple[Axis, ...]] = {}
    for number in count():
        node = read_node(group.path / f"s{number}", refused_is_missing=True)
        if node is None or not node.is_array:
            return levels
        levels[f"s{number}"] = _axes_in_group(group, node, described)
    return levels


def _described_levels(group: Node) -> dict[str, tuple[Attributes, Attributes]]:
    """Return multiscale and dataset of each level that the group's `multiscales` name."""
    try:
        return {
            dataset["path"]: (multiscale, dataset)
            for multiscale in group.multiscales
            for dataset in multiscale["datasets"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{group.label}: its multiscales are damaged: {error!r}") from error


def _axes_in_group(
    group: Node, array: Node, described: Mapping[str, tuple[Attributes, Attributes]]
) -> tuple[Axis, ...]:
    multiscale, dataset = described.get(array.path.name, ({}, {}))
    if dataset.get("coordinateTransformations"):
        axes = {axis.name: axis for axis in ome_axes(group, dict(multiscale), dict(dataset))}
        return tuple(axes.get(name, Axis(name)) for name in _names(array, axes))
    name = array.path.name
    level = int(name[1:]) if name[:1] == "s" and name[1:].isdigit() else 0
    shared = dict(group.attributes)
    if group.path.name.startswith("timepoint"):
        # BigDataViewer keeps the unit elsewhere
        shared.setdefault("units", "as in the XML file")
    return _level_axes(array, {**dataset}, shared, level)


def _level_axes(array: Node, dataset: Attributes, group: Attributes, level: int) -> tuple[Axis, ...]:
    own = array.attributes
    try:
        transform = own.get("transform") or dataset.get("transform")
        if transform:
            return _transform_axes(array, transform)
        factors = own.get("downsamplingFactors") or _entry(group, level) or []
        resolution = own.get("pixelResolution") or group.get("pixelResolution")
        if resolution:
            # a level's own resolution has already been coarsened by factors that only the group lists
            of_level = bool(own.get("pixelResolution")) and not own.get("downsamplingFactors")
            return _pixel_resolution_axes(array, resolution, factors, of_level)
        if own.get("resolution") or own.get("voxel_size") or not group.get("resolution"):
            return plain_axes(array.label, array.shape, own, fastest_first=True)
        shared = {key: group[key] for key in ("offset", "units") if key in group}
        coarser = [size * factor for size, factor in zip(group["resolution"], factors or [1] * 3, strict=True)]
        return plain_axes(array.label, array.shape, {**shared, **own, "resolution": coarser}, fastest_first=True)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{array.label}: its attributes about voxel size are damaged: {error!r}") from error


def _entry(group: Attributes, level: int) -> Sequence[float] | None:
    """Return the downsampling factors that a group lists for one of its levels."""
    listed = group.get("scales") or group.get("downsamplingFactors") or []
    return listed[level] if level < len(listed) and isinstance(listed[level], list) else None


def _transform_axes(array: Node, transform: Attributes) -> tuple[Axis, ...]:
    """COSEM: axes named in any order; `translate` is the centre of the first voxel."""
    rows = zip(
        transform["axes"],
        transform["scale"],
        transform.get("translate") or [0.0] * len(transform["axes"]),
        transform["units"],
        strict=True,
    )
    by_name = {name: Axis(name, float(scale), float(shift), unit, True) for name, scale, shift, unit in rows}
    return tuple(by_name.get(name, Axis(name)) for name in _names(array, by_name))


def _pixel_resolution_axes(array: Node, resolution: Any, factors: Sequence[float], of_level: bool) -> tuple[Axis, ...]:
    """N5-Viewer: x, y, z of the finest level (or of this one), and by how much this level is coarser.

    The first voxel of the finest level has its centre at 0, and all levels share their corner.
    """
    sizes, unit = (resolution["dimensions"], resolution["unit"]) if isinstance(resolution, dict) else (resolution, None)
    axes = {}
    for name, size, factor in zip("xyz"[: len(sizes)], sizes, factors or [1] * len(sizes), strict=True):
        finest, own = (size / factor, size) if of_level else (size, size * factor)
        axes[name] = Axis(name, own, (own - finest) / 2, unit, True)
    return tuple(axes.get(name, Axis(name)) for name in _names(array, axes))


def _names(array: Node, described: Iterable[str]) -> list[str]:
    """Name the stored axes of an array: x, y and perhaps z, as described, and then channels and time."""
    usual = usual_names(len(array.shape), [name for name in described if name in SPATIAL])[::-1]
    said = said_names(array.label, len(array.shape), array.attributes)
    return list(USUAL.resolve(array.label, said, usual))
