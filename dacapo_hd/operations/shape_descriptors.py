"""Local shape descriptors: how the part of an object around a voxel lies, is shaped and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DESCRIPTORS = (
    *("offset_z", "offset_y", "offset_x"),
    *("variance_z", "variance_y", "variance_x"),
    *("correlation_zy", "correlation_zx", "correlation_yx"),
    "size",
)
TRUNCATE = 3.0
PAIRS = ((0, 1), (0, 2), (1, 2))
LEAST_VARIANCE_NM2 = 1e-3


def shape_descriptors(labels: NDArray[Any], sigma_nm: float, voxel_size_nm: Sequence[float]) -> Floats:
    """Return the ten descriptors of each voxel's own object, float32 (10, z, y, x) within 0..1.

    The object is weighted by a Gaussian around the voxel (cut off at 3 sigma). Of its part there: the offset of the
    centre of mass from the voxel (in sigma; 0.5 is none), the variances along the axes (in sigma^2), the correlations
    of the axes (0.5 is none) and the weight. Labels (z, y, x) that are not > 0 have descriptors 0. Source: Sheridan
    et al., Local shape descriptors for neuron segmentation, Nature Methods 2023.
    """
    from scipy.ndimage import find_objects

    numbers, order = np.unique(np.where(labels > 0, labels, 0), return_inverse=True)
    compact: NDArray[np.intp] = order.reshape(labels.shape) + (0 if numbers[0] == 0 else 1)
    result = np.zeros((len(DESCRIPTORS), *labels.shape), np.float32)
    # float32 in units of sigma: positions stay small, so that variances keep their digits
    edges = [size / sigma_nm for size in voxel_size_nm]
    for number, box in enumerate(find_objects(compact), start=1):
        inside = compact[box] == number
        found = _of_object(inside, edges, LEAST_VARIANCE_NM2 / sigma_nm**2)
        for channel, values in enumerate(found):
            result[channel][box][inside] = values[inside]
    return result


def unknown_share(unknown: NDArray[np.bool_], sigma_nm: float, voxel_size_nm: Sequence[float]) -> Floats:
    """Return how much of a voxel's Gaussian is unknown (z, y, x); everything beyond the array is."""
    edges = [size / sigma_nm for size in voxel_size_nm]
    return np.float32(1) - _blurred((~unknown).astype(np.float32), edges)


def _of_object(inside: NDArray[np.bool_], edges: Sequence[float], least_variance: float) -> list[Floats]:
    """Return the descriptors in the box of one object; `edges` are voxel edges in units of sigma."""
    mask = inside.astype(np.float32)
    positions: list[Floats] = [
        ((np.arange(size) - size / 2) * edge).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (size, edge) in enumerate(zip(inside.shape, edges, strict=True))
    ]
    weight = _blurred(mask, edges)
    total = np.where(weight > 0, weight, np.float32(1))
    means = [_blurred(mask * position, edges) / total for position in positions]
    variances = [
        np.maximum(_blurred(mask * position**2, edges) / total - mean**2, np.float32(least_variance))
        for position, mean in zip(positions, means, strict=True)
    ]
    correlations = [
        (_blurred(mask * positions[a] * positions[b], edges) / total - means[a] * means[b])
        / np.sqrt(variances[a] * variances[b])
        for a, b in PAIRS
    ]
    offsets = [mean - position for mean, position in zip(means, positions, strict=True)]
    halves = [values * np.float32(0.5) + np.float32(0.5) for values in (*offsets, *correlations)]
    return [values.clip(0, 1) for values in (*halves[:3], *variances, *halves[3:], weight)]


def _blurred(values: Floats, edges: Sequence[float]) -> Floats:
    from scipy.ndimage import gaussian_filter

    sigma = [1 / edge for edge in edges]
    blurred: Floats = gaussian_filter(values, sigma, mode="constant", truncate=TRUNCATE)
    return blurred
