"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from dacapo_hd.stores.base import ScoreRow, Store

if TYPE_CHECKING:
    from dacapo_hd.report.compare import Comparison


def console() -> Console:
    """Return a console on stdout that keeps long tables readable when the output is not a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=200)


def print_runs(store: Store) -> None:
    """List a store's runs with how far they are."""
    records = store.runs()
    if not records:
        console().print(f"{store} has no runs; train one with `dacapo-hd train FILE`", highlight=False)
        return
    table = Table("run", "task", "datasplit", "seed", "iterations", "validated", "config", "created")
    for record in records:
        trained = max((row.iteration for row in store.stats(record.name)), default=0)
        validated = len({row.iteration for row in store.scores(record.name)})
        table.add_row(
            record.name,
            str(record.config["task"]["type"]),
            str(record.config["datasplit"]["type"]),
            str(record.seed),
            f"{trained}/{record.config['trainer']['iterations']}",
            str(validated),
            record.config_hash[:8],
            record.created[:16],
        )
    console().print(table)


def print_scores(rows: Sequence[ScoreRow]) -> None:
    """Print the scores of one validation: a line per segmenter, class and crop, a column per score."""
    from dacapo_hd.report.compare import segmenter_label

    scores = list(dict.fromkeys(row.score for row in rows))
    lines: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        lines.setdefault((row.segmenter, row.class_name, row.crop), {})[row.score] = row.value
    table = Table("segmenter", "class", "crop", *scores)
    for (segmenter, class_name, crop), values in lines.items():
        table.add_row(
            segmenter_label(segmenter),
            class_name,
            crop,
            *(f"{values[score]:.4f}" if score in values else "" for score in scores),
        )
    console().print(table)


def print_comparison(comparison: Comparison, per_class: bool = False) -> None:
    """Print the comparison of runs."""
    from dacapo_hd.report.compare import to_table

    console().print(to_table(comparison, per_class=per_class))
