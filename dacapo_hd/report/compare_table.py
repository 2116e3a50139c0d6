"""The comparison for the terminal: a line per group or per run, paired differences, notes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from dacapo_hd.report.compare import (
    PART_NAMES,
    ComparedGroup,
    ComparedRun,
    Comparison,
    format_summary,
    format_value,
)
from dacapo_hd.report.config_keys import NOTHING
from dacapo_hd.report.differences import ComparedPair, counts, format_difference, pair_notes

if TYPE_CHECKING:
    from rich.console import RenderableType


def tables(
    comparison: Comparison, pairs: Sequence[ComparedPair] = (), per_class: bool = False, each: bool = False
) -> Iterator[RenderableType]:
    """Make what is printed: the table of groups, or with `each` of runs, that of differences, and the notes."""
    yield _run_table(comparison, per_class) if each else _group_table(comparison, per_class)
    if pairs:
        yield _pair_table(pairs, comparison)
    spreads = comparison.spreads if each else ()
    missing = [f"{run.name}: {run.why_none}" for run in comparison.runs if run.why_none]
    for note in (*missing, *spreads, *comparison.notes, *pair_notes(pairs)):
        yield Text(note)


def to_text(
    comparison: Comparison,
    pairs: Sequence[ComparedPair] = (),
    per_class: bool = False,
    each: bool = False,
    width: int = 200,
) -> str:
    """Make the same as plain text."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None)
    for part in tables(comparison, pairs, per_class, each):
        console.print(part, soft_wrap=isinstance(part, Text))
    return text.getvalue()


def _new_table(comparison: Comparison) -> Table:
    score = comparison.score
    direction = "higher" if score.higher_is_better else "lower"
    return Table(title=f"{score.name} ({direction} is better): {score.description}")


def _run_table(comparison: Comparison, per_class: bool) -> Table:
    score, table = comparison.score, _new_table(comparison)
    classes = sorted({name for run in comparison.runs for name in run.per_class}) if per_class else []
    table.add_column("run", overflow="fold")
    for header in (score.name, "iteration"):
        table.add_column(header, no_wrap=True)
    for header in ("segmenter", "crops", "seeds", *classes, *comparison.keys):
        table.add_column(header, overflow="fold")
    for run in comparison.runs:
        means = run.per_class
        cells = [run.name, *_value_cells(run, comparison), run.segmenter, _crops(run), str(run.seeds)]
        cells += [format_value(means[name], score) if name in means else NOTHING for name in classes]
        # as Text, because a config may hold the brackets of rich's markup
        table.add_row(*(Text(cell) for cell in [*cells, *(run.differing[key] for key in comparison.keys)]))
    return table


def _value_cells(run: ComparedRun, comparison: Comparison) -> list[str]:
    if run.outcome is None:
        return [NOTHING, NOTHING]
    return [format_value(run.outcome.value, comparison.score), str(run.outcome.chosen.iteration)]


def _crops(run: ComparedRun) -> str:
    return f"{run.crops} {PART_NAMES[run.outcome.part]}" if run.outcome else str(run.crops)


def _group_table(comparison: Comparison, per_class: bool) -> Table:
    score, table = comparison.score, _new_table(comparison)
    classes = sorted({name for group in comparison.groups for name in group.per_class}) if per_class else []
    table.add_column("runs", overflow="fold")
    table.add_column(f"{score.name} ± sd", no_wrap=True)
    for header in ("seeds x crops", "iteration", "segmenter", *classes, *comparison.group_keys):
        table.add_column(header, overflow="fold")
    for group in comparison.groups:
        means = group.per_class
        cells = [group.name, format_summary(group.summary, score) if group.summary else NOTHING, _extent(group)]
        cells += _chosen(group)
        cells += [format_summary(means[name], score) if name in means else NOTHING for name in classes]
        table.add_row(*(Text(cell) for cell in [*cells, *(group.differing[key] for key in comparison.group_keys)]))
    return table


def _extent(group: ComparedGroup) -> str:
    """Write n seeds x n crops, and which crops they are."""
    if group.summary is None:
        return f"{len(group.runs)} x 0"
    return f"{len(group.summary.seeds)} x {len(group.summary.crops)} {PART_NAMES[group.part]}"


def _chosen(group: ComparedGroup) -> list[str]:
    """Write iterations and segmenters in the order of the seeds; what is the same for all, once."""
    iterations = [str(run.best.iteration) if run.best else NOTHING for run in group.runs]
    segmenters = [run.segmenter for run in group.runs]
    return [_once(iterations, ", "), _once(segmenters, "\n")]


def _once(texts: Sequence[str], separator: str) -> str:
    return texts[0] if len(set(texts)) == 1 else separator.join(texts)


def _pair_table(pairs: Sequence[ComparedPair], comparison: Comparison) -> Table:
    score = comparison.score
    table = Table(title=f"{score.name}: differences from {pairs[0].baseline}")
    headers = ["runs", "class", "difference", "95 % interval", "seeds x crops", "verdict"]
    by_class = any(pair.class_name for pair in pairs)
    for header in headers if by_class else [header for header in headers if header != "class"]:
        table.add_column(header, overflow="fold")
    for pair in pairs:
        found = pair.difference
        cells = [pair.group, *([pair.class_name or "mean"] if by_class else [])]
        if found is None:
            cells += [NOTHING, NOTHING, NOTHING]
        else:
            interval = " to ".join(format_difference(bound, score) for bound in found.interval or ())
            cells += [format_difference(found.value, score), interval or NOTHING, counts(found)]
        table.add_row(*map(Text, [*cells, pair.verdict]))
    return table
