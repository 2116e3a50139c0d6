"""Zarr groups and arrays as they lie in folders, of either generation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.errors import UserError, suggestion

MAX_LISTED = 8
MAX_DEPTH = 4


@attrs.frozen(eq=False)
class Node:
    """A Zarr group or array: its format (2 or 3), the array's metadata document and its attributes."""

    path: Path
    zarr_format: int
    is_array: bool
    metadata: dict[str, Any]
    attributes: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.metadata["shape"])

    @property
    def label(self) -> str:
        """What error messages call it."""
        return f"{self.path} (Zarr {self.zarr_format} {f'array of shape {self.shape}' if self.is_array else 'group'})"

    @property
    def multiscales(self) -> list[dict[str, Any]]:
        """The OME-NGFF multiscales of a group: 0.5 nests them under `ome`."""
        return self.attributes.get("ome", self.attributes).get("multiscales", [])


def read_node(path: Path) -> Node | None:
    """Return the group or array in a folder, None when there is neither.

    Raises UserError for damaged metadata, PermissionError for a folder that may not be read.
    """
    if (path / "zarr.json").is_file():
        document = _json(path / "zarr.json")
        return Node(path, 3, document.get("node_type") == "array", document, document.get("attributes", {}))
    is_array = (path / ".zarray").is_file()
    if not is_array and not any((path / name).is_file() for name in (".zgroup", ".zattrs")):
        return None
    metadata = _json(path / ".zarray") if is_array else {}
    attributes = _json(path / ".zattrs") if (path / ".zattrs").is_file() else {}
    return Node(path, 2, is_array, metadata, attributes)


def find_node(path: Path) -> Node:
    """Return the group or array in a folder; the UserError for a missing one says what is near it."""
    try:
        node = read_node(path)
        if node is None:
            raise _missing(path)
    except PermissionError as error:
        raise UserError(f"cannot open {path}: no permission to read {error.filename}") from error
    return node


def _missing(path: Path) -> UserError:
    parent = next(p for p in [path, *path.parents] if p.is_dir())
    inside = names_inside(parent)
    listing = f"contains {listed(inside)}" if inside else "contains no arrays"
    where = "that folder" if parent == path else f"the deepest existing folder, {parent},"
    return UserError(f"no array at {path}: {where} {listing}{suggestion(str(path.relative_to(parent)), inside)}")


def arrays_inside(folder: Path) -> list[Path]:
    """Return the array folders below a folder, the nearest first, not deeper than MAX_DEPTH."""
    return sorted(_walk(folder, MAX_DEPTH), key=lambda path: (len(path.parts), path))


def names_inside(folder: Path) -> list[str]:
    """Return what can be opened below a folder: arrays, and multiscale groups in place of their levels."""
    names: dict[str, None] = {}
    for array in arrays_inside(folder):
        group = None if array.parent == folder else read_node(array.parent)
        opened = array.parent if group is not None and group.multiscales else array
        names[str(opened.relative_to(folder))] = None
    return list(names)


def listed(names: list[str]) -> str:
    """Write names as `a, b, c and 4 more`."""
    rest = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for child in folder.iterdir() if depth else ():
        node = read_node(child)
        if node is not None and node.is_array:
            yield child
        elif node is not None or child.suffix == ".zarr":
            yield from _walk(child, depth - 1)


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: the metadata is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: the metadata must be a JSON object, got {type(document).__name__}")
    return document
