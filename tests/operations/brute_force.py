"""Distances by looking at every pair of voxels: slow, short and independent of any transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def positions_nm(shape: tuple[int, ...], voxel_size_nm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the centres (z, y, x, 3) of an array's voxels."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * np.array(voxel_size_nm)


def pairwise_nm(shape: tuple[int, ...], voxel_size_nm: tuple[float, ...], axes: str = "zyx") -> NDArray[np.float64]:
    """Return the distance between all pairs of voxel centres; inf between sections if only y and x count."""
    centres = positions_nm(shape, voxel_size_nm).reshape(-1, 3)
    offsets = np.abs(centres[:, None] - centres[None])
    apart = np.linalg.norm(offsets, axis=-1)
    return np.where(offsets[..., 0] > 0, np.inf, apart) if axes == "yx" else apart


def signed_distance(
    mask: NDArray[np.bool_], voxel_size_nm: tuple[float, ...], axes: str = "zyx"
) -> NDArray[np.float64]:
    """Return the centre-to-centre distance to the other side less half the smallest measured edge."""
    return instance_distance(mask.astype(int), voxel_size_nm, axes)


def instance_distance(
    ids: NDArray[np.int_], voxel_size_nm: tuple[float, ...], axes: str = "zyx"
) -> NDArray[np.float64]:
    """Return the same with a boundary around every instance: inside to any other id, outside to any instance."""
    flat = ids.ravel()
    apart = pairwise_nm(ids.shape, voxel_size_nm, axes)
    other = flat[:, None] != flat[None]
    nearest = np.where(other, apart, np.inf).min(axis=1) - min(voxel_size_nm[-len(axes) :]) / 2
    return np.where(flat > 0, nearest, -nearest).reshape(ids.shape)


def face_distance(mask: NDArray[np.bool_], voxel_size_nm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the signed distance from the centre to the nearest point of any voxel (a box) of the other side."""
    edges = np.array(voxel_size_nm)
    centres = positions_nm(mask.shape, voxel_size_nm).reshape(-1, 3)
    to_box = np.linalg.norm(np.maximum(np.abs(centres[:, None] - centres[None]) - edges / 2, 0), axis=-1)
    other = mask.ravel()[:, None] != mask.ravel()[None]
    nearest = np.where(other, to_box, np.inf).min(axis=1)
    return np.where(mask.ravel(), nearest, -nearest).reshape(mask.shape)
