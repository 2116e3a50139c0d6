"""What partial annotation and a class scheme together say about each class (METHODS.md, section 0)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.labels.scheme import ClassScheme

_CODES = 3
_MOST_KEYS = 1 << 12


def derive(
    scheme: ClassScheme, annotated: Mapping[str, NDArray[np.uint8]], targets: Sequence[str]
) -> NDArray[np.uint8]:
    """Return what is known about each target class, uint8 codes (target, z, y, x).

    `annotated` holds the codes (z, y, x) of at least one class; all must have one shape. A class annotated present
    says that one of its atoms is present, hence that all atoms outside it are absent; a class annotated absent says
    that all its atoms are. A target is present if every atom still possible is one of its own, absent if none is.
    Where annotations contradict each other, those that say present win, together with all classes that contain them;
    everything else there is absent. More annotation therefore never turns known into unknown.
    In an overlapping scheme each class is what its own annotation says. UserError if a class is not in the scheme.
    """
    if scheme.overlapping:
        shape = next(iter(annotated.values())).shape
        return np.stack([annotated.get(name, np.full(shape, UNKNOWN, np.uint8)) for name in targets])
    combinations, index = _distinct(list(annotated.values()))
    inside_annotated, inside_targets = _membership(scheme, list(annotated), targets)
    table = _decide(combinations, inside_annotated, inside_targets)
    code = np.empty((len(targets), *index.shape), np.uint8)
    for target, column in enumerate(table.T):
        # "clip" spares the copy that numpy makes to check the indices
        np.take(column, index, out=code[target], mode="clip")
    return code


def contradictory(scheme: ClassScheme, annotated: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Return where (z, y, x) annotations say what the scheme rules out, such as two classes that exclude each other."""
    combinations, index = _distinct(list(annotated.values()))
    if scheme.overlapping:
        return np.zeros(index.shape, bool)
    inside, _ = _membership(scheme, list(annotated), [])
    found: NDArray[np.bool_] = _possible(combinations, inside)[1][index]
    return found


def merge(codes: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Join several annotations of one class: present if any says so, else absent if any does."""
    joined: NDArray[np.uint8] = np.maximum.reduce(list(codes))
    return joined


def _distinct(codes: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Return the distinct combinations of codes (combination, class), and which one each voxel has.

    Real crops have few, so that all logic can run on the combinations. Keys are numbered anew whenever they grow
    beyond a table of moderate size, which needs no sorting.
    """
    index = codes[0].astype(np.uint32)
    combinations = np.arange(_CODES, dtype=np.uint8)[:, None]
    for code in codes[1:]:
        index *= np.uint32(_CODES)
        index += code
        combinations = np.column_stack(
            [np.repeat(combinations, _CODES, axis=0), np.tile(np.arange(_CODES, dtype=np.uint8), len(combinations))]
        )
        if len(combinations) > _MOST_KEYS:
            combinations, index = _used(combinations, index)
    return _used(combinations, index)


def _used(combinations: NDArray[np.uint8], index: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Keep the combinations that occur."""
    used = np.zeros(len(combinations), bool)
    used[index.ravel()] = True
    number = np.cumsum(used, dtype=np.uint32) - np.uint32(1)
    return combinations[used], number[index]


def _membership(
    scheme: ClassScheme, annotated: Sequence[str], targets: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which group of atoms lies in which class, (annotated, group) and (target, group).

    Atoms that no class in question tells apart form one group.
    """
    atoms_of = [scheme.atoms(name) for name in (*annotated, *targets)]
    atoms = sorted(frozenset().union(*atoms_of))
    inside = np.array([[atom in inner for atom in atoms] for inner in atoms_of])
    groups = np.unique(inside, axis=1)
    return groups[: len(annotated)], groups[len(annotated) :]


def _decide(
    combinations: NDArray[np.uint8], inside_annotated: NDArray[np.bool_], inside_targets: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return the codes (combination, target)."""
    possible, ruled_out = _possible(combinations, inside_annotated)
    says_present = combinations == PRESENT
    present = ~_any_of(possible, ~inside_targets.T) & (says_present.any(axis=1) & ~ruled_out)[:, None]
    present[ruled_out] = _present_by_any(
        says_present[ruled_out],
        _any_of(combinations == ABSENT, inside_annotated)[ruled_out],
        inside_annotated,
        inside_targets,
    )
    absent = ~_any_of(possible, inside_targets.T) & ~present
    return np.select([present, absent], [np.uint8(PRESENT), np.uint8(ABSENT)], np.uint8(UNKNOWN))


def _possible(
    combinations: NDArray[np.uint8], inside_annotated: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which atoms a combination leaves, (combination, group), and whether it leaves none though one is there."""
    says_present = combinations == PRESENT
    excluded = _any_of(combinations == ABSENT, inside_annotated) | _any_of(says_present, ~inside_annotated)
    return ~excluded, says_present.any(axis=1) & excluded.all(axis=1)


def _present_by_any(
    says_present: NDArray[np.bool_],
    excluded_by_absence: NDArray[np.bool_],
    inside_annotated: NDArray[np.bool_],
    inside_targets: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Believe each class annotated present by itself, (combination, target)."""
    present = np.zeros((len(says_present), len(inside_targets)), bool)
    for says, inside in zip(says_present.T, inside_annotated, strict=True):
        left = inside & ~excluded_by_absence
        left[~left.any(axis=1)] = inside
        present |= says[:, None] & ~_any_of(left, ~inside_targets.T)
    return present


def _any_of(chosen: NDArray[np.bool_], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the union of the chosen rows: boolean matrix product, (m, n) x (n, k) -> (m, k)."""
    # BLAS multiplies float32 matrices many times faster than numpy multiplies booleans; counts are small, hence exact.
    union: NDArray[np.bool_] = (chosen.astype(np.float32) @ rows.astype(np.float32)) > 0
    return union
