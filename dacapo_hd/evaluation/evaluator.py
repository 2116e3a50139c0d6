"""All scores of segmentations, on the voxels whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation import marks as mark
from dacapo_hd.evaluation.boundaries import Maps, distance_scores
from dacapo_hd.evaluation.matching import NAMES, Matching
from dacapo_hd.evaluation.overlap import Confusion, Overlap
from dacapo_hd.evaluation.scores import SCORES, SEGMENTS_SCORE, UNDEFINED_WITHOUT_OBJECTS, ScoreValue
from dacapo_hd.evaluation.segments import CORRELATIONS, SegmentErrors
from dacapo_hd.evaluation.sizes import size_nm
from dacapo_hd.labels.block import PRESENT, LabelBlock
from dacapo_hd.segmentation.base import Segmentation
from dacapo_hd.segmentation.uncertainty import Uncertainty


def evaluate(
    segmentation: Segmentation, truth: LabelBlock, tolerance_nm: float, uncertainty: Uncertainty | None = None
) -> tuple[ScoreValue, ...]:
    """Score one segmentation; `Evaluator` is faster for several of the same truth, and says what is raised."""
    return Evaluator(truth, tolerance_nm, memory_bytes=0).scores(segmentation, uncertainty)


class Evaluator:
    """Scores segmentations of one block; what follows from the truth alone is worked out once, when first needed.

    That takes a byte per voxel for each class scored, and four or, where a part is unknown, eight more for its
    distances, until these fill `memory_bytes`; those of further classes are worked out for each segmentation. Not to be
    used by several threads at once. Raises ValueError for a negative tolerance.
    """

    def __init__(self, truth: LabelBlock, tolerance_nm: float, memory_bytes: int = 1 << 30) -> None:
        if tolerance_nm < 0:
            raise ValueError(f"tolerance_nm must be >= 0, got {tolerance_nm}")
        self._truth = truth
        self._tolerance_nm = tolerance_nm
        self._memory_bytes = memory_bytes
        self._classes: dict[str, _ClassTruth] = {}

    def scores(self, segmentation: Segmentation, uncertainty: Uncertainty | None = None) -> tuple[ScoreValue, ...]:
        """Score every class of a segmentation; unknown voxels have no influence.

        Instance labels get the scores of their mask (id > 0) as well as the instance scores, and where `uncertainty`
        has the class those of its segments. A class of which nothing is known has NaN for every score. Raises
        ValueError for a class that the truth lacks, other shapes, or labels that are not whole numbers from 0 on.
        """
        found: list[ScoreValue] = []
        for class_name, labels in segmentation.labels.items():
            known = self._known(class_name, labels)
            values = uncertainty.values.get(class_name) if uncertainty and segmentation.instances else None
            if values is not None and values.shape != labels.shape:
                raise ValueError(f"class {class_name!r}: uncertainty of shape {values.shape}, not {labels.shape}")
            if known.nothing:
                scores, segments = dict.fromkeys(SCORES, math.nan), None
            else:
                scores, segments = known.scores(labels, segmentation.instances, values)
                if known.object_free:
                    scores |= dict.fromkeys(scores.keys() & UNDEFINED_WITHOUT_OBJECTS, math.nan)
            voxel_nm3 = math.prod(map(float, self._truth.voxel_size_nm))
            table = segments.table(uncertainty.quantity, voxel_nm3) if segments and uncertainty else None
            found += [
                ScoreValue(score, class_name, scores[score], table if score == SEGMENTS_SCORE else None)
                for score in _names(segmentation.instances, values is not None)
            ]
        return tuple(found)

    def _known(self, class_name: str, labels: NDArray[Any]) -> _ClassTruth:
        """Return what is known of a class; ValueError for labels that do not fit."""
        if class_name not in self._truth.classes:
            raise ValueError(f"class {class_name!r} is not one of the truth's: {', '.join(self._truth.classes)}")
        shape = self._truth.code.shape[1:]
        if labels.shape != shape:
            raise ValueError(f"class {class_name!r}: segmentation of shape {labels.shape}, truth of shape {shape}")
        if labels.dtype.kind not in "bui":
            raise ValueError(f"class {class_name!r}: labels must be integers, got {labels.dtype}")
        if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
            raise ValueError(f"class {class_name!r}: labels must be >= 0, got {labels.min()}")
        if class_name not in self._classes:
            self._classes[class_name] = _ClassTruth(self._truth, class_name, self._tolerance_nm)
        known = self._classes[class_name]
        if known.distance_bytes <= self._memory_bytes and not known.keep_distances and not known.nothing:
            known.keep_distances = True
            self._memory_bytes -= known.distance_bytes
        return known


def _names(instances: bool, uncertainty: bool) -> Iterator[str]:
    return (
        name
        for name, score in SCORES.items()
        if (instances or not score.of_instances) and (uncertainty or not score.of_uncertainty)
    )


class _ClassTruth:
    """What is known of one class."""

    def __init__(self, truth: LabelBlock, class_name: str, tolerance_nm: float) -> None:
        code = truth.code[truth.classes.index(class_name)]
        self._marks = mark.mark_truth(code)
        self._ids = truth.instances.get(class_name, np.broadcast_to(np.uint32(0), code.shape))
        self._voxel_size_nm = tuple(map(float, truth.voxel_size_nm))
        self._tolerance_nm = tolerance_nm
        self._maps: Maps | None = None
        self._true_size_nm: float | None = None
        self._near_borders_marked = False
        self.nothing = not self._marks.any()
        self.object_free = not (code == PRESENT).any()
        self.distance_bytes = code.size * 4 * (1 if self._marks.all() else 2)
        self.keep_distances = False

    def scores(
        self, labels: NDArray[Any], instances: bool, uncertainty: NDArray[np.float32] | None
    ) -> tuple[dict[str, float], SegmentErrors | None]:
        """Return the scores of the mask `labels` > 0, and those of its objects if `instances`.

        With `uncertainty` also its segments, unless no object is known with which they could be compared.
        """
        mark.mark_prediction(self._marks, labels)
        counts = mark.census(self._marks)
        confusion = Confusion.of(counts)
        distances = distance_scores(self._marks, counts, self._maps_to_truth, self._voxel_size_nm, self._tolerance_nm)
        error = self._size_nm() - size_nm(self._marks, mark.PREDICTED, self._voxel_size_nm)
        scores = confusion.scores() | distances | {"squared_size_error": error**2}
        if not instances:
            return scores, None
        overlap = self._overlap(labels, confusion)
        undecided = confusion.present > 0 and not overlap.instance.any()
        matched = dict.fromkeys(NAMES, math.nan) if undecided else Matching.of(overlap.partition()).scores()
        scores |= overlap.scores() | matched
        if uncertainty is None:
            return scores, None
        if undecided:
            return scores | dict.fromkeys(CORRELATIONS, math.nan), None
        segments = SegmentErrors.measure(overlap, self._marks, self._ids, labels, uncertainty)
        return scores | segments.scores(), segments

    def _overlap(self, labels: NDArray[Any], confusion: Confusion) -> Overlap:
        if not self._near_borders_marked:
            mark.mark_near_borders(self._marks, self._ids, self._voxel_size_nm, self._tolerance_nm)
            self._near_borders_marked = True
        return Overlap.count(self._marks, self._ids, labels, confusion.known)

    def _size_nm(self) -> float:
        if self._true_size_nm is None:
            self._true_size_nm = size_nm(self._marks, mark.PRESENT, self._voxel_size_nm)
        return self._true_size_nm

    def _maps_to_truth(self) -> Maps:
        if self._maps is not None:
            return self._maps
        maps = Maps.to(self._marks, mark.BOUNDARY, mark.PRESENT, self._voxel_size_nm)
        if self.keep_distances:
            maps = self._maps = maps.as_fields()
        return maps
