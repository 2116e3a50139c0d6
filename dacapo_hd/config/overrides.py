"""`path.to.field=value` from the command line, applied before anything is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import attrs

from dacapo_hd.config.files import parse_yaml
from dacapo_hd.config.problems import COMMAND_LINE, FOUND, Problem, Problems, problems_of

MISSING: Any = object()


class CommandLineText(str):
    """A string from the command line: as the name of a file it is looked for in the working directory first."""


@attrs.frozen
class Override:
    """A new value for the field at `path`."""

    path: tuple[str, ...]
    value: Any


@attrs.frozen
class Deferred:
    """Overrides inside something that is not data yet: a file that `base` names, or the default of a field."""

    base: Any
    overrides: tuple[Override, ...]

    def applied_to(self, data: Any) -> Any:
        """Apply the overrides once the data are there."""
        return reduce(applied, self.overrides, data)


def parse_overrides(texts: Iterable[str]) -> tuple[Override, ...]:
    """Parse `path=value` texts, the value as YAML; raises `Problems`."""
    found, problems = [], []
    for text in texts:
        path, equals, value = text.partition("=")
        keys = tuple(path.strip().split("."))
        if not equals or not all(keys):
            problems.append(Problem(f"{text!r}: expected path.to.field=value", source=COMMAND_LINE))
            continue
        try:
            found.append(Override(keys, _from_command_line(parse_yaml(value))))
        except ValueError as error:
            problems.append(Problem(str(error), keys, keys, COMMAND_LINE))
    if problems:
        raise Problems(problems)
    return tuple(found)


def _from_command_line(value: Any) -> Any:
    if isinstance(value, str):
        return CommandLineText(value)
    if isinstance(value, dict):
        return {key: _from_command_line(entry) for key, entry in value.items()}
    return [_from_command_line(entry) for entry in value] if isinstance(value, list) else value


def applied(data: Any, override: Override) -> Any:
    """Return a copy of `data` with one field replaced; raises `Problems` for a path that leads nowhere."""
    if not override.path:
        return override.value
    if isinstance(data, Deferred):
        return Deferred(data.base, (*data.overrides, override))
    if isinstance(data, str) or data is MISSING:
        return Deferred(data, (override,))
    key, rest = override.path[0], Override(override.path[1:], override.value)
    if isinstance(data, list):
        index = _index(key, data)
        return [*data[:index], _child(data[index], key, rest), *data[index + 1 :]]
    if data is None or isinstance(data, Mapping):
        fields = dict(data or {})
        name = next((name for name in fields if str(name) == key), key)
        return {**fields, name: _child(fields.get(name, MISSING), key, rest)}
    raise not_a_section(override)


def _child(data: Any, key: str, rest: Override) -> Any:
    try:
        return applied(data, rest)
    except FOUND as error:
        raise Problems(problem.under(key) for problem in problems_of(error)) from None


def _index(key: str, entries: list[Any]) -> int:
    if key.isdecimal() and int(key) < len(entries):
        return int(key)
    raise Problems([Problem.at(key, f"no such entry; the list has {len(entries)}, counted from 0", COMMAND_LINE)])


def not_a_section(override: Override) -> Problems:
    """Make the error of an override that goes deeper than the configuration does."""
    return Problems([Problem.at(override.path[0], "unknown field; its parent is a single value", COMMAND_LINE)])
