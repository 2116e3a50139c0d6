"""Connected components in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def components(mask: NDArray[np.bool_], connectivity: int) -> NDArray[np.uint32]:
    """Number the components of a mask (z, y, x) 1, 2, ... in the order of their first voxels.

    Voxels connect through faces (6), also edges (18) or also corners (26).
    """
    import cc3d

    # as numbers: of booleans cc3d 4.1 expects too few components where many voxels touch nothing, and fails
    voxels = np.ascontiguousarray(mask).view(np.uint8)
    found: NDArray[Any] = cc3d.connected_components(voxels, connectivity=connectivity, out_dtype=np.uint32)
    return found


def labelled_components(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Number the face-connected parts of labels (z, y, x) 1, 2, ...; 0 is background."""
    import cc3d

    found: NDArray[Any] = cc3d.connected_components(labels, connectivity=6, out_dtype=np.uint32)
    return found
