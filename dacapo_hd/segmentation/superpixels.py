"""Superpixels of single sections, and their agglomeration on the region graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.affinities import Affinities
from dacapo_hd.segmentation.components import components
from dacapo_hd.segmentation.flooding import LEVELS, flood


def superpixels(
    inside: NDArray[np.float32], boundary: float, seed_sigma_vx: float, min_size_vx: int
) -> NDArray[np.uint32]:
    """Number the superpixels of all sections 1, 2, ... without gaps, (z, y, x); every voxel is in one.

    `inside` (z, y, x; 0..1) is high in objects; the boundary is where it is at most `boundary`. Superpixels of fewer
    than `min_size_vx` voxels go to their neighbours. Where a section has no inside, its connected parts are
    superpixels.
    """
    found = np.zeros(inside.shape, np.uint32)
    levels = np.rint(inside * np.float32(LEVELS)).clip(1, LEVELS).astype(np.uint8)
    number = 0
    for z, section in enumerate(inside):
        seeds = _seeds(section, boundary, seed_sigma_vx)[np.newaxis]
        grown = flood(levels[z : z + 1], seeds)
        large = np.bincount(grown.ravel()) >= min_size_vx
        large[0] = False
        if large.any() and not large[1:].all():
            numbers = np.where(large, np.cumsum(large), 0).astype(np.uint32)
            grown = flood(levels[z : z + 1], numbers[grown])
        left = components(grown == 0, 6)
        grown = np.where(left > 0, left + grown.max(), grown)
        found[z] = grown[0] + np.uint32(number)
        number += int(grown.max())
    return found


def _seeds(section: NDArray[np.float32], boundary: float, sigma_vx: float) -> NDArray[np.uint32]:
    """Number the maxima of the distance to the boundary (y, x)."""
    import edt
    from scipy.ndimage import gaussian_filter, label, maximum_filter

    distance = edt.edt(section > boundary, black_border=False, parallel=1)
    # a section without any boundary is at no distance from it
    distance = np.where(np.isfinite(distance), distance, np.float32(max(section.shape)))
    smooth = gaussian_filter(distance, sigma_vx) if sigma_vx else distance
    maxima = (smooth == maximum_filter(smooth, 3)) & (distance > 0)
    seeds: NDArray[np.uint32] = label(maxima, np.ones((3, 3)))[0].astype(np.uint32)
    return seeds


def average_linkage(parts: NDArray[np.uint32], affinities: Affinities, cut: float) -> NDArray[np.uint32]:
    """Merge parts (z, y, x; from 1 without gaps) while the mean affinity between two exceeds `cut`.

    Parts that share a face are neighbours; the mean is over the pairs of all offsets that join the two. Returns
    numbers 1, 2, ... without gaps.
    """
    import fastremap
    from bioimage_cpp import graph

    regions = graph.region_adjacency_graph(parts, number_of_threads=1)
    edges = regions.uv_ids()
    if not len(edges):
        return parts
    values = np.ascontiguousarray(affinities.values)
    features = graph.features.affinity_features(
        regions, parts, values, affinities.offsets_vx, number_of_threads=1
    ).astype(np.float64)
    mean, pairs = features.T
    # neighbours without a pair of any offset have no reason to be merged
    weights = np.where(pairs > 0, mean, 0) - cut
    policy = graph.agglomeration.GaspClusterPolicy(linkage="mean")
    merged = policy.optimize(regions, weights, edge_sizes=np.maximum(pairs, 1))
    renumbered: NDArray[np.uint32] = fastremap.renumber(merged[parts].astype(np.uint32) + 1, preserve_zero=True)[0]
    return renumbered.astype(np.uint32)
