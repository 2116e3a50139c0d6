"""Length units that occur in array metadata."""

from __future__ import annotations

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
