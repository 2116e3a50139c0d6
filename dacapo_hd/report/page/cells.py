"""What each run's best candidate scored in each crop, and which crops it did best and worst in."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from dacapo_hd.evaluation.scores import Score
from dacapo_hd.evaluation.selection import Best
from dacapo_hd.report.page.plain import short
from dacapo_hd.stores.rows import ScoreRow

# (part of the datasplit, crop)
CropKey = tuple[str, str]
Cells = Mapping[CropKey, Mapping[str, float]]


@attrs.frozen
class RankedCrop:
    """A crop that was scored; `value` is the mean over the classes that have one."""

    part: str
    name: str
    rank: str
    value: float


def cells_of(rows: Sequence[ScoreRow], best: Best | None, score: str) -> dict[CropKey, dict[str, float]]:
    """Return the values of the best candidate by crop and class, of crops that are only reported too."""
    found: dict[CropKey, dict[str, float]] = {}
    for row in rows:
        if best and (row.iteration, row.segmenter, row.score) == (best.iteration, best.segmenter, score):
            found.setdefault((row.part, row.crop), {})[row.class_name] = row.value
    return found


def mean_of(values: Mapping[str, float]) -> float:
    """Return the mean over the classes that have a value; NaN if none has."""
    known = [value for value in values.values() if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def heat_map(names: Sequence[str], cells_by_run: Mapping[str, Cells]) -> dict[str, Any]:
    """Return `values[run][crop][class]`, the mean over classes first if there are several; None where undefined."""
    crops = list(dict.fromkeys(crop for cells in cells_by_run.values() for crop in cells))
    # what chose the candidates first, then what was only reported
    crops.sort(key=lambda crop: (crop[0] != "validate", crop))
    classes = list(
        dict.fromkeys(name for cells in cells_by_run.values() for values in cells.values() for name in values)
    )

    def of(values: Mapping[str, float]) -> list[float | None]:
        each = [short(values.get(name, math.nan)) for name in classes]
        return [short(mean_of(values)), *each] if len(classes) > 1 else each

    return {
        "crops": [{"part": part, "name": name} for part, name in crops],
        "classes": ["mean of the classes", *classes] if len(classes) > 1 else classes,
        "values": [[of(cells_by_run[run].get(crop, {})) for crop in crops] for run in names],
    }


def best_and_worst(cells: Cells, score: Score) -> tuple[RankedCrop, ...]:
    """Return the crops with the best and the worst mean over classes; one if there is no other."""
    means = {crop: mean_of(values) for crop, values in cells.items()}
    sign = -1 if score.higher_is_better else 1
    order = sorted((crop for crop in means if not math.isnan(means[crop])), key=lambda c: (sign * means[c], c))
    if len(order) < 2:
        return tuple(RankedCrop(*crop, "only", means[crop]) for crop in order)
    return tuple(RankedCrop(*crop, rank, means[crop]) for rank, crop in (("best", order[0]), ("worst", order[-1])))
