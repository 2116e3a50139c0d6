"""What is wrong in a configuration: where, and in one line what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from dacapo_hd.errors import UserError

COMMAND_LINE = "--set"


class ConfigError(UserError):
    """Everything wrong in a configuration, one line each: `file: path.to.field: message`."""


@attrs.frozen
class Problem:
    """One mistake.

    `path` leads to it from the top, `local` from the top of the file in which it stands. `source` is that file,
    None while it is the one that was loaded.
    """

    message: str
    path: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    source: str | None = None

    @classmethod
    def at(cls, key: str, message: str, source: str | None = None) -> Problem:
        """Make a problem of the field `key`."""
        return cls(message, (key,), (key,), source)

    def under(self, key: str) -> Problem:
        """Return the same problem as seen from the section in which `key` stands."""
        local = (key, *self.local) if self.source is None else self.local
        return attrs.evolve(self, path=(key, *self.path), local=local)

    def within(self, source: str) -> Problem:
        """Return the same problem as seen from outside the file `source`."""
        return self if self.source else attrs.evolve(self, source=source)

    def line(self, source: str, overridden: Iterable[Sequence[str]]) -> str:
        """Write the line that the user reads; `overridden` are the paths that came from the command line."""
        depths = [len(path) for path in overridden if self.path[: len(path)] == tuple(path)]
        from_command_line = max(depths, default=-1) > len(self.path) - len(self.local)
        if from_command_line or self.source == COMMAND_LINE:
            parts = [COMMAND_LINE, _dotted(self.path), self.message]
        else:
            parts = [self.source or source, _dotted(self.local), self.message]
        return ": ".join(part for part in parts if part)


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(key if key.isprintable() else repr(key) for key in path)


class Problems(Exception):  # noqa: N818 (one or more, caught inside config/ only)
    """Carries problems from where they are found to where their file is known."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__()
        self.problems = tuple(problems)


class EntryErrors(ValueError):  # noqa: N818 (one or more)
    """What is wrong with entries of a list or mapping, by index or key.

    A validator raises it instead of one ValueError for the whole field, so that each message leads to its entry.
    """

    def __init__(self, messages: Mapping[Any, str]) -> None:
        super().__init__("\n".join(messages.values()))
        self.messages = messages


FOUND = (Problems, UserError, ValueError, TypeError)


def problems_of(error: Exception) -> tuple[Problem, ...]:
    """Read the problems from any of the exceptions `FOUND`."""
    if isinstance(error, Problems):
        return error.problems
    if isinstance(error, EntryErrors):
        return tuple(Problem.at(str(key), message) for key, message in error.messages.items())
    texts = error.problems if isinstance(error, UserError) else (str(error),)
    return tuple(Problem(" ".join(text.split())) for text in texts)


def shown(value: Any) -> str:
    """Write a value of a configuration as short as an error message needs it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
