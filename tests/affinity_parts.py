"""Objects that fill a volume, and predictions of their affinities."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from dacapo_hd.operations.affinities import affinities
from dacapo_hd.segmentation import Prediction
from dacapo_hd.segmentation.affinities import affinity_channel

OFFSETS = (
    *((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
    *((-3, 0, 0), (0, -5, 0), (0, 0, -5), (-2, 3, 3), (0, 8, -8)),
)
VOXEL_SIZE_NM = (8.0, 8.0, 8.0)


def cells(shape, count, seed):
    """Return the Voronoi cells of random points (z, y, x), numbered from 1."""
    points = np.random.default_rng(seed).random((count, 3)) * shape
    voxels = np.stack(np.indices(shape), axis=-1)[..., None, :]
    return (((voxels - points) ** 2).sum(axis=-1)).argmin(axis=-1) + 1


def tubes(shape, count, seed):
    """Return processes that run along z and drift, numbered from 1: what superpixels of sections are made for."""
    rng = np.random.default_rng(seed)
    begin, drift = rng.random((2, count, 2))
    rows = np.stack(np.indices(shape[1:]), axis=-1)[..., None, :]
    centres = [begin * shape[1:] + (drift - 0.5) * z * 0.4 for z in range(shape[0])]
    return np.stack([((rows - centre) ** 2).sum(axis=-1).argmin(axis=-1) + 1 for centre in centres])


def affinity_prediction(labels, noise=0.0, seed=0, offsets=OFFSETS, name="neuron", kind="affinity"):
    """Predict affinities, each wrong by smooth noise of this standard deviation."""
    values, _ = affinities(labels.astype(np.int64), offsets)
    if noise:
        wrong = gaussian_filter(np.random.default_rng(seed).standard_normal(values.shape), (0, 1, 1, 1))
        values = values + noise * wrong / wrong.std()
    channels = tuple(affinity_channel(name, kind, offset, "vx") for offset in offsets)
    return Prediction(channels, values.clip(0, 1).astype(np.float32), VOXEL_SIZE_NM)
