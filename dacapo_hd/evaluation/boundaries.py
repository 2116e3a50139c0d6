"""Scores of how far apart two masks are, in nanometres."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.distances import DistanceMap, Distances, Field, Kinds
from dacapo_hd.evaluation.marks import (
    BOUNDARY,
    KINDS,
    KNOWN,
    PREDICTED,
    PREDICTED_BOUNDARY,
    PRESENT,
    ROUNDING,
    Marks,
    kinds,
)

TRUE = kinds(lambda mark: mark & PRESENT)
FOUND = kinds(lambda mark: mark & PREDICTED)
TRUE_BOUNDARY = kinds(lambda mark: mark & BOUNDARY)
FOUND_BOUNDARY = kinds(lambda mark: mark & PREDICTED_BOUNDARY)
FALSE_POSITIVE = kinds(lambda mark: mark & KNOWN and mark & PREDICTED and not mark & PRESENT)
FALSE_NEGATIVE = kinds(lambda mark: mark & PRESENT and not mark & PREDICTED)
NOTHING = np.zeros(KINDS, bool)


@attrs.frozen(eq=False)
class Maps:
    """Distances to the boundary voxels of a mask and to all its voxels."""

    boundary: DistanceMap | Field
    mask: DistanceMap | Field

    @classmethod
    def to(cls, marks: Marks, boundary: np.uint8, mask: np.uint8, voxel_size_nm: tuple[float, ...]) -> Maps:
        """Measure to the voxels with the bit `boundary` and to those with the bit `mask`.

        Where everything is known these are one map: seen from outside of a mask its nearest voxel is one of its
        boundary. Next to unknown voxels a mask ends without a boundary.
        """
        to_boundary = DistanceMap.to(marks, boundary, voxel_size_nm)
        return cls(to_boundary, to_boundary if marks.all() else DistanceMap.to(marks, mask, voxel_size_nm))

    def as_fields(self) -> Maps:
        """Return the same, worked out for all voxels."""
        boundary = self.boundary.everywhere()
        return Maps(boundary, boundary if self.mask is self.boundary else self.mask.everywhere())

    def at(self, marks: Marks, boundary: Kinds, outside: Kinds) -> tuple[Distances, Distances]:
        """Return the distances to the boundary from some kinds of voxels and those to the mask from others."""
        if self.mask is self.boundary:
            return self.boundary.at(marks, boundary, outside)
        return self.boundary.at(marks, boundary, NOTHING)[0], self.mask.at(marks, NOTHING, outside)[1]


def distance_scores(
    marks: Marks,
    counts: NDArray[np.int64],
    maps_to_truth: Callable[[], Maps],
    voxel_size_nm: tuple[float, ...],
    tolerance_nm: float,
) -> dict[str, float]:
    """Return the scores in nm of a prediction in `marks`; `counts` are the numbers of voxels of each kind.

    Distances are between centres of known voxels; only they may pass through unknown ones. NaN where the truth has no
    boundary, or no voxel, to measure to.
    """

    def some(wanted: Kinds) -> bool:
        return bool(counts[wanted].any())

    def read(maps: Callable[[], Maps], boundary: Kinds, outside: Kinds) -> tuple[Distances, Distances]:
        if not some(boundary | outside):
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        return maps().at(marks, boundary, outside)

    def maps_to_prediction() -> Maps:
        return Maps.to(marks, PREDICTED_BOUNDARY, PREDICTED, voxel_size_nm)

    diagonal = math.dist((0.0,) * marks.ndim, np.multiply(marks.shape, voxel_size_nm))
    both = some(TRUE_BOUNDARY) and some(FOUND_BOUNDARY)
    edges = (TRUE_BOUNDARY, FOUND_BOUNDARY) if both else (NOTHING, NOTHING)
    from_truth, missed = read(maps_to_prediction, edges[0], FALSE_NEGATIVE if some(FOUND) else NOTHING)
    from_prediction, invented = read(maps_to_truth, edges[1], FALSE_POSITIVE if some(TRUE) else NOTHING)
    scores = {"mean_false_positive_distance": math.nan, "mean_false_negative_distance": math.nan}
    if some(TRUE):
        scores["mean_false_positive_distance"] = _mean(invented)
        scores["mean_false_negative_distance"] = _mean(missed) if some(FOUND) else diagonal
    scores["mean_false_distance"] = sum(scores.values()) / 2
    if both:
        return scores | _between(from_prediction, from_truth, tolerance_nm)
    scores |= dict.fromkeys(_BETWEEN, diagonal if some(TRUE_BOUNDARY) else math.nan)
    # two masks without a boundary may still be opposite
    scores["f1_tolerance"] = float(not some(TRUE_BOUNDARY) and not some(FALSE_POSITIVE | FALSE_NEGATIVE))
    return scores


_BETWEEN = ("mean_boundary_distance", "hausdorff", "hausdorff_95")


def _between(from_prediction: Distances, from_truth: Distances, tolerance_nm: float) -> dict[str, float]:
    """Return what follows from the distances of both boundaries' voxels to the other boundary."""
    directions = from_prediction, from_truth
    within = tolerance_nm * (1 + ROUNDING)
    precision, recall = (float(np.mean(distances <= within)) for distances in directions)
    return {
        "mean_boundary_distance": sum(map(_mean, directions)) / 2,
        "hausdorff": max(float(distances.max()) for distances in directions),
        "hausdorff_95": max(float(np.percentile(distances, 95)) for distances in directions),
        "f1_tolerance": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def _mean(distances: Distances) -> float:
    return float(np.mean(distances, dtype=np.float64)) if len(distances) else 0.0
