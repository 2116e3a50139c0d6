"""attrs validators whose messages follow one form: `must be ..., got ...`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _rule(holds: Callable[[Any], bool], words: str) -> Validator:
    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not holds(value):
            raise ValueError(f"must be {words}, got {value!r}")

    return validate


positive = _rule(lambda value: value > 0, "> 0")
non_negative = _rule(lambda value: value >= 0, ">= 0")
fraction = _rule(lambda value: 0 <= value <= 1, "between 0 and 1")
each_positive = _rule(lambda values: all(value > 0 for value in values), "> 0 on every axis")
non_empty = _rule(lambda values: len(values) > 0, "a list with at least one entry")


def one_of(*options: Any) -> Validator:
    """Accept only the given values."""
    return _rule(lambda value: value in options, "one of " + ", ".join(map(repr, options)))


def optional(validator: Validator) -> Validator:
    """Apply a validator unless the value is None."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return validate
