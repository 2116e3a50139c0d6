"""The keys of stored configs, and in which of them runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dacapo_hd.stores.rows import RunRecord

NOTHING = "-"


def differing_keys(records: Sequence[RunRecord]) -> tuple[tuple[str, ...], dict[str, dict[str, str]]]:
    """Return the keys in which runs differ, and for each run, by its name, a text for every one of them."""
    flat = {record.name: _texts({**record.config, "seed": record.seed}) for record in records}
    keys = dict.fromkeys(key for config in flat.values() for key in config if key != "name")
    # the same files in another place are no other data
    counted = (key for key in keys if key.rpartition(".")[2] != "folder")
    differing = tuple(key for key in counted if _differs(key, list(flat.values())))
    return differing, {name: {key: config.get(key, NOTHING) for key in differing} for name, config in flat.items()}


def plain_values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield `task.scale_nm`, 50.0; lists of plain values stay together, as they are read together."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        yield path, value
        return
    for key, item in items:
        yield from plain_values(item, f"{path}.{key}" if path else key)


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for key, value in plain_values(config)
    }


def _differs(key: str, configs: Sequence[Mapping[str, str]]) -> bool:
    """Tell whether a key says more about the difference of configs than the types of their parts do.

    A part of another type has other fields: what only some of the types have must differ among those that have it.
    """
    values = [config.get(key) for config in configs]
    parents = [key.rsplit(".", depth)[0] for depth in range(1, key.count(".") + 1)]
    if any(len({config.get(f"{parent}.type") for config in configs}) > 1 for parent in parents):
        return len({value for value in values if value is not None}) > 1
    return len(set(values)) > 1
