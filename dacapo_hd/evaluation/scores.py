"""Which scores there are: unit, range, direction and what they are where a side is empty (docs/scores.md)."""

from __future__ import annotations

import math

import attrs

from dacapo_hd.errors import UserError, suggestion


@attrs.frozen
class Score:
    """A score's meaning.

    The value may depend on what is predicted, but whether it is NaN depends on the truth alone: a prediction cannot
    leave a cell of the validation by being bad. `empty_*` say what the value is if no known voxel is present in the
    truth, in the prediction, or in both.
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

    @property
    def best_value(self) -> float:
        """The value of a perfect prediction."""
        return self.high if self.higher_is_better else self.low


@attrs.frozen
class ScoreValue:
    """One score of one class; NaN where it is undefined."""

    score: str
    class_name: str
    value: float


_INSTANCE = "NaN where no instance is known"

_ALL = (
    Score("dice", "", 0, 1, True, "2 TP / (2 TP + FP + FN)", "0", "0", "1"),
    Score("jaccard", "", 0, 1, True, "TP / (TP + FP + FN)", "0", "0", "1"),
    Score("precision", "", 0, 1, True, "TP / (TP + FP)", "0", "0", "1"),
    Score("recall", "", 0, 1, True, "TP / (TP + FN)", "NaN", "0", "NaN"),
    Score(
        "f1_tolerance",
        "",
        0,
        1,
        True,
        "harmonic mean of the shares of predicted and true boundary voxels within the tolerance of the other boundary",
        "0",
        "0",
        "1",
    ),
    Score("false_negative_rate", "", 0, 1, False, "FN / (TP + FN)", "NaN", "1", "NaN"),
    Score("false_positive_rate", "", 0, 1, False, "FP / (FP + TN)", "FP / known", "0", "0"),
    Score(
        "mean_boundary_distance",
        "nm",
        0,
        math.inf,
        False,
        "mean of the two mean distances from a boundary voxel of one side to the other side's boundary",
        "NaN",
        "diagonal of the block",
        "NaN",
    ),
    Score("voi", "bit", 0, 2, False, "voi_split + voi_merge", "H(prediction)", "H(truth)", "0"),
    Score("voi_split", "bit", 0, 1, False, "H(prediction | truth) of the binary masks", "H(prediction)", "0", "0"),
    Score("voi_merge", "bit", 0, 1, False, "H(truth | prediction) of the binary masks", "0", "H(truth)", "0"),
    Score(
        "instance_voi",
        "bit",
        0,
        math.inf,
        False,
        "instance_voi_split + instance_voi_merge",
        "NaN",
        "H(instances)",
        "NaN",
    ),
    Score(
        "instance_voi_split",
        "bit",
        0,
        math.inf,
        False,
        f"H(segments | instances) inside the true instances; {_INSTANCE}",
        "NaN",
        "0",
        "NaN",
    ),
    Score(
        "instance_voi_merge",
        "bit",
        0,
        math.inf,
        False,
        f"H(instances | segments) inside the true instances; {_INSTANCE}",
        "NaN",
        "H(instances)",
        "NaN",
    ),
    Score(
        "adapted_rand_error",
        "",
        0,
        1,
        False,
        f"1 - 2 sum(T^2) / (sum(a^2) + sum(b^2)) inside the true instances; {_INSTANCE}",
        "NaN",
        "the value for one segment",
        "NaN",
    ),
)

SCORES: dict[str, Score] = {score.name: score for score in _ALL}


def score_named(name: str) -> Score:
    """Return a score by its name; UserError with the near one or all names."""
    if name in SCORES:
        return SCORES[name]
    raise UserError(f"unknown score {name!r}{suggestion(name, SCORES) or '; there are ' + ', '.join(SCORES)}")
