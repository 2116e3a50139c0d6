"""Single values: what YAML gives must already be of the declared type."""

from __future__ import annotations

import math
import re
from typing import Any, get_args

from dacapo_hd.config.problems import shown
from dacapo_hd.errors import suggestion

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def integer(value: Any) -> int:
    """Accept an integer; true and 3.0 are none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer, got {shown(value)}")
    return int(value)


def number(value: Any) -> float:
    """Accept a finite number, also as a string: YAML 1.1 reads `1e-4` as one."""
    numeric = isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value))
    if isinstance(value, bool) or not numeric:
        raise TypeError(f"expected a number, got {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"expected a finite number, got {shown(value)}")
    return found


def boolean(value: Any) -> bool:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {shown(value)}")
    return value


def text(value: Any) -> str:
    """Accept a string."""
    if isinstance(value, str):
        return str(value)
    quotes = "; put it in quotes" if isinstance(value, (bool, int, float)) else ""
    raise TypeError(f"expected a string, got {shown(value)}{quotes}")


def literal(value: Any, cls: Any) -> Any:
    """Accept one of the values of a `Literal`."""
    value = str(value) if isinstance(value, str) else value
    options = get_args(cls)
    for option in options:
        if type(value) is type(option) and value == option:
            return option
    near = (
        suggestion(value, (option for option in options if isinstance(option, str))) if isinstance(value, str) else ""
    )
    raise ValueError(f"must be one of {', '.join(map(repr, options))}, got {shown(value)}{near}")
