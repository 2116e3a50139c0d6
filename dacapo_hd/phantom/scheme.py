"""The classes of the phantom: atoms that exclude each other, and composites made of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

ATOMS = (
    "ecs",
    "pm",
    "cytosol",
    "mito_mem",
    "mito_lum",
    "ves_mem",
    "ves_lum",
    "er_mem",
    "er_lum",
    "ne_mem",
    "ne_lum",
    "hchrom",
    "nucpl",
)
"""Names of the atomic classes; the semantic array holds 1 + the position in this tuple."""

COMPOSITES: dict[str, tuple[str, ...]] = {
    "mito": ("mito_mem", "mito_lum"),
    "ves": ("ves_mem", "ves_lum"),
    "er": ("er_mem", "er_lum"),
    "ne": ("ne_mem", "ne_lum"),
    "nuc": ("ne_mem", "ne_lum", "hchrom", "nucpl"),
    "cell": ATOMS[1:],
}

INSTANCE_CLASSES = ("cell", "nuc", "mito", "ves")
"""Classes of which every object has its own id."""

CLASSES = (*ATOMS, *COMPOSITES)


def scheme() -> dict[str, list[str]]:
    """Return the class scheme as plain data, `class: [parts]`; atoms have no parts."""
    return {name: list(COMPOSITES.get(name, ())) for name in CLASSES}


def value_of(atom: str) -> int:
    """Return the value of an atom in the semantic array."""
    return ATOMS.index(atom) + 1


def values_of(class_name: str) -> tuple[int, ...]:
    """Return the values in the semantic array that make up a class, atomic or composite."""
    return tuple(value_of(atom) for atom in COMPOSITES.get(class_name, (class_name,)))


def select(semantic: NDArray[np.uint8], atoms: Iterable[str]) -> NDArray[np.bool_]:
    """Return where a semantic array holds one of some atoms."""
    table = np.zeros(256, dtype=np.bool_)
    table[[value_of(atom) for atom in atoms]] = True
    return table[semantic]
