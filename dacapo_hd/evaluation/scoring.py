"""All scores of a segmentation, on the voxels whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.boundaries import boundary_scores
from dacapo_hd.evaluation.overlap import Confusion, Overlap
from dacapo_hd.evaluation.scores import SCORES, ScoreValue
from dacapo_hd.labels.block import PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.segmentation.base import Segmentation

_INSTANCE_SCORES = ("instance_voi", "instance_voi_split", "instance_voi_merge", "adapted_rand_error")


def evaluate(segmentation: Segmentation, truth: LabelBlock, tolerance_nm: float) -> tuple[ScoreValue, ...]:
    """Score every class of a segmentation; unknown voxels have no influence.

    Instance labels get the scores of their mask (id > 0) as well as the instance scores. A class of which nothing is
    known has NaN for every score. Raises ValueError for a class that `truth` lacks or a different shape.
    """
    if tolerance_nm < 0:
        raise ValueError(f"tolerance_nm must be >= 0, got {tolerance_nm}")
    return tuple(
        ScoreValue(score, class_name, values[score])
        for class_name, labels in segmentation.labels.items()
        for values in [_class_scores(labels, truth, class_name, segmentation.instances, tolerance_nm)]
        for score in _names(segmentation.instances)
    )


def _names(instances: bool) -> Iterator[str]:
    return (name for name in SCORES if instances or name not in _INSTANCE_SCORES)


def _class_scores(
    labels: NDArray[Any], truth: LabelBlock, class_name: str, instances: bool, tolerance_nm: float
) -> dict[str, float]:
    if class_name not in truth.classes:
        raise ValueError(f"class {class_name!r} is not one of the truth's: {', '.join(truth.classes)}")
    code = truth.code[truth.classes.index(class_name)]
    if labels.shape != code.shape:
        raise ValueError(f"class {class_name!r}: segmentation of shape {labels.shape}, truth of shape {code.shape}")
    known = code != UNKNOWN
    if not known.any():
        return dict.fromkeys(SCORES, math.nan)
    prediction, present = labels > 0, code == PRESENT
    confusion = Confusion.count(prediction, present, known)
    split, merge = confusion.variation_of_information()
    scores = {
        **confusion.scores(),
        **boundary_scores(prediction, present, known, truth.voxel_size_nm, tolerance_nm),
        "voi": split + merge,
        "voi_split": split,
        "voi_merge": merge,
    }
    if instances:
        ids = truth.instances.get(class_name, np.zeros(code.shape, np.uint32))
        scores.update(Overlap.count(np.where(present, ids, 0), labels).scores())
    return scores
