"""Length units that occur in array metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

# of electron microscopy; what is typed beyond is most often a mistaken unit
USUAL_VOXEL_SIZE_NM = (0.5, 1000.0)

_NM_PER = {
    "m": 1e9,
    "cm": 1e7,
    "mm": 1e6,
    "um": 1e3,
    "nm": 1.0,
    "angstrom": 0.1,
    "pm": 1e-3,
    "fm": 1e-6,
}
_WORDS = {
    "meter": "m",
    "centimeter": "cm",
    "millimeter": "mm",
    "micrometer": "um",
    "micron": "um",
    "\u00b5m": "um",
    "\u03bcm": "um",
    "nanometer": "nm",
    "picometer": "pm",
    "femtometer": "fm",
    "a": "angstrom",
    "\u00e5": "angstrom",
    "\u00e5ngstr\u00f6m": "angstrom",
}

KNOWN_UNITS = tuple(_NM_PER)


def nm_per(unit: str) -> float | None:
    """Return how many nanometres a unit has, None for an unknown one; `nm`, `nanometer` and `Nanometres` are one."""
    word = unit.strip().lower().replace("metre", "meter")
    for name in (word, word.removesuffix("s")):
        name = _WORDS.get(name, name)
        if name in _NM_PER:
            return _NM_PER[name]
    return None


def typed_size_nm(value: str | Sequence[float]) -> tuple[float, ...]:
    """Return a voxel size in nm that somebody has typed: [z, y, x] or [y, x] in nm, or a text with a unit at its end.

    ValueError where it is none, and for numbers without a unit that are hardly nm: `0.01, 0.01, 0.01 um` and
    `0.01, 0.01, 0.01 nm` are both believed.
    """
    numbers, unit = _numbers_and_unit(value) if isinstance(value, str) else (tuple(value), None)
    factor = 1.0 if unit is None else nm_per(unit)
    if factor is None:
        raise ValueError(f"has the unknown unit {unit!r} (known: {', '.join(KNOWN_UNITS)})")
    if len(numbers) not in (2, 3):
        raise ValueError(f"must be [z, y, x], or [y, x] for 2D, got {value!r}")
    size = tuple(number * factor for number in numbers)
    if not all(0 < number < math.inf for number in size):
        raise ValueError(f"must be > 0 on every axis, got {value!r}")
    low, high = USUAL_VOXEL_SIZE_NM
    if unit is None and not all(low <= number <= high for number in size):
        other = "micrometres" if min(size) < low else "picometres or a whole volume"
        text = ", ".join(f"{number:.15g}" for number in numbers)
        raise ValueError(
            f"is {text} nm, outside {low:g} to {high:g} nm; did you mean {other}? "
            f"write '{text} um' for micrometres, or '{text} nm' to insist"
        )
    return size


def in_3d(typed: str | Sequence[float]) -> tuple[float, ...]:
    """Return a typed voxel size as (z, y, x) in nm; what is 2D is as thick as it is high."""
    size = typed_size_nm(typed)
    return size if len(size) == 3 else (size[0], *size)


def _numbers_and_unit(text: str) -> tuple[tuple[float, ...], str | None]:
    found = re.fullmatch(r"\s*\[?([-+0-9.eE,\s]*?)\]?\s*([^\W\d_]*)\s*", text)
    try:
        parts = found[1].replace(",", " ").split() if found else []
        numbers = tuple(map(float, parts))
    except ValueError:
        numbers = ()
    if not numbers:
        raise ValueError(f"must be nm such as 8, 8, 8, or have a unit such as '8, 8, 8 nm', got {text!r}")
    return numbers, (found[2] or None) if found else None
