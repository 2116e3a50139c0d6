"""Scores with range, unit and direction; selection of the best; statistics over seeds in `statistics`."""

from dacapo_hd.evaluation.evaluator import Evaluator, evaluate
from dacapo_hd.evaluation.scores import SCORES, Score, ScoreValue, score_named
from dacapo_hd.evaluation.selection import Best, Outcome, best, outcome

__all__ = [
    "SCORES",
    "Best",
    "Evaluator",
    "Outcome",
    "Score",
    "ScoreValue",
    "best",
    "evaluate",
    "outcome",
    "score_named",
]
