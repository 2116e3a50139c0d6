"""Loops over voxels (numba). What they read and set in a mark is said by bits; see `marks`."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.uint8]
# instance, segment, near a border, voxels; a place with no voxels is free
Table = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_], NDArray[np.int64]]


@numba.njit(cache=True)
def census(marks: Marks, counts: NDArray[np.int64]) -> None:
    """Count the voxels of each mark."""
    for mark in marks.ravel():
        counts[mark] += 1


@numba.njit(cache=True)
def mark_boundary(marks: Marks, known: np.uint8, inside: np.uint8, boundary: np.uint8) -> None:
    """Set `boundary` where a voxel that is `known` and `inside` shares a face with one that is known and not inside."""
    depth, height, width = marks.shape
    both = known | inside
    outside = np.empty(width, np.uint8)
    for z in range(depth):
        for y in range(height):
            row = marks[z, y]
            # beyond the edge there is nothing: the row stands for its own neighbour
            below, above = marks[max(z - 1, 0), y], marks[min(z + 1, depth - 1), y]
            before, behind = marks[z, max(y - 1, 0)], marks[z, min(y + 1, height - 1)]
            for x in range(width):
                near = (below[x] & both) == known
                near |= (above[x] & both) == known
                near |= (before[x] & both) == known
                near |= (behind[x] & both) == known
                outside[x] = near
            for x in range(width - 1):
                outside[x] |= (row[x + 1] & both) == known
                outside[x + 1] |= (row[x] & both) == known
            for x in range(width):
                if outside[x] and (row[x] & both) == both:
                    row[x] |= boundary


@numba.njit(cache=True)
def mark_near_border(
    marks: Marks,
    ids: NDArray[np.uint64],
    known: np.uint8,
    present: np.uint8,
    near: np.uint8,
    reach: NDArray[np.int64],
) -> None:
    """Set `near` on the instances of a section (y, x) within reach of a pixel with a neighbour of another id.

    Four neighbours; absence is an id like another; pixels of unknown id are neither borders nor neighbours of any.
    `reach[d]` is how far along x a border pixel reaches in rows that are d away from it.
    """
    height, width = marks.shape
    away = np.full((height, width), len(reach), np.int64)
    for y in range(height):
        for x in range(width):
            if _differs(marks, ids, known, present, y, x, 0, 1):
                away[y, x] = away[y, x + 1] = 0
            if _differs(marks, ids, known, present, y, x, 1, 0):
                away[y, x] = away[y + 1, x] = 0
    for y in range(1, height):
        for x in range(width):
            away[y, x] = min(away[y, x], away[y - 1, x] + 1)
    for y in range(height - 2, -1, -1):
        for x in range(width):
            away[y, x] = min(away[y, x], away[y + 1, x] + 1)
    for y in range(height):
        right, left = -1, width
        for x in range(width):
            if away[y, x] < len(reach):
                right = max(right, x + reach[away[y, x]])
            if x <= right and marks[y, x] & present and ids[y, x]:
                marks[y, x] |= near
        for x in range(width - 1, -1, -1):
            if away[y, x] < len(reach):
                left = min(left, x - reach[away[y, x]])
            if x >= left and marks[y, x] & present and ids[y, x]:
                marks[y, x] |= near


@numba.njit(cache=True)
def _differs(
    marks: Marks, ids: NDArray[np.uint64], known: np.uint8, present: np.uint8, y: int, x: int, dy: int, dx: int
) -> bool:
    """Tell whether a pixel and the next one are of different ids, both known."""
    if y + dy >= marks.shape[0] or x + dx >= marks.shape[1]:
        return False
    first, second = marks[y, x], marks[y + dy, x + dx]
    a = ids[y, x] if first & present else np.uint64(0)
    b = ids[y + dy, x + dx] if second & present else np.uint64(0)
    if not first & known or not second & known or (first & present and a == 0) or (second & present and b == 0):
        return False
    return a != b


@numba.njit(cache=True)
def free_table(entries: int) -> Table:
    """Return a table without entries that has room for so many."""
    n = 1
    while n < 2 * entries:
        n *= 2
    return np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.bool_), np.zeros(n, np.int64)


@numba.njit(cache=True)
def tabulate(
    marks: Marks,
    ids: NDArray[np.uint64],
    segments: NDArray[np.uint64],
    known: np.uint8,
    present: np.uint8,
    near: np.uint8,
    table: Table,
    used: int,
) -> tuple[Table, int]:
    """Add the voxels of a section to a hash table of (instance, segment, near) and return it with its entries' number.

    Absent voxels are of instance 0; voxels whose truth or whose instance is unknown are left out.
    """
    height, width = marks.shape
    for y in range(height):
        if 2 * (used + width) > len(table[3]):
            table = _grown(table, used + width)
        used += _tabulate_row(marks[y], ids[y], segments[y], known, present, near, table)
    return table, used


@numba.njit(cache=True)
def _tabulate_row(
    marks: Marks,
    ids: NDArray[np.uint64],
    segments: NDArray[np.uint64],
    known: np.uint8,
    present: np.uint8,
    near: np.uint8,
    table: Table,
) -> int:
    """Add the voxels of a row and return how many entries are new."""
    instance, segment, border, run, new = np.uint64(0), np.uint64(0), False, 0, 0
    for x in range(len(marks)):
        mark = marks[x]
        own = ids[x] if mark & present else np.uint64(0)
        if not mark & known or (mark & present and own == 0):
            continue
        close = (mark & near) != 0
        # neighbours mostly agree: the table is looked up once for a run of equal voxels
        if own != instance or segments[x] != segment or close != border:
            if run:
                new += _add(table, instance, segment, border, run)
            instance, segment, border, run = own, segments[x], close, 0
        run += 1
    if run:
        new += _add(table, instance, segment, border, run)
    return new


@numba.njit(cache=True)
def add_values(
    marks: Marks,
    ids: NDArray[np.uint64],
    segments: NDArray[np.uint64],
    values: NDArray[np.float32],
    known: np.uint8,
    present: np.uint8,
    segment_ids: NDArray[np.uint64],
    sums: NDArray[np.float64],
) -> None:
    """Add the values of a section to the sums of their segments, of the voxels that `tabulate` counts.

    `segment_ids` ascend and hold 0 and all ids of these voxels.
    """
    height, width = marks.shape
    segment, entry = segment_ids[0], 0
    for y in range(height):
        for x in range(width):
            mark = marks[y, x]
            if not mark & known or (mark & present and ids[y, x] == 0):
                continue
            # neighbours mostly agree
            if segments[y, x] != segment:
                segment = segments[y, x]
                entry = np.searchsorted(segment_ids, segment)
            sums[entry] += values[y, x]


@numba.njit(cache=True)
def _add(table: Table, instance: np.uint64, segment: np.uint64, border: bool, voxels: int) -> int:
    """Add voxels to an entry and return 1 if it is new, else 0."""
    instances, segments, borders, counts = table
    # odd constants whose multiples spread over all 64 bits
    mixed = instance * np.uint64(0x9E3779B97F4A7C15) + segment * np.uint64(0xD1342543DE82EF95) + np.uint64(border)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    last = np.uint64(len(counts) - 1)
    place = (mixed >> np.uint64(20)) & last
    while counts[place]:
        if instances[place] == instance and segments[place] == segment and borders[place] == border:
            counts[place] += voxels
            return 0
        place = (place + np.uint64(1)) & last
    instances[place], segments[place], borders[place], counts[place] = instance, segment, border, voxels
    return 1


@numba.njit(cache=True)
def _grown(table: Table, entries: int) -> Table:
    larger = free_table(entries)
    for place in range(len(table[3])):
        if table[3][place]:
            _add(larger, table[0][place], table[1][place], table[2][place], table[3][place])
    return larger
