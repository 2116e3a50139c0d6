"""Scores of where the boundary is, in nanometres."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# distances come as float32: a boundary exactly at the tolerance must not miss it by rounding
_ROUNDING = 1e-5


def boundary_voxels(mask: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the known voxels of `mask` that share a face with a known voxel outside it.

    Neither the edge of the block nor a border against unknown voxels is a boundary.
    """
    inside, outside = mask & known, known & ~mask
    found = np.zeros(mask.shape, dtype=bool)
    for axis in range(mask.ndim):
        lower = (*(slice(None),) * axis, slice(None, -1))
        upper = (*(slice(None),) * axis, slice(1, None))
        found[lower] |= inside[lower] & outside[upper]
        found[upper] |= inside[upper] & outside[lower]
    return found


def boundary_scores(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    known: NDArray[np.bool_],
    voxel_size_nm: Sequence[float],
    tolerance_nm: float,
) -> dict[str, float]:
    """Compare the boundaries of two masks (z, y, x) inside the known voxels.

    `mean_boundary_distance` is the mean average surface distance of Maier-Hein et al., Metrics reloaded, 2024: the
    mean of both directed means, between centres of boundary voxels. `f1_tolerance` is the boundary F1 of Csurka et
    al., BMVC 2013, in 3D. Only the distances may pass through unknown voxels.
    """
    predicted, true = boundary_voxels(prediction, known), boundary_voxels(truth, known)
    if not true.any():
        # two masks without a boundary may still be opposite
        same = not np.any((prediction != truth) & known)
        return {"f1_tolerance": float(same), "mean_boundary_distance": math.nan}
    if not predicted.any():
        diagonal = math.dist((0.0,) * true.ndim, np.multiply(true.shape, voxel_size_nm))
        return {"f1_tolerance": 0.0, "mean_boundary_distance": diagonal}
    box = _bounding_box(predicted | true)
    from_prediction = _distance_to(true[box], voxel_size_nm)[predicted[box]]
    from_truth = _distance_to(predicted[box], voxel_size_nm)[true[box]]
    within = tolerance_nm * (1 + _ROUNDING)
    precision, recall = float(np.mean(from_prediction <= within)), float(np.mean(from_truth <= within))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    means = float(np.mean(from_prediction, dtype=np.float64)), float(np.mean(from_truth, dtype=np.float64))
    return {"f1_tolerance": f1, "mean_boundary_distance": sum(means) / 2}


def _distance_to(voxels: NDArray[np.bool_], voxel_size_nm: Sequence[float]) -> NDArray[np.float32]:
    import edt

    found: NDArray[np.float32] = edt.edt(np.ascontiguousarray(~voxels), anisotropy=tuple(voxel_size_nm))
    return found


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)
