"""From pieces to whole objects: union-find, small objects, holes, ids and the objects' statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.pieces import NO_PAIRS, Floats, Int64s, Pieces

UINT32_OBJECTS = 2**32 - 1
INT32_NODES = 2**31 - 1


@attrs.frozen(eq=False)
class Links:
    """What a block's faces say, in numbers of pieces of the whole volume."""

    same: Int64s = NO_PAIRS  # (n, 2), pieces of one object, or of one gap
    touching: Int64s = NO_PAIRS  # (m, 2), other pieces that share faces, except two gaps
    areas: Int64s = attrs.field(factory=lambda: np.zeros(0, np.int64))  # (m,), in how many voxel faces they touch


@attrs.frozen(eq=False)
class Objects:
    """The objects of a volume: 1, 2, ... in the order of their first voxels along z, y, x; entry 0 is object 1.

    `ids` tells the object of each piece of the whole volume (0: background), uint32, or uint64 for more than 2^32 - 1
    objects; its entry 0 is 0, and the pieces of a block stand at its `offset` + 1, 2, ...
    """

    ids: NDArray[Any]
    voxels: Int64s  # (n,)
    begin: Int64s  # (n, 3), the box
    end: Int64s  # (n, 3)
    sums: Int64s  # (n, 3), of the positions of all voxels
    uncertainty: Floats  # (n,), the sum over all voxels; 0 where the prediction has none


def unite(blocks: Iterable[Pieces], links: Iterable[Links], min_size_vx: int = 0, fill_holes: bool = False) -> Objects:
    """Make objects of the pieces of all blocks; both iterables are read several times, with one entry in memory.

    Objects of fewer voxels than `min_size_vx` become background first. Then a gap is filled if it touches one object
    only and does not reach the border. Memory is 4 or 8 bytes per piece, and about 200 per object.
    """
    offsets = np.cumsum([0, *(len(block) for block in blocks)])
    volume = _Volume(blocks, links, offsets)
    set_of, count = _sets(volume)
    target = _targets(volume, set_of, count, min_size_vx, fill_holes)
    ids = target[set_of]
    return _measured(volume, ids, int(target.max(initial=0)))


@attrs.frozen(eq=False)
class _Volume:
    """All blocks; iterating yields (number of the block's first piece, its pieces)."""

    blocks: Iterable[Pieces]
    links: Iterable[Links]
    offsets: Int64s

    def __iter__(self) -> Iterator[tuple[int, Pieces]]:
        for offset, block in zip(self.offsets, self.blocks, strict=False):
            yield int(offset) + 1, block

    @property
    def nodes(self) -> int:
        """The pieces of all blocks, and 0."""
        return int(self.offsets[-1]) + 1

    def touching(self) -> Iterator[Int64s]:
        """Yield pairs of pieces that share faces, of which one at least is no gap."""
        for first, block in self:
            yield block.touching + (first - 1)
        for link in self.links:
            yield link.touching


def _sets(volume: _Volume) -> tuple[NDArray[Any], int]:
    """Return the set of each piece, numbered by their first pieces, and the number of sets; set 0 is nothing."""
    from dacapo_hd.segmentation import kernels

    parent = np.arange(volume.nodes, dtype=np.int32 if volume.nodes < INT32_NODES else np.int64)
    for link in volume.links:
        kernels.unite(parent, link.same)
    largest = max((int(block.seeds.max(initial=0)) for block in volume.blocks), default=0)
    if largest:
        _grow(volume, parent, largest)
    return parent, kernels.consecutive(parent)


def _grow(volume: _Volume, parent: NDArray[Any], largest: int) -> None:
    """Unite pieces of the same seed, and give each that no seed reached to the neighbour that it touches most.

    Largest contacts come first, and what was given to an object counts as a part of it from then on.
    """
    from dacapo_hd.segmentation import kernels

    representative = np.full(largest + 1, -1, np.int64)
    seeded, solid = np.zeros(volume.nodes, np.bool_), np.zeros(volume.nodes, np.bool_)
    for first, block in volume:
        kernels.unite_equal(parent, first, block.seeds, representative)
        seeded[first : first + len(block)] = block.seeds > 0
        solid[first : first + block.foreground] = True
    contacts, areas = [NO_PAIRS], [NO_PAIRS[:, 0]]
    for link in volume.links:
        orphans = solid[link.touching].all(axis=1) & ~seeded[link.touching].all(axis=1)
        contacts.append(link.touching[orphans])
        areas.append(link.areas[orphans])
    found, size = np.concatenate(contacts), np.concatenate(areas)
    kernels.adopt(parent, seeded, found[np.lexsort((found[:, 1], found[:, 0], -size))])


def _targets(volume: _Volume, set_of: NDArray[Any], count: int, min_size_vx: int, fill_holes: bool) -> NDArray[Any]:
    """Return the object of each set, 0 for background."""
    voxels = np.zeros(count, np.int64)
    first_voxel = np.full(count, np.iinfo(np.int64).max)
    kept = np.zeros(count, np.bool_)
    for first, block in volume:
        sets = set_of[first : first + len(block)]
        np.add.at(voxels, sets, block.voxels)
        np.minimum.at(first_voxel, sets, block.first)
        kept[sets[block.certain]] = True
    found = np.flatnonzero(kept & (voxels >= max(min_size_vx, 1)))
    found = found[np.argsort(first_voxel[found])]
    target = np.zeros(count, np.uint32 if len(found) <= UINT32_OBJECTS else np.uint64)
    target[found] = np.arange(1, len(found) + 1, dtype=target.dtype)
    return _filled(volume, set_of, target) if fill_holes else target


def _filled(volume: _Volume, set_of: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    """Give each hole to the object around it; what was too small for an object belongs to the gap around it."""
    from dacapo_hd.segmentation import kernels

    kept = target > 0
    gap_of = np.arange(len(target))
    for pairs in volume.touching():
        sets = set_of[pairs]
        kernels.unite(gap_of, sets[~kept[sets].any(axis=1)].astype(np.int64, copy=False))
    gaps = kernels.consecutive(gap_of)
    is_open = np.zeros(gaps, np.bool_)
    for first, block in volume:
        is_open[gap_of[set_of[first : first + len(block)][block.open]]] = True
    lowest, highest = np.full(gaps, np.iinfo(np.int64).max), np.zeros(gaps, np.int64)
    for pairs in volume.touching():
        sets = set_of[pairs]
        sets = sets[kept[sets].sum(axis=1) == 1]
        gap = gap_of[sets[~kept[sets]]]
        around = target[sets[kept[sets]]].astype(np.int64)
        np.minimum.at(lowest, gap, around)
        np.maximum.at(highest, gap, around)
    hole = ~is_open & (lowest == highest)
    return np.where(hole[gap_of], lowest[gap_of], target).astype(target.dtype)


def _measured(volume: _Volume, ids: NDArray[Any], number: int) -> Objects:
    voxels, sums = np.zeros(number, np.int64), np.zeros((number, 3), np.int64)
    begin, end = np.full((number, 3), np.iinfo(np.int64).max), np.zeros((number, 3), np.int64)
    uncertainty = np.zeros(number)
    for first, block in volume:
        own = ids[first : first + len(block)]
        inside = own > 0
        entries = own[inside].astype(np.int64) - 1
        np.add.at(voxels, entries, block.voxels[inside])
        np.add.at(sums, entries, block.sums[inside])
        np.minimum.at(begin, entries, block.begin[inside])
        np.maximum.at(end, entries, block.end[inside])
        if len(block.uncertainty):
            np.add.at(uncertainty, entries, block.uncertainty[inside])
    return Objects(ids, voxels, begin, end, sums, uncertainty)
