"""Loops over voxels (numba) of chessboard distances and of the sizes of objects after single flips.

Masks are arrays of states (z, y, x): BACKGROUND, OBJECT, or OUTSIDE, which is neither. Two-dimensional images have one
section. Distances count voxels; sizes are twice the largest distance of an object's voxel from the background.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

BACKGROUND, OBJECT, OUTSIDE = 0, 1, 2
FAR = 1 << 28

States = NDArray[np.uint8]
Distances = NDArray[np.int32]
Sizes = NDArray[np.float32]


@numba.njit(cache=True)
def distances(states: States) -> Distances:
    """Return the chessboard distance of each voxel to the nearest background voxel; FAR or more without one.

    Two passes over the 26 neighbours, 13 each (Rosenfeld and Pfaltz 1968); exact.
    """
    depth, height, width = states.shape
    # a rim of FAR saves asking whether there is a neighbour
    d = np.full((depth + 2, height + 2, width + 2), FAR, np.int32)
    for z in range(1, depth + 1):
        for y in range(1, height + 1):
            for x in range(1, width + 1):
                if states[z - 1, y - 1, x - 1] == BACKGROUND:
                    d[z, y, x] = 0
                    continue
                near = min(d[z, y, x - 1], d[z, y - 1, x - 1], d[z, y - 1, x], d[z, y - 1, x + 1])
                if depth > 1:
                    for row in range(y - 1, y + 2):
                        near = min(near, d[z - 1, row, x - 1], d[z - 1, row, x], d[z - 1, row, x + 1])
                d[z, y, x] = near + 1
    for z in range(depth, 0, -1):
        for y in range(height, 0, -1):
            for x in range(width, 0, -1):
                if d[z, y, x] < 2:
                    continue
                near = min(d[z, y, x + 1], d[z, y + 1, x - 1], d[z, y + 1, x], d[z, y + 1, x + 1])
                if depth > 1:
                    for row in range(y - 1, y + 2):
                        near = min(near, d[z + 1, row, x - 1], d[z + 1, row, x], d[z + 1, row, x + 1])
                d[z, y, x] = min(d[z, y, x], near + 1)
    return d[1:-1, 1:-1, 1:-1]


@numba.njit(cache=True)
def batch_distances(states: States, found: Distances) -> None:
    """Do `distances` for each image of (b, z, y, x)."""
    for image in range(len(states)):
        found[image] = distances(states[image])


@numba.njit(cache=True)
def batch_sizes(states: States, caps: Sizes, sizes: Sizes) -> None:
    """Find the size of each image of (b, z, y, x); `caps` where an image has no background."""
    for image in range(len(states)):
        if _count(states[image], BACKGROUND):
            sizes[image] = 2 * _radius(states[image], distances(states[image]))
        else:
            sizes[image] = caps[image]


@numba.njit(cache=True)
def batch_flips(states: States, caps: Sizes, sizes: Sizes, flipped: Sizes) -> None:
    """Find the size of each image of (b, z, y, x), and its size after flipping each single voxel.

    `flipped` (b, z, y, x) keeps its values OUTSIDE.
    """
    for image in range(len(states)):
        sizes[image] = _flips(states[image], caps[image], flipped[image])


@numba.njit(cache=True)
def _count(states: States, wanted: int) -> int:
    count = 0
    for state in states.flat:
        count += state == wanted
    return count


@numba.njit(cache=True)
def _radius(states: States, d: Distances) -> int:
    """Return the largest distance of a voxel of the object; 0 without an object."""
    largest = 0
    depth, height, width = states.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if states[z, y, x] == OBJECT and d[z, y, x] > largest:
                    largest = d[z, y, x]
    return largest


@numba.njit(cache=True)
def _flips(states: States, cap: float, flipped: Sizes) -> float:
    background = _count(states, BACKGROUND)
    if background == 0:
        _single_holes(states, flipped)
        return cap
    d = distances(states)
    radius = _radius(states, d)
    _fill(states, flipped, 2 * radius)
    _remove(states, d, radius, flipped)
    if background == 1:
        for z, y, x in np.ndindex(states.shape):
            if states[z, y, x] == BACKGROUND:
                flipped[z, y, x] = cap
    else:
        _add(states, radius, flipped)
    return 2 * radius


@numba.njit(cache=True)
def _fill(states: States, flipped: Sizes, size: float) -> None:
    depth, height, width = states.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if states[z, y, x] != OUTSIDE:
                    flipped[z, y, x] = size


@numba.njit(cache=True)
def _single_holes(states: States, flipped: Sizes) -> None:
    """Without background a flipped voxel is the only one: the farthest voxel of the object counts."""
    low, high = _boxes(states, np.ones(states.shape, np.int32), 1)
    depth, height, width = states.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if states[z, y, x] == OBJECT:
                    far = max(z - low[1, 0], high[1, 0] - z, y - low[1, 1], high[1, 1] - y)
                    flipped[z, y, x] = 2 * max(far, x - low[1, 2], high[1, 2] - x)


@numba.njit(cache=True)
def _boxes(states: States, d: Distances, radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each r the box (first and last voxel) around the object's voxels at a distance of at least r."""
    low = np.full((radius + 1, 3), FAR, np.int64)
    high = np.full((radius + 1, 3), -FAR, np.int64)
    depth, height, width = states.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if states[z, y, x] == OBJECT:
                    r = d[z, y, x]
                    low[r, 0], high[r, 0] = min(low[r, 0], z), max(high[r, 0], z)
                    low[r, 1], high[r, 1] = min(low[r, 1], y), max(high[r, 1], y)
                    low[r, 2], high[r, 2] = min(low[r, 2], x), max(high[r, 2], x)
    for r in range(radius - 1, 0, -1):
        low[r] = np.minimum(low[r], low[r + 1])
        high[r] = np.maximum(high[r], high[r + 1])
    return low, high


@numba.njit(cache=True)
def _remove(states: States, d: Distances, radius: int, flipped: Sizes) -> None:
    """Turn each voxel of the object into background.

    That takes the voxels at a distance of at least r away if all of them are less than r away from it. The farthest
    of them is told by their box, so the voxels that do so form a box too, and the boxes for smaller r lie inside.
    """
    low, high = _boxes(states, d, radius)
    depth, height, width = states.shape
    for r in range(radius, 0, -1):
        z0, z1 = max(high[r, 0] - r + 1, 0), min(low[r, 0] + r, depth)
        y0, y1 = max(high[r, 1] - r + 1, 0), min(low[r, 1] + r, height)
        x0, x1 = max(high[r, 2] - r + 1, 0), min(low[r, 2] + r, width)
        if z0 >= z1 or y0 >= y1 or x0 >= x1:
            return
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if states[z, y, x] == OBJECT:
                        flipped[z, y, x] = 2 * (r - 1)


@numba.njit(cache=True)
def _table(states: States) -> NDArray[np.int32]:
    """Return the summed-area table of the background's voxels."""
    depth, height, width = states.shape
    count = np.zeros((depth + 1, height + 1, width + 1), np.int32)
    for z in range(depth):
        for y in range(height):
            row = 0
            for x in range(width):
                row += states[z, y, x] == BACKGROUND
                count[z + 1, y + 1, x + 1] = row + count[z + 1, y, x + 1]
            if z:
                for x in range(1, width + 1):
                    count[z + 1, y + 1, x] += count[z, y + 1, x] - count[z, y, x]
    return count


@numba.njit(cache=True)
def _in_box(count: NDArray[np.int32], z0: int, z1: int, y0: int, y1: int, x0: int, x1: int) -> int:
    """Return how much background there is in a box of voxels, as far as there are voxels."""
    z0, y0, x0 = max(z0, 0), max(y0, 0), max(x0, 0)
    z1, y1, x1 = min(z1, count.shape[0] - 1), min(y1, count.shape[1] - 1), min(x1, count.shape[2] - 1)
    upper = count[z1, y1, x1] - count[z1, y0, x1] - count[z1, y1, x0] + count[z1, y0, x0]
    if z0 == 0:
        return upper
    return upper - count[z0, y1, x1] + count[z0, y0, x1] + count[z0, y1, x0] - count[z0, y0, x0]


@numba.njit(cache=True)
def _near(count: NDArray[np.int32], z: int, y: int, x: int, reach: int) -> int:
    """Return how much background there is up to `reach` away from a voxel."""
    return _in_box(count, z - reach, z + reach + 1, y - reach, y + reach + 1, x - reach, x + reach + 1)


@numba.njit(cache=True)
def _only(count: NDArray[np.int32], z: int, y: int, x: int, reach: int) -> tuple[int, int, int]:
    """Find the only background voxel up to `reach` away from a voxel, halving the box around it."""
    z0, z1 = max(z - reach, 0), min(z + reach + 1, count.shape[0] - 1)
    y0, y1 = max(y - reach, 0), min(y + reach + 1, count.shape[1] - 1)
    x0, x1 = max(x - reach, 0), min(x + reach + 1, count.shape[2] - 1)
    while z1 - z0 > 1:
        middle = (z0 + z1) // 2
        z0, z1 = (z0, middle) if _in_box(count, z0, middle, y0, y1, x0, x1) else (middle, z1)
    while y1 - y0 > 1:
        middle = (y0 + y1) // 2
        y0, y1 = (y0, middle) if _in_box(count, z0, z1, y0, middle, x0, x1) else (middle, y1)
    while x1 - x0 > 1:
        middle = (x0 + x1) // 2
        x0, x1 = (x0, middle) if _in_box(count, z0, z1, y0, y1, x0, middle) else (middle, x1)
    return z0, y0, x0


@numba.njit(cache=True)
def _add(states: States, radius: int, flipped: Sizes) -> None:
    """Turn each voxel of the background, of which there are several, into one of the object.

    That lets the size exceed 2r if it is the only background voxel up to r away from some centre.
    """
    count = _table(states)
    depth, height, width = states.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if states[z, y, x] == OUTSIDE or _near(count, z, y, x, radius) != 1:
                    continue
                only = _only(count, z, y, x, radius)
                reach = radius + 1
                while _near(count, z, y, x, reach) == 1:
                    reach += 1
                flipped[only] = max(flipped[only], 2 * reach)


@numba.njit(cache=True)
def spread(f: NDArray[np.float32], edge: float, out: NDArray[np.float32], candidates: NDArray[np.int64]) -> None:
    """Set out[i] to the least max(|i - j| edge, f[j]) over j <= i where that is less than out[i] is, in linear time.

    `candidates` is room for as many indices as f has. Of two candidates the newer wins for good once it is no worse.
    """
    first, last = 0, 0
    for i in range(len(f)):
        while last > first and f[candidates[last - 1]] >= f[i]:
            last -= 1
        candidates[last] = i
        last += 1
        while last > first + 1 and f[candidates[first + 1]] <= (i - candidates[first]) * edge:
            first += 1
        best = max((i - candidates[first]) * edge, f[candidates[first]])
        out[i] = min(out[i], best)


@numba.njit(cache=True)
def scaled_distances(background: NDArray[np.bool_], edges: tuple[float, float, float]) -> NDArray[np.float32]:
    """Return the chessboard distance to the nearest background voxel of voxels with any edges; inf without one.

    The distance is the largest of its parts along the axes, so that one axis can be taken after the other.
    """
    d = np.where(background, np.float32(0), np.float32(np.inf))
    depth, height, width = d.shape
    longest = max(depth, height, width)
    candidates, out = np.empty(longest, np.int64), np.empty(longest, np.float32)
    for z in range(depth):
        for y in range(height):
            _along(d[z, y], edges[2], out[:width], candidates)
        for x in range(width):
            _along(d[z, :, x], edges[1], out[:height], candidates)
    if depth > 1:
        for y in range(height):
            for x in range(width):
                _along(d[:, y, x], edges[0], out[:depth], candidates)
    return d


@numba.njit(cache=True)
def _along(f: NDArray[np.float32], edge: float, out: NDArray[np.float32], candidates: NDArray[np.int64]) -> None:
    out[:] = f
    spread(f, edge, out, candidates)
    spread(f[::-1], edge, out[::-1], candidates)
    f[:] = out
