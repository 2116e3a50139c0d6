"""Objects of a whole volume by scipy and plain loops, slow and easy to check."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

ORDERS = {6: 1, 18: 2, 26: 3}


def components(mask: np.ndarray, connectivity: int) -> np.ndarray:
    structure = scipy.ndimage.generate_binary_structure(3, ORDERS[connectivity])
    return scipy.ndimage.label(mask, structure)[0]


def finished(labels: np.ndarray, min_size_vx: int = 0, fill_holes: bool = False) -> np.ndarray:
    """Remove small objects, fill holes and number by the first voxel."""
    labels = labels.astype(np.int64)
    for label in np.unique(labels):
        if (labels == label).sum() < min_size_vx:
            labels[labels == label] = 0
    if fill_holes:
        labels = filled(labels)
    return numbered(labels)


def filled(labels: np.ndarray) -> np.ndarray:
    gaps, number = scipy.ndimage.label(labels == 0)
    result = labels.copy()
    for gap in range(1, number + 1):
        inside = gaps == gap
        if not at_border(inside):
            around = set(labels[scipy.ndimage.binary_dilation(inside) & ~inside].tolist())
            if len(around) == 1:
                result[inside] = around.pop()
    return result


def at_border(inside: np.ndarray) -> bool:
    thick = [axis for axis in range(3) if inside.shape[axis] > 1]
    return any(inside.take(side, axis).any() for axis in thick for side in (0, -1))


def numbered(labels: np.ndarray) -> np.ndarray:
    flat = labels.ravel()
    seen: dict[int, int] = {0: 0}
    for label in flat.tolist():
        seen.setdefault(label, len(seen))
    return np.array([seen[label] for label in flat.tolist()]).reshape(labels.shape)
