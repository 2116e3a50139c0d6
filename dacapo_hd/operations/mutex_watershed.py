"""Mutex watershed: partition voxels by attractive and repulsive edges, the strongest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]  # uint32 or uint64, offset * voxels + voxel
Int64s = NDArray[np.int64]

DIGIT_BITS = 16
DIGIT, MOST = np.uint32(0xFFFF), np.uint32(0x7FFFFFFF)
FREE = np.uint64(0xFFFFFFFFFFFFFFFF)
FIRST_PAIRS = 1 << 16
# edges are numbered with 32 bits while that is enough
MOST_IDS = 1 << 32


def mutex_watershed(
    affinities: NDArray[np.float32],
    offsets_vx: Sequence[Sequence[int]],
    *,
    cut: float = 0.5,
    fractions: Sequence[float] | None = None,
    strides_vx: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
) -> NDArray[np.uint32]:
    """Return the parts uint32 (z, y, x), numbered 1, 2, ... in the order of their first voxels.

    Edges join u and u + offset and have the weight affinity - cut. In the order of descending |weight| an attractive
    one (> 0) merges the parts of its voxels unless an earlier repulsive one forbids it, and a repulsive one forbids
    that its parts are ever merged. `affinities` are (offset, z, y, x). Of an offset's edges `fractions` are used,
    drawn by a hash of their position and `seed`, and only those whose u lies on the lattice of `strides_vx`. Equal
    |weights| come in the order of that hash; those of 0 say nothing. Source: Wolf et al. 2018 and 2020, algorithm 1.
    """
    shape = affinities.shape[1:]
    voxels = int(np.prod(shape))
    offsets = np.array(offsets_vx, np.int64).reshape(-1, 3)
    strides = np.ones_like(offsets) if strides_vx is None else np.array(strides_vx, np.int64).reshape(-1, 3)
    kept = np.ones(len(offsets)) if fractions is None else np.array(fractions, np.float64)
    limits = np.minimum(np.rint(kept * 2.0**32), 2.0**32).astype(np.uint64)
    dtype = np.uint32 if len(offsets) * voxels < MOST_IDS else np.uint64
    key = np.uint64(seed % 2**64)
    weights = np.subtract(affinities, np.float32(cut), dtype=np.float32).ravel()
    count = _edges(shape, offsets, strides, limits, key, weights, np.empty(0, dtype))
    ids = np.empty(count, dtype)
    _edges(shape, offsets, strides, limits, key, weights, ids)
    spare = np.empty_like(ids)
    bits = weights.view(np.uint32)
    # floats of one sign are ordered like their bits
    for shift in (0, DIGIT_BITS):
        _sort_by_weight(ids, spare, bits, shift)
        ids, spare = spare, ids
    _break_ties(ids, bits, key)
    del spare
    steps = (offsets[:, 0] * shape[1] + offsets[:, 1]) * shape[2] + offsets[:, 2]
    # dividing 32 bit numbers is much faster than 64 bit ones
    return _partition(ids, weights, steps, dtype(voxels)).reshape(shape)


@numba.njit(cache=True)
def _hash(edge: Any, key: Any) -> Any:
    """Mix the bits of a number (the finaliser of splitmix64, Steele et al. 2014)."""
    x = np.uint64(edge) + (key + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True)
def _edges(
    shape: tuple[int, int, int],
    offsets: Int64s,
    strides: Int64s,
    limits: NDArray[np.uint64],
    key: Any,
    weights: NDArray[np.float32],
    ids: Ids,
) -> int:
    """Write the edges that are used into `ids` unless it is empty; returns how many there are."""
    depth, height, width = shape
    count = 0
    for o in range(len(offsets)):
        dz, dy, dx = offsets[o]
        for z in range(depth):
            if z % strides[o, 0] != 0 or not 0 <= z + dz < depth:
                continue
            for y in range(height):
                if y % strides[o, 1] != 0 or not 0 <= y + dy < height:
                    continue
                row = ((o * depth + z) * height + y) * width
                for x in range(max(0, -dx), min(width, width - dx)):
                    # an edge of weight 0 would come last, when nothing is left to forbid
                    if x % strides[o, 2] != 0 or weights[row + x] == 0:
                        continue
                    if limits[o] < np.uint64(1 << 32) and _hash(row + x, key) & np.uint64(0xFFFFFFFF) >= limits[o]:
                        continue
                    if len(ids) > 0:
                        ids[count] = row + x
                    count += 1
    return count


@numba.njit(cache=True)
def _sort_by_weight(ids: Ids, out: Ids, bits: NDArray[np.uint32], shift: int) -> None:
    """Sort by 16 of the bits of the |weight|, descending; the order of equal ones is kept."""
    starts = np.zeros((1 << DIGIT_BITS) + 1, np.int64)
    part = np.uint32(shift)
    for i in range(len(ids)):
        starts[((MOST - (bits[ids[i]] & MOST)) >> part & DIGIT) + 1] += 1
    for value in range(1 << DIGIT_BITS):
        starts[value + 1] += starts[value]
    for i in range(len(ids)):
        value = (MOST - (bits[ids[i]] & MOST)) >> part & DIGIT
        out[starts[value]] = ids[i]
        starts[value] += 1


@numba.njit(cache=True)
def _break_ties(ids: Ids, bits: NDArray[np.uint32], key: Any) -> None:
    """Sort edges of equal |weight| by their hashes."""
    begin = 0
    while begin < len(ids):
        weight = bits[ids[begin]] & MOST
        end = begin + 1
        while end < len(ids) and bits[ids[end]] & MOST == weight:
            end += 1
        if end - begin > 1:
            hashes = np.empty(end - begin, np.uint64)
            for i in range(begin, end):
                hashes[i - begin] = _hash(ids[i], key)
            ids[begin:end] = ids[begin:end][np.argsort(hashes)]
        begin = end


@numba.njit(cache=True)
def _partition(order: Ids, weights: NDArray[np.float32], steps: Int64s, voxels: Any) -> NDArray[np.uint32]:
    """Merge and forbid in the given order; returns the numbers of the parts.

    What a part may not be merged with is a chain of entries; when two parts merge, the shorter chain is moved.
    """
    nodes = np.int64(voxels)
    parent = np.arange(nodes).astype(np.uint32)
    head, length = np.full(nodes, -1, np.int64), np.zeros(nodes, np.int32)
    following, partner = np.empty(2 * FIRST_PAIRS, np.int64), np.empty(2 * FIRST_PAIRS, np.uint32)
    table = np.full(4 * FIRST_PAIRS, FREE)
    used = pairs = 0
    for i in range(len(order)):
        offset = order[i] // voxels
        u = np.int64(order[i] - offset * voxels)
        a, b = _root(parent, u), _root(parent, u + steps[offset])
        if a == b or _contains(table, _pair(a, b)):
            continue
        if length[a] < length[b]:
            a, b = b, a
        merges = weights[order[i]] > 0
        more = length[b] if merges else 1
        while used + 2 * more > len(partner):
            following, partner = np.append(following, following), np.append(partner, partner)
        while 2 * (pairs + more) > len(table):
            table = _enlarged(table)
        if not merges:
            _insert(table, _pair(a, b))
            pairs += 1
            used = _chain(head, length, following, partner, used, a, b)
            continue
        parent[b] = a
        entry = head[b]
        while entry >= 0:
            other = _root(parent, partner[entry])
            entry = following[entry]
            if _insert(table, _pair(a, other)):
                pairs += 1
                used = _chain(head, length, following, partner, used, a, other)
    return _numbered(parent)


@numba.njit(cache=True)
def _root(parent: NDArray[np.uint32], node: Any) -> Any:
    node = np.int64(node)
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = np.int64(parent[node])
    return node


@numba.njit(cache=True)
def _pair(a: Any, b: Any) -> Any:
    return (np.uint64(min(a, b)) << np.uint64(32)) | np.uint64(max(a, b))


@numba.njit(cache=True)
def _slot(table: NDArray[np.uint64], pair: Any) -> Any:
    """Return where a pair stands in an open-addressing table, or the free place where it belongs."""
    last = np.uint64(len(table) - 1)
    slot = (pair * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20) & last
    while table[slot] != FREE and table[slot] != pair:
        slot = (slot + np.uint64(1)) & last
    return slot


@numba.njit(cache=True)
def _contains(table: NDArray[np.uint64], pair: Any) -> bool:
    return table[_slot(table, pair)] == pair


@numba.njit(cache=True)
def _insert(table: NDArray[np.uint64], pair: Any) -> bool:
    """Insert a pair; returns whether it is new."""
    slot = _slot(table, pair)
    if table[slot] == pair:
        return False
    table[slot] = pair
    return True


@numba.njit(cache=True)
def _enlarged(table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    larger = np.full(2 * len(table), FREE)
    for pair in table:
        if pair != FREE:
            _insert(larger, pair)
    return larger


@numba.njit(cache=True)
def _chain(
    head: Int64s,
    length: NDArray[np.int32],
    following: Int64s,
    partner: NDArray[np.uint32],
    used: int,
    a: int,
    b: int,
) -> int:
    """Note in both parts that the other one is forbidden; returns how many entries are used."""
    for one, other in ((a, b), (b, a)):
        partner[used], following[used] = other, head[one]
        head[one] = used
        length[one] += 1
        used += 1
    return used


@numba.njit(cache=True)
def _numbered(parent: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Number the parts by their first voxels."""
    numbers = np.zeros(len(parent), np.uint32)
    number = np.uint32(0)
    for node in range(len(parent)):
        root = _root(parent, node)
        if numbers[root] == 0:
            number += np.uint32(1)
            numbers[root] = number
    labels = np.empty(len(parent), np.uint32)
    for node in range(len(parent)):
        labels[node] = numbers[_root(parent, node)]
    return labels
