"""Signed distance to the boundary of a class, and its bounds where annotation is partial.

One convention throughout: the distance of a voxel is measured from its centre to the nearest voxel centre on the
other side of the boundary, less half the smallest voxel edge, because the boundary lies between voxels. It is positive
inside, negative outside, and never smaller than half the smallest edge.

Compared with the distance from the centre to the nearest *face* of the other side, it is exact along the axis of the
smallest edge, never too small, and too large by at most half of (voxel diagonal - smallest edge): 0.37 voxel for cubes,
0.21 for squares, 18.2 nm at 40x4x4 nm, of which 18 nm already straight across a section.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import edt
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.labels.block import ABSENT, PRESENT

Axes = Literal["zyx", "yx"]
Distances = NDArray[np.float32]

# Two transforms round differently: relative differences below this are no differences.
ROUNDING = 1e-5


def signed_distance(mask: NDArray[Any], voxel_size_nm: Sequence[float], axes: Axes = "zyx") -> Distances:
    """Return the signed boundary distance of a fully known mask; what lies outside of the array is ignored.

    `mask` (z, y, x) is inside where not 0. The result is float32 in nm, inf or -inf where there is no boundary. With
    `axes="yx"` each section is measured by itself.
    """
    inside = np.asarray(mask) != 0
    distance = _to_other_label(inside.astype(np.uint8) + np.uint8(1), voxel_size_nm, axes)
    distance -= half_edge_nm(voxel_size_nm, axes)
    return np.negative(distance, out=distance, where=~inside)


def signed_distance_interval(
    code: NDArray[np.uint8],
    voxel_size_nm: Sequence[float],
    instances: NDArray[np.uint32] | None = None,
    axes: Axes = "zyx",
) -> tuple[Distances, Distances]:
    """Return the lowest and the highest signed boundary distance that agree with what is known.

    `code` (z, y, x) holds UNKNOWN, ABSENT and PRESENT; everything outside of it is unknown. With P present, A absent
    and D the distance to the nearest voxel of a set, d is in [-D(P), -D(not A)] on A, in [D(not P), D(A)] on P and in
    [-D(P), D(A)] where unknown. Both bounds are float32 in nm: -inf and inf where nothing bounds d, equal where d is
    known.

    With `instances` (z, y, x; ids, 0 for none), d inside is the distance to the nearest voxel outside of the
    *instance*, so that instances that touch have a boundary between them; a present voxel without an id may belong to
    any instance. With `axes="yx"` each section is measured by itself.
    """
    own = _own_labels(code, instances)
    if not own.any() and instances is None:
        return np.full(code.shape, -np.inf, np.float32), np.full(code.shape, np.inf, np.float32)
    to_other = _to_other_label(own, voxel_size_nm, axes)
    half = half_edge_nm(voxel_size_nm, axes)
    # A present voxel without an id has label 0, at distance 0; its nearest other voxel may be its neighbour.
    nearest = np.maximum(np.minimum(to_other, _to_outside(code.shape, voxel_size_nm, axes)), np.float32(2 * half))
    present, absent = code == PRESENT, code == ABSENT
    if own.all():
        low = np.where(present, nearest, -to_other)
        high = np.where(present, to_other, -nearest)
    else:
        low = np.where(present, nearest, -distance_to(present, voxel_size_nm, axes))
        high = np.where(absent, -nearest, distance_to(absent, voxel_size_nm, axes))
        if instances is not None:
            certain = present & (to_other < distance_to(own == 0, voxel_size_nm, axes) * (1 - ROUNDING))
            np.minimum(high, to_other, out=high, where=certain)
    low -= np.copysign(np.float32(half), low)
    high -= np.copysign(np.float32(half), high)
    return low, np.maximum(low, high, out=high)


def half_edge_nm(voxel_size_nm: Sequence[float], axes: Axes = "zyx") -> float:
    """Return half the smallest voxel edge along the measured axes, the least distance there is."""
    return min(voxel_size_nm[-len(axes) :]) / 2


def _own_labels(code: NDArray[np.uint8], instances: NDArray[np.uint32] | None) -> NDArray[Any]:
    """Label what is certainly one thing: 0 unsure, 1 absent, and one label for the class or for each instance."""
    if instances is None:
        return code
    labels = np.where((code == PRESENT) & (instances > 0), instances.astype(np.uint64) + 1, 0)
    labels[code == ABSENT] = 1
    return labels


def _to_other_label(labels: NDArray[Any], voxel_size_nm: Sequence[float], axes: Axes) -> Distances:
    """Return the distance to the nearest voxel of another label; 0 at label 0, inf without another label."""
    if axes == "yx":
        return np.stack([_transform(section, voxel_size_nm[1:]) for section in labels])
    return _transform(labels, voxel_size_nm)


def distance_to(members: NDArray[np.bool_], voxel_size_nm: Sequence[float], axes: Axes) -> Distances:
    """Return the distance in nm from each voxel (z, y, x) to the nearest member; inf without members."""
    if not members.any():
        return np.full(members.shape, np.inf, np.float32)
    return _to_other_label(~members, voxel_size_nm, axes)


def _to_outside(shape: Sequence[int], voxel_size_nm: Sequence[float], axes: Axes) -> Distances:
    """Return the distance to the nearest voxel centre outside of the array along the measured axes."""
    result = np.full((1,) * len(shape), np.inf, np.float32)
    for axis in range(len(shape) - len(axes), len(shape)):
        steps = np.arange(1, shape[axis] + 1)
        ramp = np.minimum(steps, steps[::-1]).astype(np.float32) * np.float32(voxel_size_nm[axis])
        result = np.minimum(result, np.expand_dims(ramp, tuple(other for other in range(len(shape)) if other != axis)))
    return result


def _transform(labels: NDArray[Any], voxel_size_nm: Sequence[float]) -> Distances:
    # an axis of one voxel adds nothing, and makes the transform ten times as slow
    longer = [axis for axis, size in enumerate(labels.shape) if size > 1] or [0]
    flat = np.ascontiguousarray(labels).reshape([labels.shape[axis] for axis in longer])
    edges = tuple(voxel_size_nm[axis] for axis in longer)
    distance: Distances = edt.edt(
        flat, anisotropy=edges if len(edges) > 1 else edges[0], black_border=False, parallel=1
    )
    return distance.reshape(labels.shape)
