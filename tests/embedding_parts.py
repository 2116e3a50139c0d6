"""Predictions of embeddings with known objects."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from dacapo_hd.segmentation import Prediction
from dacapo_hd.segmentation.vectors import embedding_channel


def of(distance: np.ndarray, vectors: np.ndarray) -> Prediction:
    """Make a prediction of a distance (z, y, x) and vectors (e, z, y, x)."""
    names = ("mito/distance", *(embedding_channel("mito", i) for i in range(len(vectors))))
    return Prediction(names, np.stack([distance, *vectors]).astype(np.float32), (8.0, 8.0, 8.0))


def cells(shape=(1, 96, 96), number=18, dims=4, noise=0.15, seed=0):
    """Make touching cells with a gap between some, coloured so that neighbours are orthogonal: (prediction, ids)."""
    rng = np.random.default_rng(seed)
    points = np.stack([rng.uniform(0, size, number) for size in shape], axis=1)
    far = np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1)[..., None, :] - points, axis=-1)
    order = np.argsort(far, axis=-1)
    first, second = (np.take_along_axis(far, order[..., i : i + 1], -1)[..., 0] for i in range(2))
    ids = np.where(second - first > 1.5, order[..., 0] + 1, 0)
    depth = np.where(ids > 0, second - first, 0)
    deepest = scipy.ndimage.maximum(depth, ids, np.arange(number + 1))
    distance = np.where(ids > 0, depth / np.maximum(deepest[ids], 1e-9), 0)
    colour = np.zeros(number + 1, int)
    for own in range(1, number + 1):
        around = np.unique(ids[scipy.ndimage.binary_dilation(ids == own, iterations=4)])
        taken = {colour[other] for other in around if 0 < other < own}
        colour[own] = next(c for c in range(number) if c not in taken)
    assert colour.max() < dims
    vectors = np.eye(dims)[colour[ids]] + noise * rng.standard_normal((*shape, dims))
    return of(distance, np.moveaxis(vectors, -1, 0)), ids
