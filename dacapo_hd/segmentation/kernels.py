"""Loops over voxels and pieces (numba); integers are int64 throughout."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


@numba.njit(cache=True)
def measure(
    labels: NDArray[Any],
    begin: tuple[int, int, int],
    shape: tuple[int, int, int],
    voxels: Int64s,
    low: Int64s,
    high: Int64s,
    sums: Int64s,
    first: Int64s,
) -> None:
    """Add the voxels of a block that begins at `begin` in a volume of `shape` to what is known of each label.

    `low` and `high` (n, 3) are the box, `sums` (n, 3) the sums of the voxels' positions, `first` the least position in
    the flattened volume. Entry 0 is label 1; label 0 is skipped.
    """
    for k in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            z, y = begin[0] + k, begin[1] + j
            row = (z * shape[1] + y) * shape[2]
            i = 0
            while i < labels.shape[2]:
                label = labels[k, j, i]
                start = i
                i += 1
                while i < labels.shape[2] and labels[k, j, i] == label:
                    i += 1
                if label == 0:
                    continue
                entry = np.int64(label) - 1
                left, right, length = begin[2] + start, begin[2] + i, i - start
                voxels[entry] += length
                sums[entry, 0] += z * length
                sums[entry, 1] += y * length
                sums[entry, 2] += (left + right - 1) * length // 2
                low[entry, 0], high[entry, 0] = min(low[entry, 0], z), max(high[entry, 0], z + 1)
                low[entry, 1], high[entry, 1] = min(low[entry, 1], y), max(high[entry, 1], y + 1)
                low[entry, 2], high[entry, 2] = min(low[entry, 2], left), max(high[entry, 2], right)
                first[entry] = min(first[entry], row + left)


@numba.njit(cache=True)
def flood(levels: NDArray[np.uint8], labels: NDArray[np.uint32], following: NDArray[Any]) -> None:
    """Let labels (z, y, x) grow through faces into unlabelled voxels, always from the highest level that they reach.

    Voxels of level 0 stay as they are; the outermost layer must have level 0. Equally high voxels are labelled in the
    order in which they were reached, at first in that of the volume. `following` (as many integers as voxels) is
    scratch.
    """
    _, height, width = levels.shape
    steps = (-height * width, -width, -1, 1, width, height * width)
    level, label = levels.ravel(), labels.ravel()
    # a queue for each level, linked through `following`
    first, last = np.full(256, -1, np.int64), np.full(256, -1, np.int64)
    for index in range(len(level)):
        if label[index] > 0 and level[index] > 0:
            for step in steps:
                if level[index + step] > 0 and label[index + step] == 0:
                    _append(first, last, following, level[index], index)
                    break
    top = 255
    while top > 0:
        index = first[top]
        if index < 0:
            top -= 1
            continue
        first[top] = following[index]
        for step in steps:
            near = index + step
            if level[near] > 0 and label[near] == 0:
                label[near] = label[index]
                _append(first, last, following, level[near], near)
                if level[near] > top:
                    top = int(level[near])


@numba.njit(cache=True)
def _append(first: Int64s, last: Int64s, following: NDArray[Any], queue: int, index: int) -> None:
    following[index] = -1
    if first[queue] < 0:
        first[queue] = index
    else:
        following[last[queue]] = index
    last[queue] = index


@numba.njit(cache=True)
def touching(labels: NDArray[Any], foreground: int, found: Int64s) -> int:
    """Write pairs of different labels that share a face, as low * 2^32 + high, into `found` while it has room.

    Pairs of two labels above `foreground` and of label 0 are left out; some pairs come more than once. Returns how many
    there are.
    """
    depth, height, width = labels.shape
    count = 0
    last_y = last_z = np.int64(-1)
    for k in range(depth):
        for j in range(height):
            for i in range(width):
                label = np.int64(labels[k, j, i])
                if i > 0:
                    key = _key(label, np.int64(labels[k, j, i - 1]), foreground)
                    if key >= 0:
                        if count < len(found):
                            found[count] = key
                        count += 1
                if j > 0:
                    key = _key(label, np.int64(labels[k, j - 1, i]), foreground)
                    if key >= 0 and key != last_y:
                        if count < len(found):
                            found[count] = key
                        count += 1
                    last_y = key
                if k > 0:
                    key = _key(label, np.int64(labels[k - 1, j, i]), foreground)
                    if key >= 0 and key != last_z:
                        if count < len(found):
                            found[count] = key
                        count += 1
                    last_z = key
    return count


@numba.njit(cache=True)
def _key(a: int, b: int, foreground: int) -> int:
    low, high = min(a, b), max(a, b)
    if low == high or low == 0 or low > foreground:
        return -1
    return (low << 32) | high


@numba.njit(cache=True)
def _root(parent: NDArray[Any], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True)
def _join(parent: NDArray[Any], a: int, b: int) -> None:
    # the root is the least of its set, which `consecutive` relies on
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@numba.njit(cache=True)
def unite(parent: NDArray[Any], pairs: Int64s) -> None:
    """Unite the sets of each pair (n, 2) in a forest; initially `parent[node] == node`."""
    for i in range(len(pairs)):
        _join(parent, _root(parent, pairs[i, 0]), _root(parent, pairs[i, 1]))


@numba.njit(cache=True)
def unite_equal(parent: NDArray[Any], first: int, keys: Int64s, representative: Int64s) -> None:
    """Unite nodes with equal keys; node `first + i` has `keys[i]`, `representative[key]` is a node of it or -1.

    Key 0 says nothing.
    """
    for i in range(len(keys)):
        key = keys[i]
        if key == 0:
            continue
        if representative[key] < 0:
            representative[key] = first + i
        else:
            _join(parent, _root(parent, first + i), _root(parent, representative[key]))


@numba.njit(cache=True)
def adopt(parent: NDArray[Any], seeded: NDArray[np.bool_], pairs: Int64s) -> None:
    """Unite the sets of each pair in turn unless both are seeded; `seeded` of a root holds for its set."""
    for i in range(len(pairs)):
        a, b = _root(parent, pairs[i, 0]), _root(parent, pairs[i, 1])
        if a != b and not (seeded[a] and seeded[b]):
            seeded[min(a, b)] = seeded[a] or seeded[b]
            _join(parent, a, b)


@numba.njit(cache=True)
def consecutive(parent: NDArray[Any]) -> int:
    """Replace each node's parent by the number of its set, 0, 1, ... by their least nodes; returns how many."""
    count = 0
    for node in range(len(parent)):
        if parent[node] == node:
            parent[node] = count
            count += 1
        else:
            # the parent came before and holds its number already
            parent[node] = parent[parent[node]]
    return count
