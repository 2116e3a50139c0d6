"""Scores with range, unit and direction; selection of the best."""

from dacapo_hd.evaluation.evaluator import Evaluator, evaluate
from dacapo_hd.evaluation.scores import SCORES, Score, ScoreValue, score_named
from dacapo_hd.evaluation.selection import Best, best

__all__ = ["SCORES", "Best", "Evaluator", "Score", "ScoreValue", "best", "evaluate", "score_named"]
