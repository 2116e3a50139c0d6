"""Which scores there are: unit, range, direction and what they are where a side is empty (docs/scores.md)."""

from __future__ import annotations

import math

import attrs

from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.evaluation.segments import CORRELATIONS, SegmentTable


@attrs.frozen
class Score:
    """A score's meaning.

    The value may depend on what is predicted, but whether it is NaN depends on the truth alone: a prediction cannot
    leave a cell of the validation by being bad. `empty_*` say what the value is if no known voxel is present in the
    truth, in the prediction, or in both. Only segmentations into objects have the scores `of_instances`, and only those
    of a prediction that says how uncertain it is the ones `of_uncertainty`.
    """

    name: str
    unit: str
    low: float
    high: float
    higher_is_better: bool
    description: str
    empty_truth: str
    empty_prediction: str
    both_empty: str
    of_instances: bool = False
    of_uncertainty: bool = False

    @property
    def best_value(self) -> float:
        """The value of a perfect prediction; `of_uncertainty`, that of one whose errors are where it is uncertain."""
        return self.high if self.higher_is_better else self.low


@attrs.frozen
class ScoreValue:
    """One score of one class; NaN where it is undefined. `segments` are those that a score ranks, if it does."""

    score: str
    class_name: str
    value: float
    segments: SegmentTable | None = None


def _share(name: str, description: str, empty: tuple[str, str, str], higher: bool = True) -> Score:
    return Score(name, "", 0, 1, higher, description, *empty)


def _distance(name: str, description: str, empty_prediction: str = "diagonal of the block") -> Score:
    return Score(name, "nm", 0, math.inf, False, description, "NaN", empty_prediction, "NaN")


def _information(name: str, high: float, description: str, empty: tuple[str, str, str]) -> Score:
    return Score(name, "bit", 0, high, False, description, *empty)


def _parts(name: str, unit: str, high: float, description: str, empty_prediction: str) -> Score:
    """Make a score of how the true instances are cut up, which knows nothing of background."""
    return Score(name, unit, 0, high, False, description, "NaN", empty_prediction, "NaN", of_instances=True)


def _objects(name: str, description: str) -> Score:
    return Score(name, "", 0, 1, True, description, *_GOOD, of_instances=True)


def _ranks(name: str, error: str) -> Score:
    description = f"rank correlation over voxels of their segment's mean uncertainty and {error}"
    return Score(name, "", -1, 1, True, description, *("0", "0", "0"), of_instances=True, of_uncertainty=True)


# the rows of this score hold the segments themselves
SEGMENTS_SCORE = CORRELATIONS[0]

# an object-free block says nothing of how well objects are found: false_positive_rate tells what is made up there
_GOOD = ("NaN", "0", "NaN")
_INSIDE = "inside the true instances; NaN where no instance is known"
_BORDER = "further than the tolerance from borders in the section"
_DISTANCE = "distance from a boundary voxel of one side to the other side's boundary"

_ALL = (
    _share("dice", "2 TP / (2 TP + FP + FN)", _GOOD),
    _share("jaccard", "TP / (TP + FP + FN)", _GOOD),
    _share("precision", "TP / (TP + FP)", _GOOD),
    _share("recall", "TP / (TP + FN)", ("NaN", "0", "NaN")),
    _share(
        "f1_tolerance",
        "harmonic mean of the shares of predicted and true boundary voxels within the tolerance of the other boundary",
        _GOOD,
    ),
    _share("false_discovery_rate", "FP / (TP + FP)", ("NaN", "1", "NaN"), higher=False),
    _share("false_negative_rate", "FN / (TP + FN)", ("NaN", "1", "NaN"), higher=False),
    _share("false_positive_rate", "FP / (FP + TN)", ("FP / known", "0", "0"), higher=False),
    _distance("mean_boundary_distance", f"mean of the two mean values of the {_DISTANCE}"),
    _distance("hausdorff", f"largest {_DISTANCE}"),
    _distance("hausdorff_95", f"larger of the two 95th percentiles of the {_DISTANCE}"),
    _distance("mean_false_distance", "mean of the two scores that follow", "half the diagonal of the block"),
    _distance("mean_false_positive_distance", "mean distance of false positives to the nearest true voxel", "0"),
    _distance("mean_false_negative_distance", "mean distance of false negatives to the nearest predicted voxel"),
    Score(
        "squared_size_error",
        "nm²",
        0,
        math.inf,
        False,
        "squared difference of the sizes, twice the largest chessboard distance from the background",
        "squared size of the prediction",
        "squared size of the truth",
        "0",
    ),
    _information("voi", 2, "voi_split + voi_merge", ("H(prediction)", "H(truth)", "0")),
    _information("voi_split", 1, "H(prediction | truth) of the binary masks", ("H(prediction)", "0", "0")),
    _information("voi_merge", 1, "H(truth | prediction) of the binary masks", ("0", "H(truth)", "0")),
    _parts("instance_voi", "bit", math.inf, "instance_voi_split + instance_voi_merge", "H(instances)"),
    _parts("instance_voi_split", "bit", math.inf, f"H(segments | instances) {_INSIDE}", "0"),
    _parts("instance_voi_merge", "bit", math.inf, f"H(instances | segments) {_INSIDE}", "H(instances)"),
    _parts(
        "adapted_rand_error",
        "",
        1,
        f"1 - 2 sum(T^2) / (sum(a^2) + sum(b^2)) {_INSIDE}",
        "the value for one segment",
    ),
    _parts(
        "cremi_score",
        "",
        math.inf,
        "sqrt((cremi_voi_split + cremi_voi_merge) cremi_adapted_rand_error)",
        "sqrt(H(instances) cremi_adapted_rand_error)",
    ),
    _parts("cremi_voi_split", "bit", math.inf, f"instance_voi_split {_BORDER}", "0"),
    _parts("cremi_voi_merge", "bit", math.inf, f"instance_voi_merge {_BORDER}", "H(instances)"),
    _parts(
        "cremi_adapted_rand_error",
        "",
        1,
        f"adapted_rand_error {_BORDER}, by CREMI's count of background",
        "nearly 1",
    ),
    _objects("symmetric_best_dice", "lower of the two means of the best dice of an object with one of the other side"),
    _objects("mean_average_precision", "mean of TP / (TP + FP + FN) of objects at IoU 0.50, 0.55, ... 0.90"),
    _objects("panoptic_quality", "sum of the IoUs above 0.5 / (TP + FP / 2 + FN / 2)"),
    _objects("instance_f1_50", "2 TP / (2 TP + FP + FN) of objects at IoU 0.50"),
    _objects("instance_f1_75", "2 TP / (2 TP + FP + FN) of objects at IoU 0.75"),
    Score(
        "difference_in_count",
        "",
        0,
        math.inf,
        False,
        "|number of segments - number of instances|",
        "number of segments",
        "number of instances",
        "0",
        of_instances=True,
    ),
    _ranks(SEGMENTS_SCORE, "error, its share outside of the true object that it matches best"),
    _ranks(CORRELATIONS[1], "1 - IoU with the true object that it matches best"),
)

SCORES: dict[str, Score] = {score.name: score for score in _ALL}
UNDEFINED_WITHOUT_OBJECTS = frozenset(score.name for score in _ALL if score.empty_truth == "NaN")

# what other programs call them, where that is not near our name
_ALSO_CALLED = {
    "f1_score": "dice",
    "iou": "jaccard",
    "mean_surface_distance": "mean_boundary_distance",
    "sbd": "symmetric_best_dice",
    "map": "mean_average_precision",
    "pq": "panoptic_quality",
    "dic": "difference_in_count",
}


def score_named(name: str) -> Score:
    """Return a score by its name; UserError with the near one or all names."""
    if name in SCORES:
        return SCORES[name]
    if name in _ALSO_CALLED:
        raise UserError(f"unknown score {name!r}; it is called {_ALSO_CALLED[name]!r} here")
    raise UserError(f"unknown score {name!r}{suggestion(name, SCORES) or '; there are ' + ', '.join(SCORES)}")
