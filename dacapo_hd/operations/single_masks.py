"""What is known of single-instance masks in windows around voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.operations.affinities import Labels
from dacapo_hd.operations.distance import Axes


def consecutive(labels: Labels) -> NDArray[np.float32]:
    """Number the ids > 0 that occur 1, 2, ...; everything else is 0. Exact in float32 up to 2^24 ids."""
    found, order = np.unique(np.maximum(labels, 0), return_inverse=True)
    numbers = order.reshape(labels.shape) + (0 if found.size and found[0] == 0 else 1)
    return numbers.astype(np.float32)


def near_transition(labels: Labels, less_than_vx: float, axes: Axes = "zyx") -> NDArray[np.bool_]:
    """Tell which voxels have another label less than so many voxels away, centre to centre, (z, y, x).

    All that is not equal is another label. With `axes="yx"` each section is measured by itself.
    """
    import edt

    order = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    # edt measures the distance to the nearest voxel of another label, and takes 0 for none
    numbers = (order + 1).astype(np.uint32)
    if axes == "yx":
        distance = np.stack([edt.edt(np.ascontiguousarray(section), black_border=False) for section in numbers])
    else:
        distance = edt.edt(numbers, black_border=False)
    near: NDArray[np.bool_] = distance < less_than_vx
    return near


def whole_windows(known: NDArray[np.bool_], window_vx: Sequence[int], dilation: Sequence[int]) -> NDArray[np.bool_]:
    """Tell around which voxels every place of the window is known (z, y, x); beyond the array nothing is."""
    found = known
    for axis, (size, step) in enumerate(zip(window_vx, dilation, strict=True)):
        # a window is a box of places, so that one axis after the other is enough
        moved = np.moveaxis(found, axis, 0)
        all_along = np.ones_like(moved)
        for shift in range(-(size // 2) * step, size // 2 * step + 1, step):
            begin, end = max(0, -shift), max(0, min(len(moved), len(moved) - shift))
            all_along[:begin] = False
            all_along[end:] = False
            if begin < end:
                all_along[begin:end] &= moved[begin + shift : end + shift]
        found = np.moveaxis(all_along, 0, axis)
    return found
