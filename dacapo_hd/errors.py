"""Errors that a user can act on: each problem is one line that says what, where and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One or more problems in what the user gave; the command line prints them and exits with code 1."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def suggestion(name: str, options: Iterable[str]) -> str:
    """Return `"; did you mean 'near'?"` for a near miss, else the empty string."""
    near = difflib.get_close_matches(name, list(options), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
