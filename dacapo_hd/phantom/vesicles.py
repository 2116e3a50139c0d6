"""Vesicles: clusters of small spheres, each a membrane around a lumen, in some of the neurites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.phantom.scene import CLUSTER_VOLUME_NM3
from dacapo_hd.phantom.scheme import value_of

MEMBRANE_NM = 9.0
CLUSTER_RADIUS_NM = 110.0


def add_vesicles(
    rng: np.random.Generator,
    semantic: NDArray[np.uint8],
    cells: NDArray[np.uint32],
    somas: int,
    voxel_size_nm: Sequence[float],
) -> NDArray[Any]:
    """Paint vesicles into the cytosol of `semantic`, in place, and return their ids; cells up to `somas` get none."""
    size = np.asarray(voxel_size_nm, dtype=float)
    extent = size * semantic.shape
    clusters = max(2, round(float(np.prod(extent)) / CLUSTER_VOLUME_NM3))
    terminal = rng.random(int(cells.max()) + 1) < 0.5
    terminal[: somas + 1] = False
    ids = np.zeros(semantic.shape, np.uint16 if clusters * 200 < 65_000 else np.uint32)
    number = found = 0
    for centre in rng.uniform(0, 1, (40 * clusters, 3)) * extent:
        voxel = tuple((centre / size).astype(int))
        if semantic[voxel] != value_of("cytosol") or not terminal[cells[voxel]]:
            continue
        before = number
        for position in centre + rng.normal(0, CLUSTER_RADIUS_NM, (int(rng.integers(60, 200)), 3)):
            number += _stamp(semantic, cells, ids, position, _radius(rng, size), number + 1, cells[voxel], size)
        found += number - before > 3
        if found == clusters:
            break
    return ids


def _radius(rng: np.random.Generator, size: NDArray[np.float64]) -> float:
    """Draw an outer radius (nm): mostly synaptic vesicles, now and then an endosome; never thinner than voxels show."""
    radius = rng.uniform(19, 25) if rng.random() < 0.93 else rng.uniform(32, 55)
    return float(max(radius, 1.8 * size.min()))


def _stamp(
    semantic: NDArray[np.uint8],
    cells: NDArray[np.uint32],
    ids: NDArray[Any],
    centre: NDArray[np.float64],
    radius: float,
    number: int,
    cell: np.uint32,
    size: NDArray[np.float64],
) -> bool:
    """Paint one vesicle if nothing but the cytosol of its cell is in and around it."""
    begin = np.floor((centre - radius) / size - 1).astype(int).clip(0)
    end = np.ceil((centre + radius) / size + 1).astype(int).clip(0)
    box = tuple(slice(int(a), int(b)) for a, b in zip(begin, end, strict=True))
    here = semantic[box]
    if 0 in here.shape:
        return False
    grids = np.ogrid[tuple(slice(b, b + n) for b, n in zip(begin, here.shape, strict=True))]
    squares = sum(((g + 0.5) * s - c) ** 2 for g, s, c in zip(grids, size, centre, strict=True))
    distance = np.sqrt(squares)
    around = distance < radius + size.min()
    free = (here == value_of("cytosol")) & (cells[box] == cell)
    ball = distance < radius
    if not ball.any() or not free[around].all():
        return False
    here[ball] = value_of("ves_mem")
    here[distance < radius - max(MEMBRANE_NM, 0.8 * float(size.min()))] = value_of("ves_lum")
    ids[box][ball] = number
    return True
