"""What lies on the faces of blocks, and which pieces of two neighbouring blocks belong together.

A layer is an array (z, y, x) of the numbers of a block's pieces. Between two blocks in a direction (each component -1,
0 or 1) it has one voxel along the axes where the direction is not 0, and the same shape in both blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.base import UnitedBy
from dacapo_hd.segmentation.objects import Links
from dacapo_hd.segmentation.pieces import NO_PAIRS, Int64s

Direction = tuple[int, ...]
Face = tuple[int, int]
Layer = NDArray[np.uint32]

LOWER, UPPER = 0, 1
FACES: tuple[Face, ...] = tuple(product(range(3), (LOWER, UPPER)))
ORDERS = {6: 1, 18: 2, 26: 3}


def directions(connectivity: int) -> list[Direction]:
    """Return the directions of the neighbours of a block that come after it."""
    found = product((-1, 0, 1), repeat=3)
    return [step for step in found if step > (0, 0, 0) and np.count_nonzero(step) <= ORDERS[connectivity]]


def faces(labels: Layer, core: Sequence[slice], wanted: Iterable[Face], depth: int) -> dict[Face, Layer]:
    """Cut the outermost layer of a block on each face out, with `depth` 2 also the next one beyond it.

    `core` is the block in `labels`.
    """
    found = {}
    for axis, side in wanted:
        begin = core[axis].stop - 1 if side == UPPER else core[axis].start - depth + 1
        box = [*core[:axis], slice(begin, begin + depth), *core[axis + 1 :]]
        found[axis, side] = labels[tuple(box)].copy()
    return found


def faces_towards(direction: Direction) -> tuple[Face, Face]:
    """Return the face of a block that its next block in a direction lies on, and the one of that block."""
    axis = next(axis for axis, step in enumerate(direction) if step)
    return (axis, UPPER), (axis, LOWER)


@attrs.frozen
class Rule:
    """How pieces on both sides of a face are united."""

    united_by: UnitedBy
    connectivity: int

    @property
    def depth(self) -> int:
        """How many layers of voxels a block keeps of each face."""
        return 2 if self.united_by == "overlap" else 1

    def directions(self) -> list[Direction]:
        return directions(self.connectivity if self.united_by == "connectivity" else 6)

    def links(
        self, mine: Layer, theirs: Layer, direction: Direction, foreground: Sequence[int], number: Sequence[int]
    ) -> Links:
        """Link pieces of a block with those of its next one in a direction, in each block's own numbers.

        `mine` and `theirs` are what `faces` cut out for `faces_towards(direction)`; `foreground` and `number` tell of
        each block how many pieces it has of objects, and in all. Numbers above are labels that lie beyond it only.
        """
        own, other = _edge(mine, UPPER, direction), _edge(theirs, LOWER, direction)
        straight = np.count_nonzero(direction) == 1
        touching, areas = _pairs(own, other) if straight else (NO_PAIRS, NO_PAIRS[:, 0])
        gaps = (touching > foreground).sum(axis=1)
        if self.united_by == "connectivity":
            same = _neighbours(own, other, direction, ORDERS[self.connectivity])
            same = same[(same <= foreground).all(axis=1)]
            apart = gaps == 1
        else:
            same = _overlapping(mine, theirs, foreground, number) if self.united_by == "overlap" else NO_PAIRS
            apart = gaps < 2
        return Links(np.concatenate([same, touching[gaps == 2]]), touching[apart], areas[apart])


def _edge(face: Layer, side: int, direction: Direction) -> Layer:
    """Return the voxels of a block's own layer that neighbours in a direction can touch."""
    axis = next(axis for axis, step in enumerate(direction) if step)
    box = []
    for other, step in enumerate(direction):
        last = (step > 0) == (side == UPPER)
        if other == axis:
            last = not last
        box.append(slice(None) if step == 0 else slice(-1, None) if last else slice(0, 1))
    return face[tuple(box)]


def _keys(mine: NDArray[Any], theirs: NDArray[Any]) -> Int64s:
    """Return the pairs of numbers above 0 in the same places, each as one number."""
    both = (mine > 0) & (theirs > 0)
    found: Int64s = (mine[both].astype(np.int64) << 32) | theirs[both]
    return found


def _split(keys: Int64s) -> Int64s:
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)


def _pairs(mine: NDArray[Any], theirs: NDArray[Any]) -> tuple[Int64s, Int64s]:
    """Return the different pairs (n, 2) and how often each occurs."""
    keys, counts = np.unique(_keys(mine, theirs), return_counts=True)
    return _split(keys), counts


def _neighbours(mine: Layer, theirs: Layer, direction: Direction, order: int) -> Int64s:
    """Return the pairs whose voxels are neighbours, also diagonally where `order` is above 1."""
    found = []
    for shift in product(*((-1, 0, 1) if step == 0 else (0,) for step in direction)):
        if np.count_nonzero(direction) + np.count_nonzero(shift) <= order:
            here = tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(shift, mine.shape, strict=True))
            there = tuple(slice(max(s, 0), n - max(-s, 0)) for s, n in zip(shift, mine.shape, strict=True))
            keys = _keys(mine[here], theirs[there])
            # neighbouring voxels mostly say the same: sorting what is left is much less work
            found.append(keys[np.diff(keys, prepend=-1) != 0])
    return _split(np.unique(np.concatenate(found)))


def _overlapping(mine: Layer, theirs: Layer, foreground: Sequence[int], number: Sequence[int]) -> Int64s:
    """Return the pairs of pieces of objects that both blocks cut alike in the layers that they share."""
    own, other = (
        np.where((labels > objects) & (labels <= pieces), 0, labels)
        for labels, objects, pieces in zip((mine, theirs), foreground, number, strict=True)
    )
    pairs, shared = _pairs(own, other)
    smaller = np.minimum(np.bincount(own.ravel())[pairs[:, 0]], np.bincount(other.ravel())[pairs[:, 1]])
    alike = (2 * shared >= smaller) & (pairs <= foreground).all(axis=1)
    for column in (0, 1):
        alike &= _largest(pairs[:, column], pairs[:, 1 - column], shared)
    return pairs[alike]


def _largest(keys: Int64s, partners: Int64s, shared: Int64s) -> NDArray[np.bool_]:
    """Tell which entries have the most shared voxels among those with the same key; ties go to the first partner."""
    order = np.lexsort((partners, -shared, keys))
    largest = np.zeros(len(keys), np.bool_)
    largest[order] = np.diff(keys[order], prepend=-1) != 0
    return largest
