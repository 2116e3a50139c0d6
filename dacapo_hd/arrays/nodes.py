"""Zarr and N5 groups and arrays, as they lie in folders and on servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.arrays.places import Place, RemotePath, read_files
from dacapo_hd.errors import UserError, suggestion

MAX_LISTED = 8
MAX_DEPTH = 4
FILE_SUFFIXES = (".h5", ".hdf5", ".hdf", ".tif", ".tiff", ".png")
DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", "attributes.json")
_N5_STRUCTURE = ("n5", "dimensions", "blockSize", "dataType", "compression")


@attrs.frozen(eq=False)
class Node:
    """A group or array in a folder of its own.

    `format` is Zarr 2, Zarr 3 or N5; `metadata` is the array's own document.
    """

    path: Place
    format: str
    is_array: bool
    metadata: dict[str, Any]
    attributes: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """In stored order: slowest axis first, but in N5 the fastest axis first."""
        return tuple(self.metadata["dimensions" if self.format == "N5" else "shape"])

    @property
    def label(self) -> str:
        """What error messages call it."""
        return f"{self.path} ({self.format} {f'array of shape {self.shape}' if self.is_array else 'group'})"

    @property
    def multiscales(self) -> list[dict[str, Any]]:
        """The OME-NGFF multiscales of a group: 0.5 nests them under `ome`."""
        return self.attributes.get("ome", self.attributes).get("multiscales", [])


def read_node(path: Place, refused_is_missing: bool = False) -> Node | None:
    """Return the group or array in a folder, None when there is neither.

    `refused_is_missing` is for a server that has given something below or above: what it refuses is then not there.
    Raises UserError for damaged metadata and for a server that cannot be asked, PermissionError for a local folder that
    may not be read.
    """
    contents = read_files(path, DOCUMENTS, refused_is_missing)
    found = {name: _json(f"{path}/{name}", content) for name, content in contents.items()}
    if "zarr.json" in found:
        document = found["zarr.json"]
        return Node(path, "Zarr 3", document.get("node_type") == "array", document, document.get("attributes", {}))
    if {".zarray", ".zgroup", ".zattrs"} & found.keys():
        return Node(path, "Zarr 2", ".zarray" in found, found.get(".zarray", {}), found.get(".zattrs", {}))
    if "attributes.json" in found:
        document = found["attributes.json"]
        own = {key: value for key, value in document.items() if key not in _N5_STRUCTURE}
        return Node(path, "N5", "dimensions" in document and "dataType" in document, document, own)
    return None


def find_node(path: Place) -> Node:
    """Return the group or array in a folder; the UserError for a missing one says what is near it."""
    try:
        node = read_node(path)
        if node is None:
            raise _missing(path)
    except PermissionError as error:
        raise UserError(f"cannot open {path}: no permission to read {error.filename}") from error
    return node


def groups_above(array: Node) -> Iterator[tuple[Node, Node]]:
    """Yield the groups above an array, the nearest first, each with the array as it lies in that group.

    After those above its path come those above the folder to which links in the path lead.
    """
    for path in _with_target(array.path):
        for parent in path.parents:
            group = read_node(parent, refused_is_missing=True)
            if group is None:
                break
            yield group, attrs.evolve(array, path=path)


def _with_target(path: Place) -> list[Place]:
    target = path.resolve() if isinstance(path, Path) else path
    return [path] if target == path else [path, target]


def _missing(path: Place) -> UserError:
    if isinstance(path, RemotePath):
        return _missing_remote(path)
    parent = next(p for p in [path, *path.parents] if p.is_dir())
    inside = names_inside(parent)
    listing = f"contains {listed(inside)}" if inside else "contains no arrays"
    where = "that folder" if parent == path else f"the deepest existing folder, {parent},"
    return UserError(f"no array at {path}: {where} {listing}{suggestion(str(path.relative_to(parent)), inside)}")


def _missing_remote(path: RemotePath) -> UserError:
    above = (read_node(parent, refused_is_missing=True) for parent in path.parents)
    group = next((node for node in above if node is not None), None)
    if group is None:
        return UserError(f"no array at {path}: neither there nor above it is any of {', '.join(DOCUMENTS)}")
    inside = names_inside(group.path)
    # servers cannot be asked what a folder contains; some groups list it
    listing = f" contains {listed(inside)}" if inside else " is there, but does not list what it contains"
    name = path.relative_to(group.path)  # type: ignore[arg-type]
    return UserError(f"no array at {path}: the nearest group, {group.path},{listing}{suggestion(name, inside)}")


def arrays_inside(folder: Path) -> list[Path]:
    """Return the array folders below a folder, the nearest first, not deeper than MAX_DEPTH."""
    node = read_node(folder)
    in_n5 = any(p.suffix == ".n5" for p in (folder, *folder.parents)) or (node is not None and node.format == "N5")
    return sorted(_walk(folder, MAX_DEPTH, in_n5), key=lambda path: (len(path.parts), path))


def names_inside(folder: Place) -> list[str]:
    """Return what can be opened below a folder: arrays, multiscale groups in place of their levels, and files.

    On a server only what the group's metadata list.
    """
    if isinstance(folder, RemotePath):
        return _listed_arrays(folder)
    names: dict[str, None] = {}
    for array in arrays_inside(folder):
        group = None if array.parent == folder else read_node(array.parent)
        opened = array.parent if group is not None and group.multiscales else array
        names[str(opened.relative_to(folder))] = None
    files = sorted(child.name for child in folder.iterdir() if child.suffix.lower() in FILE_SUFFIXES)
    return [*names, *files]


def _listed_arrays(group: RemotePath) -> list[str]:
    """Return the arrays that a group's consolidated metadata list, and the levels of its multiscales."""
    contents = read_files(group, (".zmetadata", "zarr.json"), refused_is_missing=True)
    found = {name: _json(name, content) for name, content in contents.items()}
    keys = found.get(".zmetadata", {}).get("metadata", {})
    names = [key.removesuffix("/.zarray") for key in keys if key.endswith("/.zarray")]
    members = found.get("zarr.json", {}).get("consolidated_metadata") or {}
    names += [name for name, one in members.get("metadata", {}).items() if one.get("node_type") == "array"]
    node = read_node(group)
    levels = [dataset["path"] for one in (node.multiscales if node else []) for dataset in one["datasets"]]
    return sorted({*names, *levels})


def listed(names: list[str]) -> str:
    """Write names as `a, b, c and 4 more`."""
    rest = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _walk(folder: Path, depth: int, in_n5: bool) -> Iterator[Path]:
    for child in folder.iterdir() if depth else ():
        node = read_node(child)
        # groups of N5 need no metadata
        child_in_n5 = in_n5 or child.suffix == ".n5" or (node is not None and node.format == "N5")
        if node is not None and node.is_array:
            yield child
        elif node is not None or child.suffix == ".zarr" or (child_in_n5 and child.is_dir()):
            yield from _walk(child, depth - 1, child_in_n5)


def _json(name: str, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise UserError(f"{name}: the metadata is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UserError(f"{name}: the metadata must be a JSON object, got {type(document).__name__}")
    return document
