"""What the report says, and the file that it becomes."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.scores import Score
from dacapo_hd.evaluation.selection import Best
from dacapo_hd.provenance import provenance
from dacapo_hd.report.compare import Comparison, compare, segmenter_label
from dacapo_hd.report.page.assembly import render
from dacapo_hd.report.page.cells import Cells, best_and_worst, cells_of, heat_map
from dacapo_hd.report.page.comparison import table_of
from dacapo_hd.report.page.curves import loss_curves, score_curve
from dacapo_hd.report.page.encoding import encode_all
from dacapo_hd.report.page.plain import short, to_json, without_secrets
from dacapo_hd.report.page.provenance import configs, environments
from dacapo_hd.report.page.segments import described
from dacapo_hd.report.page.viewers import Shown, show
from dacapo_hd.report.segments import segments_of
from dacapo_hd.stores.base import Store, git_sha
from dacapo_hd.stores.rows import RunRecord, ScoreRow
from dacapo_hd.stores.writing import write_atomically
from dacapo_hd.training.progress import BlockProgress

MAX_BYTES = 5_000_000


@attrs.frozen
class Options:
    """What a report holds. `slices_of`: whose best and worst crop is shown, by default that of the first run.

    `device` replaces the runs' own. `baseline` is the run whose group the others are compared with, by default the
    best.
    """

    title: str = "Runs"
    slices: bool = True
    slices_of: tuple[str, ...] = ()
    baseline: str | None = None
    max_bytes: int = MAX_BYTES
    device: str | None = None
    command: tuple[str, ...] = ()
    progress: bool = False


def write_report(store: Store, records: Sequence[RunRecord], score: str, path: Path, options: Options) -> Path:
    """Write a report of runs by a score.

    Raises UserError for an unknown score, for runs of `slices_of` that are not reported, and where it cannot be
    written; what is missing for the slices is said in the report.
    """
    require_writable(path)
    # all scores only to say what there is instead: those of many runs would fill the memory
    rows = {record.name: store.scores(record.name, score=score) or store.scores(record.name) for record in records}
    comparison = compare(records, rows, score)
    document = _document(store, records, comparison, rows, options)
    used = len(_page(document).encode())
    document["slices"] = _slices(store, records, comparison, rows, options, options.max_bytes - used)
    write_atomically(path, _page(document).encode())
    return path


def _page(document: dict[str, Any]) -> str:
    safe = without_secrets(document)
    return render(safe["title"], to_json(safe))


def require_writable(path: Path) -> None:
    """Raise UserError for a name that is not that of a report, before anything is computed."""
    if path.suffix not in (".html", ".htm"):
        raise UserError(f"{path}: a report is an HTML file; end the command with a name such as report.html")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")


def _document(
    store: Store,
    records: Sequence[RunRecord],
    comparison: Comparison,
    rows: dict[str, list[ScoreRow]],
    options: Options,
) -> dict[str, Any]:
    names = [run.name for run in comparison.runs]
    by_name = {record.name: record for record in records}
    ordered = [by_name[name] for name in names]
    score = comparison.score
    cells: dict[str, Cells] = {run.name: cells_of(rows[run.name], run.best, score.name) for run in comparison.runs}
    environment_list, environment_of = environments(ordered)
    texts, text_of = configs(ordered)
    return {
        "title": options.title,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "made_with": provenance(options.command),
        "git_sha": git_sha(),
        "store": str(store),
        "score": _score(score),
        "table": table_of(comparison, options.baseline),
        "runs": [
            _run(store, record, rows[record.name], score.name, environment, texts_of)
            for record, environment, texts_of in zip(ordered, environment_of, text_of, strict=True)
        ],
        "heat": heat_map(names, cells),
        "segments": described(segments_of(store, comparison)),
        "environments": environment_list,
        "texts": texts,
        "slices": {"problem": "", "fidelity": None, "shown": []},
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "name": score.name,
        "unit": score.unit,
        "low": score.low,
        "high": short(score.high),
        "higher_is_better": score.higher_is_better,
        "description": score.description,
    }


def _run(
    store: Store,
    record: RunRecord,
    rows: Sequence[ScoreRow],
    score: str,
    environment: int | None,
    texts: dict[str, int],
) -> dict[str, Any]:
    stats = store.stats(record.name)
    trainer = record.config.get("trainer", {})
    return {
        "name": record.name,
        "seed": record.seed,
        "group": record.group_hash,
        "config_hash": record.config_hash,
        "created": record.created,
        "git_sha": record.git_sha,
        "archived": record.archived,
        "iterations": max((row.iteration for row in stats), default=0),
        "of_iterations": trainer.get("iterations"),
        "command": list(record.provenance.get("command", ())),
        "environment": environment,
        "texts": texts,
        "losses": loss_curves(stats),
        "scores": score_curve(rows, score),
    }


def _slices(
    store: Store,
    records: Sequence[RunRecord],
    comparison: Comparison,
    rows: dict[str, list[ScoreRow]],
    options: Options,
    most_bytes: int,
) -> dict[str, Any]:
    if not options.slices:
        return {"problem": "left out by --no-slices", "fidelity": None, "shown": []}
    chosen = _chosen(comparison, options.slices_of)
    if not chosen:
        return {"problem": "no run has a value of this score", "fidelity": None, "shown": []}
    by_name = {record.name: record for record in records}
    shown: list[Shown] = []
    with BlockProgress("slices", "runs", options.progress) as bar:
        for number, (name, found) in enumerate(chosen.items()):
            crops = best_and_worst(cells_of(rows[name], found, comparison.score.name), comparison.score)
            bar(number, len(chosen))
            shown += show(store, by_name[name], found, crops, segmenter_label(found.segmenter), options.device)
            bar(number + 1, len(chosen))
    fidelity, encoded = encode_all({one.key: one.sections for one in shown if one.sections is not None}, most_bytes)
    if fidelity is None:
        shown = [attrs.evolve(one, problem=one.problem or _too_large(options.max_bytes)) for one in shown]
    return {
        "problem": "",
        "fidelity": attrs.asdict(fidelity) if fidelity and encoded else None,
        "shown": [one.described(encoded.get(one.key)) for one in shown],
    }


def _too_large(max_bytes: int) -> str:
    return f"does not fit into the {max_bytes / 1e6:g} MB of this file; give more with --max-size"


def _chosen(comparison: Comparison, names: Sequence[str]) -> dict[str, Best]:
    bests = {run.name: run.best for run in comparison.runs}
    unknown = [name for name in names if name not in bests]
    if unknown:
        raise UserError(f"--slices-of: run {unknown[0]!r} is not one of those reported: {', '.join(bests)}")
    wanted = names or [name for name, found in bests.items() if found is not None][:1]
    return {name: found for name in wanted for found in [bests[name]] if found is not None}
