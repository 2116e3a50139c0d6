"""What tasks share that predict something for each class on its own."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import attrs

from dacapo_hd.config import EntryErrors, non_empty
from dacapo_hd.errors import suggestion
from dacapo_hd.evaluation import SCORES
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.segmentation.reading import misread
from dacapo_hd.tasks.base import Task


def _distinct_names(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, str) or len(set(value)) < len(value):
        raise ValueError(f"must be a list of different class names, got {value!r}")


def known_score(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Validate the name of a score (an attrs validator)."""
    if value not in SCORES:
        near = suggestion(value, SCORES) or f"; there are {', '.join(SCORES)}"
        raise ValueError(f"unknown score {value!r}{near}")


@attrs.frozen
class PerClassTask(Task):
    """A task whose channels belong to one class each.

    `grid` replaces the segmenters that validation tries, `best_by` names the score that chooses checkpoints, and
    `balance` gives present and absent voxels of a class the same say in the loss.
    """

    classes: tuple[str, ...] = attrs.field(validator=[non_empty, _distinct_names])
    balance: bool = attrs.field(default=True, kw_only=True)
    grid: tuple[Segmenter, ...] = attrs.field(default=(), kw_only=True)
    best_by: str = attrs.field(default="dice", validator=known_score, kw_only=True)

    @grid.validator
    def _grid_reads_what_is_predicted(self, attribute: attrs.Attribute[Any], value: tuple[Segmenter, ...]) -> None:
        channels = [channel.name for channel in self.output_channels()]
        # without any, `classes` are wrong, which is told there
        found = {n: misread(segmenter, channels, type(self).__name__) for n, segmenter in enumerate(value) if channels}
        wrong = {number: problem for number, problem in found.items() if problem is not None}
        if wrong:
            raise EntryErrors(wrong)

    @abstractmethod
    def default_grid(self) -> tuple[Segmenter, ...]:
        """The segmenters that suit the task."""

    def segmenters(self) -> tuple[Segmenter, ...]:
        return self.grid or self.default_grid()

    @property
    def score(self) -> str:
        return self.best_by
