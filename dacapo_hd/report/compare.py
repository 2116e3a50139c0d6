"""Runs side by side: what each reached by one score, and only what differs in their configs."""

from __future__ import annotations

import io
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.scores import Score, score_named
from dacapo_hd.evaluation.selection import Best, best
from dacapo_hd.report.config_keys import NOTHING, differing_keys
from dacapo_hd.stores.rows import RunRecord, ScoreRow

if TYPE_CHECKING:
    from rich.table import Table


@attrs.frozen
class ComparedRun:
    """One run's line; where `best` is None, `why_none` says why.

    `seeds` counts the compared runs with a value that differ from this one by the seed alone, this one included;
    `differing` has a text for every key of the comparison's `keys`.
    """

    name: str
    best: Best | None
    segmenter: str
    seeds: int
    differing: Mapping[str, str]
    why_none: str = ""

    @property
    def crops(self) -> int:
        """How many crops the value is a mean over."""
        return len({crop for crop, _ in self.best.cells}) if self.best else 0

    @property
    def per_class(self) -> dict[str, float]:
        """The best candidate's mean over crops for each class."""
        values: dict[str, list[float]] = {}
        for (_, class_name), value in (self.best.cells if self.best else {}).items():
            values.setdefault(class_name, []).append(value)
        return {class_name: statistics.fmean(found) for class_name, found in values.items()}


@attrs.frozen
class Comparison:
    """Runs, best first and those without a value last; `notes` are what a reader must know before believing it."""

    score: Score
    runs: tuple[ComparedRun, ...]
    keys: tuple[str, ...]
    notes: tuple[str, ...]


def compare(records: Sequence[RunRecord], rows_by_run: Mapping[str, Sequence[ScoreRow]], score: str) -> Comparison:
    """Compare runs by each one's best (iteration, segmenter) by a score.

    `rows_by_run` holds each run's score rows by its name. Raises UserError for an unknown score.
    """
    meaning = score_named(score)
    rows = {record.name: list(rows_by_run.get(record.name, ())) for record in records}
    bests = {name: best(found, score) for name, found in rows.items()}
    keys, differing = differing_keys(records)
    groups = _groups(records, bests)
    runs = [
        ComparedRun(
            record.name,
            found,
            segmenter_label(found.segmenter) if found else NOTHING,
            len(groups.get(record.group_hash, ())),
            differing[record.name],
            "" if found else _why_none(rows[record.name], score),
        )
        for record in records
        for found in [bests[record.name]]
    ]
    sign = -1 if meaning.higher_is_better else 1
    runs.sort(key=lambda run: (sign * run.best.value if run.best else math.inf, run.name))
    return Comparison(meaning, tuple(runs), keys, (*_spreads(records, groups, meaning), *_doubts(runs, rows, meaning)))


def to_table(comparison: Comparison, per_class: bool = False) -> Table:
    """Make the table for the terminal, a run per line, the notes below."""
    from rich.table import Table
    from rich.text import Text

    score = comparison.score
    direction = "higher" if score.higher_is_better else "lower"
    classes = sorted({name for run in comparison.runs for name in run.per_class}) if per_class else []
    notes = [f"{run.name}: {run.why_none}" for run in comparison.runs if run.why_none] + list(comparison.notes)
    table = Table(
        title=f"{score.name} ({direction} is better): {score.description}",
        caption=Text("\n".join(notes)) if notes else None,
        caption_justify="left",
    )
    table.add_column("run", overflow="fold")
    for header in (score.name, "iteration"):
        table.add_column(header, no_wrap=True)
    for header in ("segmenter", "crops", "seeds", *classes, *comparison.keys):
        table.add_column(header, overflow="fold")
    for run in comparison.runs:
        value = format_value(run.best.value, score) if run.best else NOTHING
        iteration = str(run.best.iteration) if run.best else NOTHING
        cells = [run.name, value, iteration, run.segmenter, str(run.crops), str(run.seeds)]
        means = run.per_class
        cells += [format_value(means[name], score) if name in means else NOTHING for name in classes]
        # as Text, because a config may hold the brackets of rich's markup
        table.add_row(*(Text(cell) for cell in [*cells, *(run.differing[key] for key in comparison.keys)]))
    return table


def to_text(comparison: Comparison, per_class: bool = False, width: int = 200) -> str:
    """Make the same table as plain text."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(to_table(comparison, per_class))
    return text.getvalue()


def format_value(value: float, score: Score) -> str:
    """Write a score with its unit."""
    return f"{value:.4g} {score.unit}" if score.unit else f"{value:.4f}"


def segmenter_label(canonical: str) -> str:
    """Describe a stored segmenter config (JSON) in short."""
    from dacapo_hd.config import structure
    from dacapo_hd.segmentation.base import Segmenter

    config = json.loads(canonical)
    try:
        return structure(config, Segmenter).label
    except UserError:
        # a segmenter from outside the package need not be importable where tables are made
        kind = config.pop("type", "")
        return f"{kind}({', '.join(f'{name}={value}' for name, value in config.items())})"


def _groups(records: Sequence[RunRecord], bests: Mapping[str, Best | None]) -> dict[str, dict[int, float]]:
    """Return the values by seed of the runs that differ by the seed alone, for each such group."""
    groups: dict[str, dict[int, float]] = {}
    for record in records:
        found = bests[record.name]
        if found:
            groups.setdefault(record.group_hash, {})[record.seed] = found.value
    return groups


def _spreads(records: Sequence[RunRecord], groups: Mapping[str, Mapping[int, float]], score: Score) -> Iterator[str]:
    alone = []
    for group, values in groups.items():
        members = [record.name for record in records if record.group_hash == group and record.seed in values]
        names = ", ".join(sorted(members))
        if len(values) == 1:
            alone.append(names)
            continue
        mean, deviation = statistics.fmean(values.values()), statistics.stdev(values.values())
        yield f"{names}: {len(values)} seeds: {format_value(mean, score)} ± {format_value(deviation, score)}"
    if alone:
        yield f"{', '.join(sorted(alone))}: 1 seed: no spread known"


def _why_none(rows: Sequence[ScoreRow], score: str) -> str:
    if not rows:
        return "not validated yet"
    values = [row.value for row in rows if row.score == score]
    if not values:
        return f"has no {score}, only {', '.join(sorted({row.score for row in rows}))}"
    if all(math.isnan(value) for value in values):
        return f"{score} is undefined in every crop and class"
    return f"no validation has {score} for every crop and class"


def _doubts(runs: Sequence[ComparedRun], rows: Mapping[str, Sequence[ScoreRow]], score: Score) -> Iterator[str]:
    if len({frozenset(run.best.cells) for run in runs if run.best}) > 1:
        yield "the runs were scored on different crops or classes: their values do not compare"
    versions = {row.git_sha for found in rows.values() for row in found if row.score == score.name}
    if len(versions) > 1:
        yield f"the scores were made by different versions of the code: {', '.join(sorted(versions))}"
