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

from dacapo_hd.config.component import ADDED_LATER, NAMING_FOLDER, Component
from dacapo_hd.config.families import type_name


def unstructure(obj: Any) -> Any:
    """Return the resolved configuration as plain data: every field, also those equal to their default.

    Only fields `ADDED_LATER` are left out where they equal it. Components begin with `type:`;
    `structure(unstructure(x), type(x)) == x`.
    """
    return _WHOLE.unstructure(obj)


def _is_shown(obj: Any, field: attrs.Attribute[Any], with_folders: bool) -> bool:
    if not with_folders and NAMING_FOLDER.keys() <= field.metadata.keys():
        return False
    if not ADDED_LATER.keys() <= field.metadata.keys():
        return True
    # a factory has the type of what it makes, as far as mypy knows
    factory = getattr(field.default, "factory", None)
    return bool(getattr(obj, field.name) != (factory() if factory else field.default))


def _make_converter(with_folders: bool) -> cattrs.Converter:
    converter = cattrs.Converter()

    def attrs_hook(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
        fields = [field for field in attrs.fields(cls) if field.init]
        tag = {"type": type_name(cls)} if issubclass(cls, Component) else {}

        def to_dict(obj: Any) -> dict[str, Any]:
            shown = [field for field in fields if _is_shown(obj, field, with_folders)]
            own = {field.alias or field.name: converter.unstructure(getattr(obj, field.name)) for field in shown}
            return {**tag, **own}

        return to_dict

    converter.register_unstructure_hook_factory(attrs.has, attrs_hook)
    converter.register_unstructure_hook(PurePath, str)
    converter.register_unstructure_hook(tuple, lambda values: [converter.unstructure(value) for value in values])
    converter.register_unstructure_hook(Real, lambda number: number.item() if hasattr(number, "item") else number)
    converter.register_unstructure_hook(
        Mapping,
        lambda values: {converter.unstructure(key): converter.unstructure(value) for key, value in values.items()},
    )
    return converter


_WHOLE, _IDENTITY = _make_converter(with_folders=True), _make_converter(with_folders=False)


def canonical_hash(obj: Any, without: Collection[str] = ()) -> str:
    """Return 16 hex digits of the SHA-256 of the canonical JSON of a configuration.

    Keys are sorted and 1.0 is written as 1, so that neither order nor the spelling of a number matters. `without`
    names fields of the top level that do not count; folders that relative paths begin at never do.
    """
    data = _IDENTITY.unstructure(obj)
    counted = {key: value for key, value in data.items() if key not in without}
    text = json.dumps(_canonical(counted), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
