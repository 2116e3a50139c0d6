"""Objects -> plain data, and the hash of what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from numbers import Real
from pathlib import PurePath
from typing import Any

import attrs
import cattrs

from dacapo_hd.config.component import ADDED_LATER, Component
from dacapo_hd.config.families import type_name


def unstructure(obj: Any) -> Any:
    """Return the resolved configuration as plain data: every field, also those equal to their default.

    Only fields `ADDED_LATER` are left out where they equal it. Components begin with `type:`;
    `structure(unstructure(x), type(x)) == x`.
    """
    return _CONVERTER.unstructure(obj)


def _attrs_hook(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
    fields = [field for field in attrs.fields(cls) if field.init]
    tag = {"type": type_name(cls)} if issubclass(cls, Component) else {}

    def to_dict(obj: Any) -> dict[str, Any]:
        shown = [field for field in fields if not _as_before(obj, field)]
        return {**tag, **{field.alias or field.name: unstructure(getattr(obj, field.name)) for field in shown}}

    return to_dict


def _as_before(obj: Any, field: attrs.Attribute[Any]) -> bool:
    return ADDED_LATER.keys() <= field.metadata.keys() and getattr(obj, field.name) == field.default


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook_factory(attrs.has, _attrs_hook)
    converter.register_unstructure_hook(PurePath, str)
    converter.register_unstructure_hook(tuple, lambda values: [unstructure(value) for value in values])
    converter.register_unstructure_hook(Real, lambda number: number.item() if hasattr(number, "item") else number)
    converter.register_unstructure_hook(
        Mapping, lambda values: {unstructure(key): unstructure(value) for key, value in values.items()}
    )
    return converter


_CONVERTER = _make_converter()


def canonical_hash(obj: Any, without: Collection[str] = ()) -> str:
    """Return 16 hex digits of the SHA-256 of the canonical JSON of a configuration.

    Keys are sorted and 1.0 is written as 1, so that neither order nor the spelling of a number matters. `without`
    names fields of the top level that do not count.
    """
    data = unstructure(obj)
    counted = {key: value for key, value in data.items() if key not in without}
    text = json.dumps(_canonical(counted), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
