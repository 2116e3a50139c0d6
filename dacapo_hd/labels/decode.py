"""Stored label values -> codes and instance ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.labels.scheme import ClassScheme
from dacapo_hd.labels.values import LabelValues


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
    """Reads masks or ids of one class; `numbers` lists ids beyond 32 bits, which get their rank."""

    class_name: str
    values: LabelValues
    instances: bool
    numbers: NDArray[Any] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.class_name,)

    @property
    def instance_classes(self) -> tuple[str, ...]:
        return (self.class_name,) if self.instances else ()

    def __call__(self, values: NDArray[Any]) -> dict[str, ClassAnnotation]:
        code = np.full(values.shape, PRESENT, np.uint8)
        code[self.values.are_absent(values)] = ABSENT
        code[self.values.are_unknown(values)] = UNKNOWN
        self._refuse_strange(values[code == PRESENT])
        ids = np.where(code == PRESENT, self._numbered(values), np.uint32(0)) if self.instances else None
        return {self.class_name: ClassAnnotation(code, ids)}

    def _refuse_strange(self, present: NDArray[Any]) -> None:
        if not present.size:
            return
        problem = self.values.problem_with(int(present.min()), int(present.max()), present.dtype)
        if problem is not None:
            raise UserError(f"labels of {self.class_name!r} {problem}")

    def _numbered(self, values: NDArray[Any]) -> NDArray[np.uint32]:
        if self.numbers is None:
            return values.astype(np.uint32)
        return (np.searchsorted(self.numbers, values) + 1).astype(np.uint32)


@attrs.frozen(eq=False)
class SemanticDecoder(Decoder):
    """A table (class, entry) of codes; entry n belongs to `values[n]`, the last one to all other values."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    table: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        values: Mapping[str, tuple[int, ...]],
        unknown: Collection[int],
        absent: Collection[int],
        background: bool,
        scheme: ClassScheme,
    ) -> SemanticDecoder:
        """Build the table; a value listed by a class is neither background nor unknown."""
        listed = sorted({value for mine in values.values() for value in mine})
        columns = {value: _semantic_codes(values, value, scheme) for value in listed}
        for value in {*absent, *([0] if background and 0 not in unknown else [])}:
            columns.setdefault(value, [ABSENT] * len(values))
        ordered = sorted(columns)
        table = np.array([columns[value] for value in ordered] + [[UNKNOWN] * len(values)], np.uint8).T
        return cls(tuple(values), tuple(ordered), table)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def __call__(self, values: NDArray[Any]) -> dict[str, ClassAnnotation]:
        values = values.view(np.uint8) if values.dtype == np.bool_ else values
        small = values.dtype == np.uint8 or values.dtype == np.uint16
        every = np.arange(np.iinfo(values.dtype).max + 1).astype(values.dtype) if small else values
        entry = self._entry(every)[values] if small else self._entry(every)
        return {name: ClassAnnotation(row[entry]) for name, row in zip(self.names, self.table, strict=True)}

    def _entry(self, values: NDArray[Any]) -> NDArray[np.intp]:
        limits = np.iinfo(values.dtype)
        # in the array's own type: numpy would compare int64 with uint64 as floats
        possible = [n for n, value in enumerate(self.values) if limits.min <= value <= limits.max]
        known = np.array([self.values[n] for n in possible], values.dtype)
        others = len(self.values)
        if not len(known):
            return np.full(values.shape, others)
        place = np.minimum(np.searchsorted(known, values), len(known) - 1)
        return np.where(known[place] == values, np.array(possible)[place], others)


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
