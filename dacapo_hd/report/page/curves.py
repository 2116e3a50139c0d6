"""Losses and scores over the iterations, in as many points as a plot can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.report import curves
from dacapo_hd.report.curves import LOSS_PREFIX
from dacapo_hd.report.page.plain import short, shorts
from dacapo_hd.stores.rows import ScoreRow, StatRow

POINTS = 160

Curve = dict[str, Any]


def loss_curves(rows: Sequence[StatRow], points: int = POINTS) -> dict[str, Curve]:
    """Return for each part of the loss its mean, least and greatest value in up to `points` equal spans of iterations.

    Values that are not finite are left out; a span without any is `None`.
    """
    parts = sorted({row.name for row in rows if row.name.startswith(LOSS_PREFIX)})
    return {
        part.removeprefix(LOSS_PREFIX): _binned(
            np.array([row.iteration for row in rows if row.name == part]),
            np.array([row.value for row in rows if row.name == part], float),
            points,
        )
        for part in parts
    }


def _binned(iterations: NDArray[np.int64], values: NDArray[np.float64], points: int) -> Curve:
    order = np.argsort(iterations, kind="stable")
    spans = np.array_split(order, min(points, len(order)))
    finite = [values[span][np.isfinite(values[span])] for span in spans]
    curve: Curve = {
        "iterations": [int(np.median(iterations[span])) for span in spans],
        "mean": shorts(span.mean() if len(span) else np.nan for span in finite),
    }
    if any(len(span) > 1 for span in spans):
        curve["low"] = shorts(span.min(initial=np.inf) for span in finite)
        curve["high"] = shorts(span.max(initial=-np.inf) for span in finite)
    return curve


def score_curve(rows: Sequence[ScoreRow], score: str) -> Curve | None:
    """Return what `report.curves.score_curve` finds; None if there is nothing to show."""
    found = curves.score_curve(rows, score)
    if found is None:
        return None
    return {
        "iterations": [int(iteration) for iteration in found.iterations],
        "mean": shorts(found.values),
        "mark": [found.mark[0], short(found.mark[1])] if found.mark else None,
    }
