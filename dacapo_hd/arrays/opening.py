"""From a path to a `Volume`: finds the array, its level, its axes and its world coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dacapo_hd.arrays.axes import SPATIAL, Axis, axes_of, coarseness, levels_of
from dacapo_hd.arrays.nodes import Node, find_node, listed, names_inside
from dacapo_hd.arrays.source import ZarrSource, reason
from dacapo_hd.arrays.units import KNOWN_UNITS, nm_per
from dacapo_hd.arrays.volume import ZarrVolume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, fm, format_nm

if TYPE_CHECKING:
    from dacapo_hd.arrays.ref import ArrayRef

GIVE_VOXEL_SIZE = "give it in the config: voxel_size_nm: [z, y, x]"


def open_array(ref: ArrayRef, path: str, wanted_voxel_size_nm: Sequence[float] | None = None) -> ZarrVolume:
    """Open what `ref` names; `path` is its path with environment variables replaced."""
    node = find_node(Path(path).absolute())
    if not node.is_array:
        return _volume(*_choose_level(node, ref, wanted_voxel_size_nm), ref)
    if ref.level is not None:
        raise UserError(f"{node.label}: has no levels; leave out level: {ref.level}")
    return _volume(node, axes_of(node), ref)


def _choose_level(
    group: Node, ref: ArrayRef, wanted_voxel_size_nm: Sequence[float] | None
) -> tuple[Node, tuple[Axis, ...]]:
    levels = levels_of(group)
    if not levels:
        inside = names_inside(group.path)
        listing = f"name one of the arrays in it: {listed(inside)}" if inside else "it contains no arrays"
        raise UserError(f"{group.label}: has no OME multiscales; {listing}")
    name = ref.level
    if name is None and wanted_voxel_size_nm is not None and ref.voxel_size_nm is None:
        wanted = fm(wanted_voxel_size_nm)
        name = next((n for n, axes in levels.items() if fm(_voxel_size_nm(axes, ref, group)) == wanted), None)
        if name is None:
            raise UserError(
                f"{group.label}: no level has the voxel size {format_nm(wanted_voxel_size_nm)}; "
                f"levels: {_table(group, levels, ref)}"
            )
    if name is None:
        name = min(levels, key=lambda n: coarseness(levels[n]))
    if name not in levels:
        raise UserError(f"{group.label}: no level {name!r}; levels: {_table(group, levels, ref)}")
    return find_node(group.path / name), levels[name]


def _table(group: Node, levels: dict[str, tuple[Axis, ...]], ref: ArrayRef) -> str:
    stored = attrs.evolve(ref, voxel_size_nm=None)
    return ", ".join(f"{name} {format_nm(_voxel_size_nm(axes, stored, group))}" for name, axes in levels.items())


def _volume(node: Node, axes: tuple[Axis, ...], ref: ArrayRef) -> ZarrVolume:
    names = tuple(axis.name for axis in axes)
    if len(names) != len(node.shape):
        raise UserError(f"{node.label}: the OME multiscales above it describe {len(names)} axes ({', '.join(names)})")
    lengths = dict(zip(names, node.shape, strict=True))
    if lengths.get("t", 1) != 1:
        raise UserError(f"{node.label}: has {lengths['t']} time points; only a single one can be read")
    voxel_size_nm = _voxel_size_nm(axes, ref, node)
    offset_nm = _offset_nm(axes, ref, voxel_size_nm, node)
    grid = Grid.from_nm([lengths.get(name, 1) for name in SPATIAL], voxel_size_nm, offset_nm)
    source = ZarrSource(str(node.path), node.zarr_format, names)
    try:
        dtype = source.handle().dtype.numpy_dtype
    except (ValueError, OSError) as error:
        raise UserError(f"{node.label}: cannot open: {reason(error)}") from error
    return ZarrVolume(grid, str(node.path), node.attributes, source, dtype, lengths.get("c"))


def _voxel_size_nm(axes: Sequence[Axis], ref: ArrayRef, where: Node) -> tuple[float, ...]:
    """Return (z, y, x); a 2D array's section is as thick as its voxels are high unless `ref` says otherwise."""
    if ref.voxel_size_nm is not None:
        given = ref.voxel_size_nm
        return given if len(given) == 3 else (given[0], *given)
    spatial = [axis for axis in axes if axis.name in SPATIAL]
    sizes = {axis.name: axis.scale * _nm_per(axis, where) for axis in spatial if axis.scale is not None}
    if len(sizes) < len(spatial):
        raise UserError(
            f"{where.label}: has no voxel size, neither in the OME multiscales of a group nor as its attribute "
            f"'voxel_size' or 'resolution'; {GIVE_VOXEL_SIZE}"
        )
    voxel_size_nm = tuple(sizes.get(name, sizes["y"]) for name in SPATIAL)
    if not all(0 < size < math.inf for size in voxel_size_nm):
        raise UserError(f"{where.label}: the voxel size must be > 0, got {format_nm(voxel_size_nm)}; {GIVE_VOXEL_SIZE}")
    return voxel_size_nm


def _offset_nm(axes: Sequence[Axis], ref: ArrayRef, voxel_size_nm: tuple[float, ...], where: Node) -> tuple[float, ...]:
    """Return the lower corner (z, y, x) of the first voxel."""
    if ref.offset_nm is not None:
        return ref.offset_nm if len(ref.offset_nm) == 3 else (0.0, *ref.offset_nm)
    by_name = {axis.name: axis for axis in axes}
    offset = []
    for name, size in zip(SPATIAL, voxel_size_nm, strict=True):
        axis = by_name.get(name, Axis(name))
        position = axis.translation * _nm_per(axis, where) if axis.translation else 0.0
        offset.append(position - size / 2 if axis.centred else position)
    return tuple(offset)


def _nm_per(axis: Axis, where: Node) -> float:
    factor = None if axis.unit is None else nm_per(axis.unit)
    if factor is None:
        problem = "has no unit" if axis.unit is None else f"has the unknown unit {axis.unit!r}"
        known = ", ".join(KNOWN_UNITS)
        raise UserError(f"{where.label}: axis {axis.name!r} {problem} (known: {known}); {GIVE_VOXEL_SIZE}")
    return factor
