"""Tables on the terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from dacapo_hd.stores.base import DamageError, Store
from dacapo_hd.stores.rows import RunRecord, ScoreRow
from dacapo_hd.stores.weights import listed_checkpoints

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dacapo_hd.inference import SegmentedCount
    from dacapo_hd.report.compare import Comparison
    from dacapo_hd.report.differences import ComparedPair
    from dacapo_hd.report.query import Selected
    from dacapo_hd.report.segments import RunSegments


def console() -> Console:
    """Return a console on stdout that keeps long tables readable when the output is not a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=200)


logger = logging.getLogger(__name__)


class ByteBar:
    """Shows how much of a run's weights is read; a context manager, hidden where there is no terminal."""

    def __init__(self, visible: bool = True) -> None:
        shown = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=shown,
            transient=True,
            redirect_stdout=False,
            disable=not (visible and shown.is_terminal),
        )

    def __enter__(self) -> ByteBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, name: str, total_bytes: int) -> Callable[[int], None]:
        """Begin a run; returns what to call with the number of bytes that are done."""
        for earlier in self._bar.task_ids:
            self._bar.remove_task(earlier)
        task = self._bar.add_task(name, total=total_bytes)
        return lambda count: self._bar.advance(task, count)

    def print(self, line: str) -> None:
        """Print a line on stdout, above the bar on stderr."""
        self._bar.stop()
        print(line, flush=True)
        self._bar.start()


def format_bytes(count: int) -> str:
    """Write a number of bytes with a decimal unit."""
    size, units = float(count), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 1000 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """Write a number of things, as `1 run` or `1,200 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def print_runs(store: Store, selection: Selected | None = None) -> None:
    """List a store's runs with how far they are, without reading their statistics, which may be millions.

    Of a selection, only those that it holds, with their values by the scores that its query compares.
    """
    records = store.runs() if selection is None else selection.records
    if not records:
        _print_none(store, selection)
        return
    scores = selection.scores if selection else [{} for _ in records]
    lines = [[*_described(store, one), *_values(found)] for one, found in zip(records, scores, strict=True)]
    table = Table()
    for header in ("run", "task", "seed"):
        table.add_column(header, overflow="fold")
    for header in ("iterations", "checkpoints", "created", *scores[0]):
        table.add_column(header, no_wrap=True)
    archived = [bool(record.archived) for record in records]
    for part in (False, True):
        for line, is_archived in zip(lines, archived, strict=True):
            if is_archived == part:
                table.add_row(*map(Text, line))
        table.add_section()
    console().print(table)
    if any(archived):
        note = f"{counted(sum(archived), 'archived run')} at the end; `compare` leaves them out unless they are named"
        console().print(note, highlight=False, soft_wrap=True)


def _print_none(store: Store, selection: Selected | None) -> None:
    if selection is None or not store.names():
        note = f"{store} has no runs; train one with `dacapo-hd train FILE`"
    else:
        note = "\n".join([f"no run fulfils {selection.query.text}", *selection.hints])
    console().print(note, highlight=False, markup=False, soft_wrap=True)


def _values(scores: Mapping[str, float | None]) -> Iterator[str]:
    from dacapo_hd.evaluation.scores import score_named
    from dacapo_hd.report.compare import format_value

    for score, value in scores.items():
        yield "-" if value is None else format_value(value, score_named(score))


def _described(store: Store, record: RunRecord) -> list[str]:
    checkpoints = listed_checkpoints(store, record.name)
    return [
        record.name,
        str(record.config["task"]["type"]),
        str(record.seed),
        f"{_iterations(store, record.name)}/{record.config['trainer']['iterations']}",
        f"{len(checkpoints)} ({format_bytes(sum(row.bytes for row in checkpoints))})",
        record.created[:10],
    ]


def _iterations(store: Store, name: str) -> str:
    try:
        return str(store.newest_iteration(name))
    except DamageError as error:
        logger.warning("%s", error.problems[0])
        return "?"


def print_scores(
    rows: Sequence[ScoreRow], score: str, everything: bool = False, counts: Sequence[SegmentedCount] = ()
) -> None:
    """Print the scores of one validation, a line per class and crop: of the best segmenter by a score, or of all.

    `counts` say how much each segmenter has found.
    """
    from dacapo_hd.evaluation.selection import best
    from dacapo_hd.report.compare import segmenter_label

    found = best(rows, score)
    segmenters = list(dict.fromkeys(row.segmenter for row in rows))
    for segmenter in [found.segmenter] if found and not everything else segmenters:
        chosen = [row for row in rows if row.segmenter == segmenter]
        _print_score_tables(segmenter_label(segmenter), chosen, score)
        for count in counts:
            if count.segmenter == segmenter:
                console().print(str(count), highlight=False, soft_wrap=True, markup=False)
    if found is None:
        note = f"{score} is undefined on the validation crops: no segmenter is the best"
    else:
        note = f"{segmenter_label(found.segmenter)} is the best of {counted(len(segmenters), 'segmenter')} by {score}, "
        note += f"whose mean is {found.value:.4f}{'' if everything else '; --all shows the others'}"
    console().print(note, highlight=False, soft_wrap=True)


def _print_score_tables(title: str, rows: Sequence[ScoreRow], first: str) -> None:
    """Print a table, or several where one would be wider than the terminal."""
    lines: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        crop = row.crop if row.part == "validate" else f"{row.crop} ({row.part})"
        lines.setdefault((row.class_name, crop), {})[row.score] = row.value
    out = console()
    scores = sorted(dict.fromkeys(row.score for row in rows), key=lambda score: score != first)
    for part in _parts_that_fit(
        scores, out.width - sum(max(map(len, texts)) + 4 for texts in zip(*lines, strict=True))
    ):
        table = Table("class", "crop", title=title)
        for score in part:
            table.add_column(score.replace("_", "\n"), justify="right")
        for (class_name, crop), values in lines.items():
            cells = (f"{values[score]:.4f}" if score in values else "" for score in part)
            table.add_row(Text(class_name), Text(crop), *cells)
        out.print(table)


def _parts_that_fit(scores: Sequence[str], width: int) -> list[list[str]]:
    """Divide columns into groups that are not wider than `width`, or have one column; headers break between words."""
    parts: list[list[str]] = []
    left = 0
    for score in scores:
        needed = max(len("0.0000"), *map(len, score.split("_"))) + 3
        if not parts or needed > left:
            parts.append([])
            left = width
        parts[-1].append(score)
        left -= needed
    return parts


def print_comparison(
    comparison: Comparison, pairs: Sequence[ComparedPair] = (), per_class: bool = False, each: bool = False
) -> None:
    """Print the comparison of groups, or with `each` of runs."""
    from dacapo_hd.report.compare_table import tables

    _print_parts(tables(comparison, pairs, per_class, each))


def print_segments(comparison: Comparison, found: Sequence[RunSegments], count: int) -> None:
    """Print the `count` most uncertain segments of each run, and which runs have none."""
    from dacapo_hd.report.segment_tables import segment_tables
    from dacapo_hd.report.segments import without_segments

    _print_parts(segment_tables(found, count))
    _print_parts(map(Text, without_segments(comparison, found)))


def _print_parts(parts: Iterable[RenderableType]) -> None:
    out = console()
    for part in parts:
        out.print(part, highlight=False, soft_wrap=isinstance(part, Text))
