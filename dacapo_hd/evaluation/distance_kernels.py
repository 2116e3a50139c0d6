"""Loops of the distance transform (numba)."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.uint8]
Floats = NDArray[np.float64]
Distances = NDArray[np.float32]
Kinds = NDArray[np.bool_]

NONE = np.uint16(65535)
SEARCHED_STEPS = 4


@numba.njit(cache=True)
def along_z(marks: Marks, bit: np.uint8, sections: NDArray[np.uint16]) -> None:
    """Write how many sections away the next voxel with a bit is in the same column, or NONE.

    Both arrays are (z, pixel).
    """
    depth, pixels = marks.shape
    for z in range(depth):
        for i in range(pixels):
            before = sections[z - 1, i] if z else NONE
            farther = before + np.uint16(1) if before < NONE else NONE
            sections[z, i] = 0 if marks[z, i] & bit else farther
    for z in range(depth - 2, -1, -1):
        for i in range(pixels):
            behind = sections[z + 1, i]
            if behind < NONE and behind + 1 < sections[z, i]:
                sections[z, i] = behind + 1


@numba.njit(cache=True, nogil=True)
def distances(
    sections: NDArray[np.uint16],
    marks: Marks,
    wanted: tuple[Kinds, Kinds],
    voxel_size_nm: tuple[float, float, float],
    values: tuple[Distances, Distances],
) -> None:
    """Write the distances of voxels with wanted marks, in their order, for two lists; inf where there is none.

    The squared distance is separable (Felzenszwalb & Huttenlocher, Theory of Computing, 2012): what `along_z` found is
    carried on along y and then along x, one section at a time.
    """
    depth, height, width = sections.shape
    dz, dy, dx = voxel_size_nm
    columns, rows = np.empty((width, height), np.float32), np.empty((height, width), np.float32)
    line = np.empty(max(height, width), np.float32)
    hull = np.empty((3, max(height, width)), np.float64)
    at = 0, 0
    for z in range(depth):
        if not _any(marks[z], wanted):
            continue
        for y in range(height):
            for x in range(width):
                away = sections[z, y, x]
                columns[x, y] = (away * dz) ** 2 if away < NONE else np.inf
        for x in range(width):
            _lower_envelope(columns[x], dy, hull, line)
            for y in range(height):
                rows[y, x] = line[y]
        for y in range(height):
            at = _along_x(rows[y], marks[z, y], wanted, dx, hull, line, values, at)


@numba.njit(cache=True)
def _any(marks: Marks, wanted: tuple[Kinds, Kinds]) -> bool:
    for mark in marks.ravel():  # noqa: SIM110 (numba would make a generator of any())
        if wanted[0][mark] or wanted[1][mark]:
            return True
    return False


@numba.njit(cache=True)
def _along_x(
    row: Distances,
    marks: Marks,
    wanted: tuple[Kinds, Kinds],
    step_nm: float,
    hull: Floats,
    line: Distances,
    values: tuple[Distances, Distances],
    at: tuple[int, int],
) -> tuple[int, int]:
    """Write the distances of a row's wanted voxels from places `at` on and return the next places."""
    first, second = at
    steps = 0.0
    for x in range(len(row)):
        if wanted[0][marks[x]] or wanted[1][marks[x]]:
            steps += math.sqrt(row[x]) / step_nm
    few = steps <= SEARCHED_STEPS * len(row)
    if not few:
        _lower_envelope(row, step_nm, hull, line)
    for x in range(len(row)):
        mark = marks[x]
        if not (wanted[0][mark] or wanted[1][mark]):
            continue
        distance = math.sqrt(np.float32(_searched(row, x, step_nm)) if few else line[x])
        if wanted[0][mark]:
            values[0][first] = distance
            first += 1
        if wanted[1][mark]:
            values[1][second] = distance
            second += 1
    return first, second


@numba.njit(cache=True)
def _searched(row: Distances, x: int, step_nm: float) -> float:
    """Return the least of row[i] + (distance of i to x)^2, from x outwards until the distance alone is larger."""
    best = np.float64(row[x])
    for k in range(1, len(row)):
        far = (k * step_nm) ** 2
        if far >= best:
            break
        if x >= k:
            best = min(best, row[x - k] + far)
        if x + k < len(row):
            best = min(best, row[x + k] + far)
    return best


@numba.njit(cache=True)
def _lower_envelope(line: Distances, step_nm: float, hull: Floats, out: Distances) -> None:
    """Write the least of line[i] + (distance of i to each place)^2.

    The parabola of i is the lowest somewhere if and only if (i, line[i] / step^2 + i^2) is a corner of the lower convex
    hull of these points, so that no division is needed to order them.
    """
    places, heights, own = hull
    scale, n = 1 / step_nm**2, 0
    for i in range(len(line)):
        if line[i] == np.inf:
            continue
        x = np.float64(i)
        h = line[i] * scale + x * x
        while n > 1 and (h - heights[n - 1]) * (places[n - 1] - places[n - 2]) <= (heights[n - 1] - heights[n - 2]) * (
            x - places[n - 1]
        ):
            n -= 1
        places[n], heights[n], own[n] = x, h, line[i]
        n += 1
    if n == 0:
        out[: len(line)] = np.inf
        return
    k = 0
    for i in range(len(line)):
        x = np.float64(i)
        while k + 1 < n and heights[k + 1] - heights[k] <= 2 * x * (places[k + 1] - places[k]):
            k += 1
        out[i] = own[k] + ((x - places[k]) * step_nm) ** 2
