"""Readable names for configurations that differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dacapo_hd.config.unstructuring import unstructure

_LONGEST = 40


def entry_names(kind: str, parts: Sequence[Any], given: Sequence[str | None]) -> list[str]:
    """Name each of several components: by the name given, else by its type and the fields in which it differs."""
    data = [unstructure(part) for part in parts]
    unnamed = [entry for entry, name in zip(data, given, strict=True) if name is None]
    one_type = len(unnamed) == len(data) > 1 and len({entry["type"] for entry in unnamed}) == 1
    names = []
    for index, (entry, name) in enumerate(zip(data, given, strict=True)):
        if name is None:
            words = [] if one_type else [snake_case(entry["type"].rpartition(":")[2])]
            name = "_".join(words + _differences(entry, [other for other in unnamed if other["type"] == entry["type"]]))
            name = name if 0 < len(name) <= _LONGEST else f"{kind}{index}"
        names.append(re.sub(r"[^A-Za-z0-9._]+", "_", name))
    return unique(names, "_")


def snake_case(name: str) -> str:
    """Write `HotDistance` as `hot_distance`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def unique(names: Sequence[str], separator: str) -> list[str]:
    """Number the names that occur again: `a`, `a-2`, `a-3`."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in found or (number > 1 and candidate in names):
            number += 1
            candidate = f"{name}{separator}{number}"
        found.append(candidate)
    return found


def _differences(entry: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    leaves = [dict(_leaves(other)) for other in others]
    return [
        f"{path[-1]}_{_value_text(value)}"
        for path, value in _leaves(entry)
        if any(other.get(path) != value for other in leaves)
    ]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, Mapping):
        return [(path, value)]
    return [leaf for key, entry in value.items() for leaf in _leaves(entry, (*path, str(key)))]


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return "_".join(map(_value_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
