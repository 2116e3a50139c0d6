"""From a path or URL to a `Volume`: finds the format, the array, its level, its axes and its world coordinates."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from funlib.geometry import Coordinate

from dacapo_hd.arrays import hdf5, slices, tiff
from dacapo_hd.arrays.axes import (
    SPATIAL,
    Axis,
    coarseness,
    level_above,
    levels_of,
    own_axes,
    renamed,
    require_agreement,
)
from dacapo_hd.arrays.backend import reason
from dacapo_hd.arrays.n5 import n5_axes_of, n5_levels_of
from dacapo_hd.arrays.naming import USUAL, AxisNaming
from dacapo_hd.arrays.nodes import FILE_SUFFIXES, Node, find_node, groups_above, listed, names_inside, read_node
from dacapo_hd.arrays.places import Place, RemotePath, parse_place
from dacapo_hd.arrays.source import Source, StoreSource
from dacapo_hd.arrays.units import KNOWN_UNITS, in_3d, nm_per
from dacapo_hd.arrays.volume import StoredVolume, Understood, Volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, fm, format_nm, nm

if TYPE_CHECKING:
    from dacapo_hd.arrays.ref import ArrayRef

logger = logging.getLogger(__name__)

# attributes of a pyramid's group that are about the values of all its levels
SHARED_ATTRIBUTES = ("encoding", "cellmap")
# an image of more is more likely a stack
MOST_COLOURS = 4
FORMATS = "Zarr and N5, HDF5 files, TIFF files, and folders of TIFF or PNG sections"
_LOOKED_IN = {
    "OME": "neither in the OME multiscales of a group nor as its attribute 'voxel_size' or 'resolution'",
    "N5": "neither in the multiscales of a group nor as its attribute 'transform', 'pixelResolution' or 'resolution'",
    "HDF5": "as none of the attributes 'voxel_size', 'resolution' and 'element_size_um'",
    "TIFF": "neither in OME or ImageJ metadata nor in its resolution tags",
}


@attrs.frozen(eq=False)
class Found:
    """An array that was found: what error messages call it, and what its file says about it.

    `level` is its name in the pyramid above it, empty outside of one. `may_be_sections`: its channels are stored as
    sections usually are.
    """

    label: str
    path: str
    format: str
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    attributes: dict[str, Any]
    source: Source
    looked_in: str = _LOOKED_IN["OME"]
    level: str = ""
    may_be_sections: bool = False


def open_array(ref: ArrayRef, path: str, wanted_voxel_size_nm: Sequence[float] | None = None) -> StoredVolume:
    """Open what `ref` names; `path` is its path with environment variables replaced."""
    place = parse_place(path)
    found = _in_a_file(place, ref.naming)
    if found is None:
        node = find_node(place)
        if not node.is_array:
            return _volume(_level(node, *_choose_level(node, ref, wanted_voxel_size_nm), ref), ref)
        found = _array(node, ref.naming)
    if ref.level is not None:
        raise UserError(f"{found.label}: has no levels; leave out level: {ref.level}")
    return _volume(found, ref)


def open_all_levels(ref: ArrayRef, path: str) -> dict[str, StoredVolume]:
    """Open each level of the pyramid that `ref` names, finest first, by name; a single array is the level ""."""
    place = parse_place(path)
    single = ref.level is not None or ref.voxel_size_nm is not None or _in_a_file(place, ref.naming) is not None
    node = None if single else find_node(place)
    levels = _levels_of(node) if node is not None and not node.is_array else {}
    if node is None or not levels:
        return {"": open_array(ref, path)}
    names = sorted(levels, key=lambda name: coarseness(levels[name]))
    return {name: _volume(_level(node, name, levels[name], ref), ref) for name in names}


def arrays_in(path: str) -> list[str]:
    """Return the path itself if it can be opened as one array or pyramid, else those of the arrays in it.

    UserError where there is nothing.
    """
    place = parse_place(path)
    if _in_a_file(place, USUAL) is not None:
        return [path]
    bare = isinstance(place, Path) and place.is_dir() and read_node(place) is None
    node = None if bare else find_node(place)
    if node is not None and (node.is_array or _levels_of(node)):
        return [path]
    # pictures and files of several arrays lie beside what is meant
    inside = [name for name in names_inside(place) if Path(name).suffix.lower() not in FILE_SUFFIXES]
    if not inside:
        raise UserError(f"{place}: contains no arrays")
    return [f"{path.rstrip('/')}/{name}" for name in inside]


def downsampling_of(path: str) -> str | None:
    """Return how the levels of the pyramid at a path are made from each other, as far as it says so."""
    place = parse_place(path)
    node = None if _in_a_file(place, USUAL) is not None else read_node(place)
    found = {multiscale.get("type") for multiscale in node.multiscales} if node is not None else set()
    return found.pop() if len(found) == 1 else None


def check_sections(volume: Volume) -> None:
    """Look at every file of a volume that is a folder of sections; UserError naming those that differ."""
    if isinstance(volume, StoredVolume) and isinstance(volume.source, slices.SliceSource):
        slices.check_slices(volume.source.files, volume.source.first)


def _in_a_file(place: Place, naming: AxisNaming) -> Found | None:
    """Find an array that is a file or part of one, or a folder of sections; None for everything else."""
    if isinstance(place, RemotePath):
        _refuse_remote_file(place)
        return None
    try:
        file = next((p for p in (place, *place.parents) if p.is_file()), None)
        if file is not None:
            return _file(file, "" if file == place else str(place.relative_to(file)), naming)
        return (
            _slices(place, naming) if place.is_dir() and read_node(place) is None and slices.has_slices(place) else None
        )
    except PermissionError as error:
        raise UserError(f"cannot open {place}: no permission to read {error.filename}") from error


def _refuse_remote_file(place: RemotePath) -> None:
    for part in (place, *place.parents):
        if Path(part.name).suffix.lower() in FILE_SUFFIXES and read_node(place) is None:
            raise UserError(f"cannot open {place}: only Zarr and N5 are read over a network; download {part}")


def _file(file: Path, inside: str, naming: AxisNaming) -> Found:
    if hdf5.is_hdf5(file):
        dataset = hdf5.find_dataset(file, inside)
        axes = dataset.axes(naming)
        source = hdf5.Hdf5Source(file, dataset.name, tuple(axis.name for axis in axes))
        path = f"{file}/{dataset.name}"
        return Found(dataset.label, path, "HDF5", dataset.shape, axes, dataset.attributes, source, _LOOKED_IN["HDF5"])
    is_tiff = tiff.is_tiff(file)
    if not is_tiff and not slices.is_png(file):
        raise UserError(f"cannot open {file}: unknown format; can be opened: {FORMATS}")
    if inside:
        raise UserError(f"cannot open {file}/{inside}: {file.name} is a single image; leave out /{inside}")
    if not is_tiff:
        return _slices(file, naming)
    stack = tiff.find_stack(file)
    axes = stack.axes(naming)
    tiff_source = tiff.TiffSource(file, tuple(axis.name for axis in axes))
    found = Found(stack.label, str(file), "TIFF", stack.shape, axes, {}, tiff_source, _LOOKED_IN["TIFF"])
    return attrs.evolve(found, may_be_sections=stack.may_be_sections)


def _slices(place: Path, naming: AxisNaming) -> Found:
    stack = slices.find_slices(place)
    axes = stack.axes(naming)
    source = slices.SliceSource(stack.files, stack.first, tuple(axis.name for axis in axes))
    return Found(stack.label, str(place), stack.format, stack.shape, axes, {}, source, _LOOKED_IN["TIFF"])


def _level(group: Node, name: str, axes: tuple[Axis, ...], ref: ArrayRef) -> Found:
    node = find_node(group.path / name)
    if node.format != "N5":
        require_agreement(node, axes, ref.naming)
    found = _shared(_found(node, renamed(node.label, axes, ref.naming)), group)
    return attrs.evolve(found, level=name)


def _array(node: Node, naming: AxisNaming) -> Found:
    """Return an array that was named itself, be it a level of a group above it or not."""
    if node.format == "N5":
        found = _found(node, renamed(node.label, n5_axes_of(node), naming))
        group = next((group for group, _ in groups_above(node) if not group.is_array), None)
        return found if group is None else _shared(found, group)
    above = level_above(node)
    if above is None:
        return _found(node, own_axes(node, naming))
    require_agreement(node, above[1], naming)
    return _shared(_found(node, renamed(node.label, above[1], naming)), above[0])


def _shared(found: Found, group: Node) -> Found:
    """Let annotation that stands at a group count for its levels."""
    shared = {key: group.attributes[key] for key in SHARED_ATTRIBUTES if key in group.attributes}
    return attrs.evolve(found, attributes={**shared, **found.attributes})


def _found(node: Node, axes: tuple[Axis, ...]) -> Found:
    source = StoreSource(node.path, node.format, tuple(axis.name for axis in axes))
    looked_in = _LOOKED_IN["N5" if node.format == "N5" else "OME"]
    return Found(node.label, str(node.path), node.format, node.shape, axes, node.attributes, source, looked_in)


def _levels_of(group: Node) -> dict[str, tuple[Axis, ...]]:
    return n5_levels_of(group) if group.format == "N5" else levels_of(group)


def _choose_level(
    group: Node, ref: ArrayRef, wanted_voxel_size_nm: Sequence[float] | None
) -> tuple[str, tuple[Axis, ...]]:
    levels = _levels_of(group)
    if not levels:
        inside = names_inside(group.path)
        listing = f"name one of the arrays in it: {listed(inside)}" if inside else "it contains no arrays"
        kind = "levels" if group.format == "N5" else "OME multiscales"
        raise UserError(f"{group.label}: has no {kind}; {listing}")
    name = ref.level
    if name is None and wanted_voxel_size_nm is not None and ref.voxel_size_nm is None:
        wanted = fm(wanted_voxel_size_nm)
        name = next((n for n, axes in levels.items() if _size_fm(group, axes, ref) == wanted), None)
        if name is None:
            raise UserError(
                f"{group.label}: no level has the voxel size {format_nm(wanted_voxel_size_nm)}; "
                f"levels: {_table(group, levels, ref)}"
            )
    if name is None:
        name = min(levels, key=lambda n: coarseness(levels[n]))
    if name not in levels:
        raise UserError(f"{group.label}: no level {name!r}; levels: {_table(group, levels, ref)}")
    return name, levels[name]


def _table(group: Node, levels: dict[str, tuple[Axis, ...]], ref: ArrayRef) -> str:
    stored = attrs.evolve(ref, voxel_size_nm=None)
    return ", ".join(f"{name} {format_nm(nm(_size_fm(group, axes, stored)))}" for name, axes in levels.items())


def _size_fm(group: Node, axes: tuple[Axis, ...], ref: ArrayRef) -> Coordinate:
    return fm(_voxel_size_nm(axes, ref, group.label, _LOOKED_IN["N5" if group.format == "N5" else "OME"]))


def _volume(found: Found, ref: ArrayRef) -> StoredVolume:
    names = tuple(axis.name for axis in found.axes)
    if len(names) != len(found.shape):
        raise UserError(f"{found.label}: the OME multiscales above it describe {len(names)} axes ({', '.join(names)})")
    lengths = dict(zip(names, found.shape, strict=True))
    _require_an_image(found, names, lengths, ref)
    voxel_size_nm = _voxel_size_nm(found.axes, ref, found.label, found.looked_in)
    offset_nm = _offset_nm(found.axes, ref, voxel_size_nm, found.label)
    try:
        grid = Grid.from_nm([lengths.get(name, 1) for name in SPATIAL], voxel_size_nm, offset_nm)
    except ValueError as error:
        raise UserError(f"{found.label}: {error}; {ref.advice.replace_voxel_size}") from None
    try:
        dtype = found.source.dtype
    except (ValueError, OSError) as error:
        raise UserError(f"{found.label}: cannot open: {reason(error)}") from error
    understood = Understood(found.format, names, found.level, all(axis.named for axis in found.axes))
    volume = StoredVolume(grid, found.path, found.attributes, found.source, dtype, lengths.get("c"), understood)
    return volume if ref.channel is None else volume.one_channel(ref.channel)


def _require_an_image(found: Found, names: Sequence[str], lengths: Mapping[str, int], ref: ArrayRef) -> None:
    """Raise UserError for a series in time, and for what is more likely a stack of sections saved as something else."""
    if 0 in found.shape:
        raise UserError(f"{found.label}: is empty; give an array with voxels")
    sections = "".join("z" if name in ("t", "c") and lengths[name] > 1 else name for name in names)
    advice = (
        f"{ref.advice.axes(sections)} if they are sections" if "z" not in names else "only a single one can be read"
    )
    if lengths.get("t", 1) != 1:
        raise UserError(f"{found.label}: has {lengths['t']} time points; {advice}")
    if not found.may_be_sections or ref.axes is not None:
        return
    if lengths["c"] <= MOST_COLOURS:
        hint = f"{ref.advice.axes('zyx')} if they are sections"
        logger.warning("%s: is read as one section of %d colours; %s", found.label, lengths["c"], hint)
    else:
        raise UserError(
            f"{found.label}: has {lengths['c']} channels and one section; {advice}, or {ref.advice.axes('cyx')} if "
            "they are channels"
        )


def _voxel_size_nm(axes: Sequence[Axis], ref: ArrayRef, label: str, looked_in: str) -> tuple[float, ...]:
    """Return (z, y, x); a 2D array's section is as thick as its voxels are high unless `ref` says otherwise."""
    if ref.voxel_size_nm is not None:
        return in_3d(ref.voxel_size_nm)
    spatial = [axis for axis in axes if axis.name in SPATIAL]
    sizes = {axis.name: axis.scale * _nm_per(axis, label, ref) for axis in spatial if axis.scale is not None}
    missing = [axis.name for axis in spatial if axis.name not in sizes]
    if missing and ref.assumed_voxel_size_nm is not None:
        # what the file says of the other axes still counts
        return tuple(sizes.get(n, a) for n, a in zip(SPATIAL, in_3d(ref.assumed_voxel_size_nm), strict=True))
    if missing:
        what = f"has no voxel size, {looked_in}"
        if sizes:
            known = ", ".join(f"{name} {size:.15g} nm" for name, size in sizes.items())
            what = f"has no voxel size for {', '.join(missing)} (only {known})"
        raise UserError(f"{label}: {what}; {ref.advice.voxel_size}")
    voxel_size_nm = tuple(sizes.get(name, sizes["y"]) for name in SPATIAL)
    if not all(0 < size < math.inf for size in voxel_size_nm):
        raise UserError(
            f"{label}: the voxel size must be > 0, got {format_nm(voxel_size_nm)}; {ref.advice.replace_voxel_size}"
        )
    return voxel_size_nm


def _offset_nm(axes: Sequence[Axis], ref: ArrayRef, voxel_size_nm: tuple[float, ...], label: str) -> tuple[float, ...]:
    """Return the lower corner (z, y, x) of the first voxel."""
    if ref.offset_nm is not None:
        return ref.offset_nm if len(ref.offset_nm) == 3 else (0.0, *ref.offset_nm)
    by_name = {axis.name: axis for axis in axes}
    offset = []
    for name, size in zip(SPATIAL, voxel_size_nm, strict=True):
        axis = by_name.get(name, Axis(name))
        position = axis.translation * _nm_per_step(axis, size, label, ref) if axis.translation else 0.0
        if not math.isfinite(position):
            raise UserError(f"{label}: its position along {name} is {position}; {ref.advice.offset}")
        offset.append(position - size / 2 if axis.centred else position)
    return tuple(offset)


def _nm_per_step(axis: Axis, size_nm: float, label: str, ref: ArrayRef) -> float:
    """Return the nm of a unit; of one that is not known by the voxel size that the user gives for the file's."""
    if ref.voxel_size_nm is not None and axis.scale and (axis.unit is None or nm_per(axis.unit) is None):
        return size_nm / axis.scale
    return _nm_per(axis, label, ref)


def _nm_per(axis: Axis, label: str, ref: ArrayRef) -> float:
    factor = None if axis.unit is None else nm_per(axis.unit)
    if factor is None:
        problem = "has no unit" if axis.unit is None else f"has the unknown unit {axis.unit!r}"
        known = ", ".join(KNOWN_UNITS)
        raise UserError(f"{label}: axis {axis.name!r} {problem} (known: {known}); {ref.advice.replace_voxel_size}")
    return factor
