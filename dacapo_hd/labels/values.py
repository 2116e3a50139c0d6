"""What the values of a label array mean: which are absent, which unknown, and which somebody has to be asked about."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

# what a config says of unknown: values, and perhaps that there is no other; without it the array decides
Unknown = int | Literal["none"] | tuple[int | Literal["none"], ...] | None
MEANINGS = frozenset(("absent", "present", "unknown"))

_BLOCK_VOXELS = 1 << 24
# larger arrays are looked through in as many voxels, spread evenly
_SCANNED_VOXELS = 1 << 31
_MOST_ID = np.iinfo(np.uint32).max
# what programs write where there is nothing: the greatest value of a type, and the two below it in 64 bits (Paintera)
_GREATEST = {2**bits - 1 for bits in (8, 16, 32, 64)}
_PAINTERA = {2**64 - 2, 2**64 - 3}
_WHERE = "where the labels are named"


def blocks(grid: Grid, most_voxels: int = _BLOCK_VOXELS) -> Iterator[Roi]:
    """Split a grid into ROIs (femtometres) of whole voxels, each of at most `most_voxels` (at least one row of x)."""
    depth, height, width = grid.shape_vx
    rows = max(1, min(height, most_voxels // width))
    sections = max(1, most_voxels // (rows * width))
    for z in range(0, depth, sections):
        for y in range(0, height, rows):
            yield grid.roi_of((z, y, 0), (min(sections, depth - z), min(rows, height - y), width))


def equal(values: NDArray[Any], number: int) -> NDArray[np.bool_]:
    """Compare exactly, also 64-bit values with a number beyond their range."""
    if values.dtype == np.bool_:
        return values == bool(number) if number in (0, 1) else np.zeros(values.shape, bool)
    limits = np.iinfo(values.dtype)
    if not limits.min <= number <= limits.max:
        return np.zeros(values.shape, bool)
    found: NDArray[np.bool_] = values == values.dtype.type(number)
    return found


def _among(values: NDArray[Any], numbers: Collection[int]) -> NDArray[np.bool_]:
    found = np.zeros(values.shape, bool)
    for number in numbers:
        found |= equal(values, number)
    return found


def _least(dtype: np.dtype[Any]) -> int:
    return 0 if dtype == np.bool_ else int(np.iinfo(dtype).min)


def _greatest(dtype: np.dtype[Any]) -> int:
    return 1 if dtype == np.bool_ else int(np.iinfo(dtype).max)


@attrs.frozen
class LabelValues:
    """What the values of masks or ids of one class mean; the others are present.

    `present` is the only one that is, where the array's encoding says so. `said`: config or encoding say which values
    are unknown. `settled`: the config says that no others are.
    """

    unknown: tuple[int, ...]
    absent: tuple[int, ...] = (0,)
    present: int | None = None
    said: bool = False
    settled: bool = False

    @classmethod
    def of(
        cls, volume: Volume, unknown: Unknown, absent: Collection[int], usual_unknown: int | None = None
    ) -> LabelValues:
        """Read what a config says, else what the array's encoding says, else what is usual."""
        given = unknown if isinstance(unknown, tuple) else () if unknown is None else (unknown,)
        numbers, none = [value for value in given if isinstance(value, int)], "none" in given
        # a value that the array cannot hold is meant for other arrays; a negative one says that there is none
        numbers = [value for value in numbers if value <= _greatest(volume.dtype)]
        none = none or any(value < _least(volume.dtype) for value in numbers)
        encoding = {} if numbers or none else encoding_of(volume)
        own = [encoding["unknown"]] if "unknown" in encoding else []
        usual = [] if usual_unknown is None or encoding or numbers or none else [usual_unknown]
        unknowns = {*numbers, *own, *usual} - {*absent}
        background = {encoding.get("absent", 0)} - unknowns
        # what the config says replaces the encoding
        present = None if absent else encoding.get("present")
        said = bool(numbers or none or own)
        return cls(tuple(sorted(unknowns)), tuple(sorted({*absent} | background)), present, said, none)

    def are_absent(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where values are absent."""
        return _among(values, self.absent)

    def are_unknown(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where values say nothing."""
        return _among(values, self.unknown)

    def problem_with(self, least: int, greatest: int, dtype: np.dtype[Any]) -> str | None:
        """Say what is wrong with values that would be present, by the least and the greatest of some of them."""
        if least < 0:
            return f"hold the negative value {least}; write {self._also(least)} {_WHERE} if that marks unknown voxels"
        strange = next((value for value in (least, greatest) if self.present not in (None, value)), None)
        if strange is not None:
            return (
                f"hold {strange}, which their encoding does not name (absent {self.absent[0]}, present "
                f"{self.present}); correct the encoding, or write {self._also(strange)} {_WHERE}"
            )
        if least == 0:
            return f"hold 0, which their encoding does not name; write `absent: 0` or {self._also(0)} {_WHERE}"
        is_large = dtype.kind == "u" or (dtype.kind == "i" and dtype.itemsize > 1)
        if not self.settled and greatest != self.present and is_large and greatest in {np.iinfo(dtype).max, *_PAINTERA}:
            return self._question(greatest)
        return None

    def _also(self, value: int) -> str:
        """Write that a value is unknown beside those that are already."""
        return f"`unknown: {[*self.unknown, value] if self.said and self.unknown else value}`"

    def _question(self, value: int) -> str:
        none = (
            f"`unknown: {[*self.unknown, 'none']}`".replace("'", "")
            if self.said and self.unknown
            else "`unknown: none`"
        )
        return (
            f"hold {value}: is it 'unknown' or an id? write {self._also(value)} {_WHERE}, or {none} if it is an id, or "
            f"`absent: {value}`"
        )

    def problem_with_all(self, found: Values, dtype: np.dtype[Any]) -> str | None:
        """Say what is wrong with the values of a whole array, or ask about the greatest if it is probably no id."""
        if found.none_present:
            return None
        problem = self.problem_with(found.least, found.greatest, dtype)
        if problem is None and not self.settled and found.greatest in _GREATEST - {self.present}:
            far_smaller = 2 * found.next_greatest < found.greatest
            problem = self._question(found.greatest) if far_smaller and dtype.kind in "iu" else None
        return problem


def encoding_of(volume: Volume) -> Mapping[str, int]:
    """Return what an array says of its values (meaning -> value), an empty mapping if nothing.

    It stands in the attribute `encoding`, or where CellMap's schema has it. UserError if it is none.
    """
    encoding = volume.attributes.get("encoding")
    if not isinstance(encoding, Mapping):
        nested: Any = volume.attributes.get("cellmap")
        for key in ("annotation", "annotation_type", "encoding"):
            nested = nested.get(key) if isinstance(nested, Mapping) else None
        encoding = nested
    if not isinstance(encoding, Mapping) or MEANINGS.isdisjoint(encoding):
        # xarray's attribute of that name is about its own files
        return {}
    encoding = {name: value for name, value in encoding.items() if name in MEANINGS}
    wrong = {name: value for name, value in encoding.items() if isinstance(value, bool) or not isinstance(value, int)}
    if wrong:
        name, value = next(iter(wrong.items()))
        raise UserError(f"labels {volume.path!r}: their encoding says {name}: {value!r}; it must be an integer")
    return encoding


@attrs.frozen
class Values:
    """The extreme values of those of an array that are neither absent nor unknown; in 64 bits `listed` has them all.

    `has_unknown`, `has_absent`: the unknown value occurs, an absent one does.
    """

    extremes: tuple[int, ...]
    has_unknown: bool
    has_absent: bool
    listed: NDArray[Any] | None

    @property
    def none_present(self) -> bool:
        return not self.extremes

    @property
    def least(self) -> int:
        return self.extremes[0]

    @property
    def greatest(self) -> int:
        return self.extremes[-1]

    @property
    def next_greatest(self) -> int:
        """0 if there is no other."""
        return self.extremes[-2] if len(self.extremes) > 1 else 0

    @property
    def only_absent_and_unknown(self) -> bool:
        return not self.extremes and self.has_unknown and self.has_absent

    @property
    def have_ids(self) -> bool:
        """Whether some value is more than 1."""
        return bool(self.extremes) and self.greatest > 1

    @property
    def numbers(self) -> NDArray[Any] | None:
        """The ids, if some do not fit into 32 bits."""
        beyond = self.listed is not None and len(self.listed) and self.listed[-1] > _MOST_ID
        return self.listed if beyond else None


def scan(volume: Volume, values: LabelValues) -> Values:
    """Look through an array; of a very large one first through blocks that are spread evenly.

    Values of 64 bits are all listed, and an array without ids is known as one only when all of it was seen.
    """
    every = list(blocks(volume.grid))
    step = max(1, len(every) * _BLOCK_VOXELS // _SCANNED_VOXELS)
    found = _scan(volume, values, every[:: step if volume.dtype.itemsize <= 4 else 1])
    return found if found.have_ids or step == 1 else _scan(volume, values, every)


def _scan(volume: Volume, values: LabelValues, parts: Sequence[Roi]) -> Values:
    extremes: list[int] = []
    listed: list[NDArray[Any]] = []
    has_unknown = has_absent = False
    for roi in parts:
        block = volume.read(roi)
        has_unknown = has_unknown or bool(values.are_unknown(block).any())
        has_absent = has_absent or bool(values.are_absent(block).any())
        present = _present_values(block, values)
        if not present.size:
            continue
        below = present[present != present.max()]
        mine = (present.min(), present.max(), *([below.max()] if below.size else []))
        ordered = sorted({*extremes, *map(int, mine)})
        extremes = sorted({ordered[0], *ordered[-2:]})
        if volume.dtype.itemsize > 4:
            listed.append(np.unique(present))
    return Values(tuple(extremes), has_unknown, has_absent, np.unique(np.concatenate(listed)) if listed else None)


def _present_values(block: NDArray[Any], values: LabelValues) -> NDArray[Any]:
    if block.dtype == np.bool_:
        block = block.view(np.uint8)
    if block.dtype.kind == "u" and block.dtype.itemsize <= 2:
        present = np.flatnonzero(np.bincount(block.ravel()))
    else:
        present = block.ravel()
    return present[~(values.are_absent(present) | values.are_unknown(present))]
