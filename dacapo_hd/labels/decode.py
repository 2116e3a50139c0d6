"""Stored label values -> codes and instance ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.labels.scheme import ClassScheme

_MOST_VOXELS = 1 << 24
_MOST_ID = np.iinfo(np.uint32).max


@attrs.frozen(eq=False)
class ClassAnnotation:
    """What one source says about one class: uint8 codes and, if it has them, uint32 ids (0 = none), (z, y, x)."""

    code: NDArray[np.uint8]
    ids: NDArray[np.uint32] | None = None


class Decoder(ABC):
    """How the values of one array are to be read."""

    @abstractmethod
    def __call__(self, values: NDArray[Any]) -> dict[str, ClassAnnotation]:
        """Decode a block (z, y, x)."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The classes it tells about."""

    @property
    def instance_classes(self) -> tuple[str, ...]:
        """Those of them that get ids."""
        return ()


@attrs.frozen(eq=False)
class ClassDecoder(Decoder):
    """0 absent, > 0 present; `unknown` says nothing. `numbers` lists ids beyond 32 bits, which get their rank."""

    class_name: str
    unknown: int | None
    instances: bool
    numbers: NDArray[Any] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.class_name,)

    @property
    def instance_classes(self) -> tuple[str, ...]:
        return (self.class_name,) if self.instances else ()

    def __call__(self, values: NDArray[Any]) -> dict[str, ClassAnnotation]:
        code = np.where(values > 0, np.uint8(PRESENT), np.uint8(ABSENT))
        if self.unknown is not None:
            code[values == self.unknown] = UNKNOWN
        if np.issubdtype(values.dtype, np.signedinteger) and ((values < 0) & (code == ABSENT)).any():
            raise UserError(
                f"labels of {self.class_name!r} hold the negative value {values.min()}; give `unknown: {values.min()}` "
                "if that marks unknown voxels"
            )
        ids = np.where(code == PRESENT, self._numbered(values), np.uint32(0)) if self.instances else None
        return {self.class_name: ClassAnnotation(code, ids)}

    def _numbered(self, values: NDArray[Any]) -> NDArray[np.uint32]:
        if self.numbers is None:
            return values.astype(np.uint32)
        return (np.searchsorted(self.numbers, values) + 1).astype(np.uint32)


@attrs.frozen(eq=False)
class SemanticDecoder(Decoder):
    """A table (class, entry) of codes; entry n belongs to `values[n]`, the last one to all other values."""

    names: tuple[str, ...]
    values: NDArray[np.int64]
    table: NDArray[np.uint8]

    @classmethod
    def of(
        cls, values: Mapping[str, tuple[int, ...]], unknown: int | None, background: bool, scheme: ClassScheme
    ) -> SemanticDecoder:
        """Build the table; a value listed by a class is neither background nor unknown."""
        listed = sorted({value for mine in values.values() for value in mine})
        columns = {value: _semantic_codes(values, value, scheme) for value in listed}
        if background and unknown != 0:
            columns.setdefault(0, [ABSENT] * len(values))
        ordered = sorted(columns)
        table = np.array([columns[value] for value in ordered] + [[UNKNOWN] * len(values)], np.uint8).T
        return cls(tuple(values), np.array(ordered, np.int64), table)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def __call__(self, values: NDArray[Any]) -> dict[str, ClassAnnotation]:
        small = values.dtype == np.uint8 or values.dtype == np.uint16
        entry = self._entry(np.arange(np.iinfo(values.dtype).max + 1))[values] if small else self._entry(values)
        return {name: ClassAnnotation(row[entry]) for name, row in zip(self.names, self.table, strict=True)}

    def _entry(self, values: NDArray[Any]) -> NDArray[np.intp]:
        others = len(self.values)
        place = np.minimum(np.searchsorted(self.values, values), others - 1)
        return np.where(self.values[place] == values, place, others)


def _semantic_codes(values: Mapping[str, tuple[int, ...]], value: int, scheme: ClassScheme) -> list[int]:
    """Return what a value says about each class of the array.

    The classes that list it are present. Another class is absent if it excludes one of them or is a part of one (a
    flat array would show the part). One that contains or overlaps them is left to the derivation from the scheme.
    """
    here = [scheme.atoms(name) for name, mine in values.items() if value in mine]

    def code(name: str) -> int:
        atoms = scheme.atoms(name)
        if value in values[name]:
            return PRESENT
        contains_one = any(other <= atoms for other in here)
        ruled_out = any(not (other & atoms) or atoms < other for other in here)
        return ABSENT if ruled_out and not contains_one else UNKNOWN

    return [code(name) for name in values]


def blocks(grid: Grid, most_voxels: int = _MOST_VOXELS) -> Iterator[Roi]:
    """Split a grid into ROIs (femtometres) of whole voxels, each of at most `most_voxels` (at least one row of x)."""
    depth, height, width = grid.shape_vx
    rows = max(1, min(height, most_voxels // width))
    sections = max(1, most_voxels // (rows * width))
    for z in range(0, depth, sections):
        for y in range(0, height, rows):
            yield grid.roi_of((z, y, 0), (min(sections, depth - z), min(rows, height - y), width))


def has_ids(volume: Volume, unknown: int | None) -> bool:
    """Tell whether an array holds values > 1, apart from `unknown`."""
    if volume.dtype == np.bool_:
        return False
    return any(((values > 1) & _is_not(values, unknown)).any() for values in map(volume.read, blocks(volume.grid)))


def id_numbers(volume: Volume, unknown: int | None) -> NDArray[Any] | None:
    """Return the sorted ids of an array if they do not fit 32 bits, else None."""
    if volume.dtype.itemsize <= 4:
        return None
    found = [
        np.unique(values[(values > 0) & _is_not(values, unknown)]) for values in map(volume.read, blocks(volume.grid))
    ]
    ids = np.unique(np.concatenate(found))
    return ids if len(ids) and ids[-1] > _MOST_ID else None


def _is_not(values: NDArray[Any], unknown: int | None) -> NDArray[np.bool_] | np.bool_:
    return np.bool_(True) if unknown is None else values != unknown
