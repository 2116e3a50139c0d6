"""Loops of the search for neighbouring objects (numba)."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def mark_near(labels: NDArray[np.int64], steps: NDArray[np.int64], near: NDArray[np.bool_]) -> None:
    """Set `near[a, b]` or `near[b, a]` for each two labels (z, y, x) of which voxels are one of `steps` apart.

    Labels are numbered from 0 on, -1 being none. Both ends of the shortest way between two labels are voxels with a
    face neighbour of another label: those alone are tried. `steps` (k, 3) holds one of each pair of opposite steps.
    """
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                own = labels[z, y, x]
                if own < 0 or not _at_edge(labels, z, y, x):
                    continue
                for i in range(len(steps)):
                    k, j, m = z + steps[i, 0], y + steps[i, 1], x + steps[i, 2]
                    if 0 <= k < depth and 0 <= j < height and 0 <= m < width:
                        other = labels[k, j, m]
                        if other >= 0 and other != own:
                            near[own, other] = True


@numba.njit(cache=True, nogil=True)
def _at_edge(labels: NDArray[np.int64], z: int, y: int, x: int) -> bool:
    depth, height, width = labels.shape
    own = labels[z, y, x]
    return bool(
        (z > 0 and labels[z - 1, y, x] != own)
        or (z + 1 < depth and labels[z + 1, y, x] != own)
        or (y > 0 and labels[z, y - 1, x] != own)
        or (y + 1 < height and labels[z, y + 1, x] != own)
        or (x > 0 and labels[z, y, x - 1] != own)
        or (x + 1 < width and labels[z, y, x + 1] != own)
    )
