"""Errors that a user can act on: each problem is one line that says what, where and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One or more problems in what the user gave; the command line prints them and exits with `exit_code`."""

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def said_once(problems: Iterable[tuple[str, str]]) -> list[str]:
    """Word problems (where, what), the same in many places once, with the first place and how many there are more."""
    met: dict[str, dict[str, None]] = {}
    for where, what in problems:
        met.setdefault(what, {})[where] = None
    return [
        f"{next(iter(places))}{f' and {len(places) - 1} more' if len(places) > 1 else ''}: {what}"
        for what, places in met.items()
    ]


def unexpected(error: Exception) -> str:
    """Word an exception that no code of ours meant for the user: its first line, and a traceback that it carries."""
    first, *trace = (str(error) or "no message").splitlines()
    if not trace:
        return f"unexpected {type(error).__name__}: {first}; --debug shows the traceback"
    return "\n".join([f"unexpected {type(error).__name__}: {first}", *trace])


def suggestion(name: str, options: Iterable[str]) -> str:
    """Return `"; did you mean 'near'?"` for a near miss, else the empty string."""
    near = difflib.get_close_matches(name, list(options), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
