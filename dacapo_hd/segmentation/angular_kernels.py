"""Loops of angular clustering (numba)."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint32]
Floats = NDArray[np.float32]


@numba.njit(cache=True, nogil=True)
def grow(labels: Labels, allowed: NDArray[np.bool_], vectors: Floats, directions: Floats, least_cosine: float) -> None:
    """Let labels (v) of a flattened volume grow by layers through faces into allowed voxels of about their direction.

    The outermost layer of the volume must not be allowed; `vectors` (v, e) and `directions` (labels + 1, e) are of
    length 1. Of several labels that reach a voxel in the same layer the one of the smallest angle takes it, then the
    lower one. `labels` is (z, y, x), all else in its order.
    """
    _, height, width = labels.shape
    steps = (-height * width, -width, -1, 1, width, height * width)
    label = labels.ravel()
    cosine = np.zeros(len(label), np.float32)
    layer = np.zeros(len(label), np.int64)
    count = 0
    for index in range(len(label)):
        if label[index] > 0:
            layer[count] = index
            count += 1
    following = np.zeros(len(label), np.int64)
    while count > 0:
        reached = 0
        for place in range(count):
            index = layer[place]
            own = label[index]
            for step in steps:
                near = index + step
                # those that this layer has reached may still change hands; their cosine is not 0
                if not allowed[near] or (label[near] > 0 and cosine[near] == 0):
                    continue
                angle = np.float32(0)
                for e in range(vectors.shape[1]):
                    angle += vectors[near, e] * directions[own, e]
                if angle < least_cosine:
                    continue
                if label[near] == 0:
                    following[reached] = near
                    reached += 1
                elif angle < cosine[near] or (angle == cosine[near] and own > label[near]):
                    continue
                label[near], cosine[near] = own, angle
        for place in range(reached):
            cosine[following[place]] = 0
        layer, following = following, layer
        count = reached


@numba.njit(cache=True, nogil=True)
def merge_touching(labels: Labels, directions: Floats, least_cosine: float, root: NDArray[np.int64]) -> None:
    """Unite labels (z, y, x) that share a face and have directions (labels + 1, e) that agree.

    `root` holds the numbers 0, 1, ... of the labels, and afterwards for each the lowest of those that it is one with.
    """
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                own = labels[z, y, x]
                if own == 0:
                    continue
                if z + 1 < depth:
                    _unite(own, labels[z + 1, y, x], directions, least_cosine, root)
                if y + 1 < height:
                    _unite(own, labels[z, y + 1, x], directions, least_cosine, root)
                if x + 1 < width:
                    _unite(own, labels[z, y, x + 1], directions, least_cosine, root)
    # a root is never above its members, so that one pass in order resolves all
    for label in range(len(root)):
        root[label] = root[root[label]]


@numba.njit(cache=True, nogil=True)
def _unite(a: int, b: int, directions: Floats, least_cosine: float, root: NDArray[np.int64]) -> None:
    if b == 0 or a == b:
        return
    cosine = np.float32(0)
    for e in range(directions.shape[1]):
        cosine += directions[a, e] * directions[b, e]
    if cosine < least_cosine:
        return
    first, second = _root_of(a, root), _root_of(b, root)
    root[max(first, second)] = min(first, second)


@numba.njit(cache=True, nogil=True)
def _root_of(label: int, root: NDArray[np.int64]) -> int:
    while root[label] != label:
        root[label] = root[root[label]]
        label = root[label]
    return label
