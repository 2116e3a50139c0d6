"""Loops of the search for neighbouring objects (numba)."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

BEYOND = -2


@numba.njit(cache=True, nogil=True)
def mark_near(labels: Int64s, margin: Int64s, steps: Int64s, near: NDArray[np.bool_]) -> None:
    """Set `near[a, b]` or `near[b, a]` for each two labels (z, y, x) of which voxels are one of `steps` apart.

    Labels are numbered from 0 on, -1 being none, and BEYOND in the `margin` (z, y, x), which no step leaves.
    Both ends of the shortest way between two labels are voxels with a face neighbour of another label: those alone are
    tried. `steps` (k, 3) holds one of each pair of opposite steps.
    """
    depth, height, width = labels.shape
    faces = (-height * width, -width, -1, 1, width, height * width)
    leads = (steps[:, 0] * height + steps[:, 1]) * width + steps[:, 2]
    flat = labels.ravel()
    for z in range(margin[0], depth - margin[0]):
        for y in range(margin[1], height - margin[1]):
            first = (z * height + y) * width
            for place in range(first + margin[2], first + width - margin[2]):
                own = flat[place]
                if own < 0:
                    continue
                at_edge = False
                for face in faces:
                    other = flat[place + face]
                    at_edge |= (other != own) & (other != BEYOND)
                if not at_edge:
                    continue
                for lead in leads:
                    other = flat[place + lead]
                    if other >= 0 and other != own:
                        near[own, other] = True
