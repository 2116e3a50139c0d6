"""Voxels beyond the end of a volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mirrored(begin: int, end: int, size: int) -> NDArray[np.intp]:
    """Return for the positions `begin` to `end` of an axis of `size` voxels the voxels that stand there.

    Outside they are reflected without repeating the border, as often as needed; a single voxel repeats.
    """
    period = max(1, 2 * (size - 1))
    position = np.arange(begin, end) % period
    return np.minimum(position, period - position) if size > 1 else np.zeros(end - begin, np.intp)
