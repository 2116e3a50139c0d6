"""Which iteration and which post-processing are best by a score."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol

import attrs

from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.evaluation.scores import score_named

Candidate = tuple[int, str]
Cell = tuple[str, str]


class ScoredCell(Protocol):
    """What selection needs of a stored row (`stores.ScoreRow`)."""

    @property
    def iteration(self) -> int: ...
    @property
    def segmenter(self) -> str: ...
    @property
    def crop(self) -> str: ...
    @property
    def part(self) -> str: ...
    @property
    def class_name(self) -> str: ...
    @property
    def score(self) -> str: ...
    @property
    def value(self) -> float: ...


@attrs.frozen
class Best:
    """The best candidate; `cells` holds its value per (crop, class), whose mean is `value`."""

    iteration: int
    segmenter: str
    value: float
    cells: Mapping[Cell, float]


@attrs.frozen
class Outcome:
    """What was chosen on validation crops, and what it scores on test crops; `test` is empty where there are none."""

    chosen: Best
    test: Mapping[Cell, float]

    @property
    def part(self) -> str:
        """The part of the datasplit on which the value to be reported was scored: `test` where it can be."""
        return "test" if self.test else "validate"

    @property
    def cells(self) -> Mapping[Cell, float]:
        """The value to be reported, per (crop, class)."""
        return self.test or self.chosen.cells

    @property
    def value(self) -> float:
        """The value to be reported, the mean over cells."""
        return math.fsum(self.cells.values()) / len(self.cells)


def outcome(rows: Iterable[ScoredCell], score: str) -> Outcome | None:
    """Return the best candidate with its values on test crops, but for cells without one; see `best`."""
    scored = [row for row in rows if row.score == score]
    chosen = best(scored, score)
    if chosen is None:
        return None
    test = {
        (row.crop, row.class_name): row.value
        for row in scored
        if row.part == "test"
        and (row.iteration, row.segmenter) == (chosen.iteration, chosen.segmenter)
        and not math.isnan(row.value)
    }
    return Outcome(chosen, dict(sorted(test.items())))


def best(rows: Iterable[ScoredCell], score: str, class_name: str | None = None) -> Best | None:
    """Return the candidate (iteration, segmenter) with the best mean over validation crops and classes.

    A cell (crop, class) in which no candidate has a value is left out for all. A candidate without a value in any of
    the remaining cells, or with NaN there, is not considered: otherwise leaving out the hard cells would pay. Ties go
    to the earliest iteration, then to the first segmenter in alphabetical order. None if no candidate is left.
    Test crops choose nothing.
    Raises UserError for an unknown score, or a class without rows.
    """
    higher_is_better = score_named(score).higher_is_better
    chosen = [row for row in rows if row.score == score and row.part == "validate"]
    if class_name is not None:
        chosen = _of_class(chosen, class_name)
    values: dict[Candidate, dict[Cell, float]] = defaultdict(dict)
    for row in chosen:
        if not math.isnan(row.value):
            values[row.iteration, row.segmenter][row.crop, row.class_name] = row.value
    defined = {cell for found in values.values() for cell in found}
    means = {
        candidate: math.fsum(found.values()) / len(found)
        for candidate, found in values.items()
        if found.keys() == defined
    }
    if not means:
        return None
    sign = -1 if higher_is_better else 1
    winner = min(means, key=lambda candidate: (sign * means[candidate], candidate))
    return Best(*winner, means[winner], dict(sorted(values[winner].items())))


def _of_class(rows: list[ScoredCell], class_name: str) -> list[ScoredCell]:
    classes = sorted({row.class_name for row in rows})
    if rows and class_name not in classes:
        hint = suggestion(class_name, classes) or f"; scored are {', '.join(classes)}"
        raise UserError(f"no scores of class {class_name!r}{hint}")
    return [row for row in rows if row.class_name == class_name]
