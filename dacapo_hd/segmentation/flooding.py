"""Growing labels over the levels of a quantity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 255


def flood(levels: NDArray[np.uint8], seeds: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return seeds (z, y, x) grown through faces, always from the highest level that is reached; level 0 is closed.

    Equally high voxels belong to the seed that reaches them first.
    """
    from dacapo_hd.segmentation import kernels

    levels, labels = np.pad(levels, 1), np.pad(seeds, 1)
    following = np.empty(labels.size, np.int32 if labels.size < 2**31 else np.int64)
    kernels.flood(levels, labels, following)
    return labels[1:-1, 1:-1, 1:-1]
