"""Numbers and words as the report holds them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dacapo_hd.stores.address import without_credentials

DIGITS = 5

_USER_IN_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#@]*@")


def short(value: float | None) -> float | None:
    """Round to a few significant digits; None for what is not finite, which JSON has no word for."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def shorts(values: Iterable[float]) -> list[float | None]:
    """Round each of several numbers."""
    return [short(float(value)) for value in values]


def without_secrets(value: Any) -> Any:
    """Strip users, passwords and options from the addresses in all texts of a document, keys included."""
    if isinstance(value, str):
        return _USER_IN_URL.sub(r"\1", without_credentials(value)) if "://" in value else value
    if isinstance(value, Mapping):
        return {without_secrets(key): without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value


def to_json(document: Mapping[str, Any]) -> str:
    """Write a document so that it can stand inside a `script` element: no `<`, no `>`, no `&`."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
