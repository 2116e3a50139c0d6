"""A comparison for programs: JSON with everything, CSV with the lines of the table (docs/comparing.md)."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dacapo_hd.evaluation.selection import Cell
from dacapo_hd.evaluation.statistics import CONFIDENCE
from dacapo_hd.report.compare import ComparedGroup, ComparedRun, Comparison
from dacapo_hd.report.differences import ComparedPair, pair_notes
from dacapo_hd.report.segments import RunSegments, to_dict

SCHEMA = 1


def to_json(
    comparison: Comparison,
    pairs: Sequence[ComparedPair] = (),
    segments: Mapping[str, RunSegments] | None = None,
    most_segments: int = 0,
) -> str:
    """Write a comparison as a JSON object; a number that is not there is null.

    With `segments` by the names of runs also the `most_segments` most uncertain ones of each run.
    """
    score = comparison.score
    runs = [_run(run, comparison.group_of(run.name).name) for run in comparison.runs]
    if segments is not None:
        runs = [{**run, "segments": _segments(segments.get(run["name"]), most_segments)} for run in runs]
    document = {
        "schema": SCHEMA,
        "score": {"name": score.name, "unit": score.unit, "higher_is_better": score.higher_is_better},
        "groups": [_group(group) for group in comparison.groups],
        "runs": runs,
        "differences": [_pair(pair) for pair in pairs],
        "notes": [*comparison.notes, *pair_notes(pairs)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(comparison: Comparison, per_class: bool = False, each: bool = False) -> str:
    """Write a line per group, or with `each` per run; a number that is not there is empty."""
    if each:
        lines = [_run_line(run, comparison.group_of(run.name).name) for run in comparison.runs]
        by_class: list[Mapping[str, float]] = [run.per_class for run in comparison.runs]
        configs = [run.differing for run in comparison.runs]
    else:
        lines = [_group_line(group) for group in comparison.groups]
        by_class = [{name: one.mean for name, one in group.per_class.items()} for group in comparison.groups]
        configs = [group.differing for group in comparison.groups]
    classes = sorted({name for means in by_class for name in means}) if per_class else []
    for line, means, config in zip(lines, by_class, configs, strict=True):
        line |= {f"value.{name}": means.get(name) for name in classes}
        line |= {f"config.{key}": text for key, text in config.items()}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _group(group: ComparedGroup) -> dict[str, Any]:
    summary = group.summary
    return {
        "name": group.name,
        "runs": [run.name for run in group.runs],
        "part": group.part,
        "mean": summary.mean if summary else None,
        "deviation": _number(summary.deviation) if summary else None,
        "seeds": list(summary.seeds) if summary else [],
        "crops": list(summary.crops) if summary else [],
        "classes": {
            name: {"mean": found.mean, "deviation": _number(found.deviation)} for name, found in group.per_class.items()
        },
        "config": dict(group.differing),
    }


def _run(run: ComparedRun, group: str) -> dict[str, Any]:
    found = run.outcome
    return {
        "name": run.name,
        "group": group,
        "seed": run.seed,
        "iteration": found.chosen.iteration if found else None,
        "segmenter": json.loads(found.chosen.segmenter) if found else None,
        "part": found.part if found else None,
        "value": found.value if found else None,
        "validate": _cells(found.chosen.cells) if found else [],
        "test": _cells(found.test) if found else [],
        "why_none": run.why_none or None,
        "config": dict(run.differing),
    }


def _segments(found: RunSegments | None, most: int) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "quantity": found.quantity,
        "segmenter": json.loads(found.rows[0].segmenter),
        "of": found.of,
        "most_uncertain": [to_dict(segment) for segment in found.segments[:most]],
    }


def _pair(pair: ComparedPair) -> dict[str, Any]:
    found = pair.difference
    low, high = found.interval if found and found.interval else (None, None)
    return {
        "group": pair.group,
        "baseline": pair.baseline,
        "class": pair.class_name,
        "part": pair.part,
        "difference": found.value if found else None,
        "low": low,
        "high": high,
        "confidence": CONFIDENCE,
        "seeds": [list(seeds) for seeds in found.seeds] if found else [[], []],
        "crops": list(found.crops) if found else [],
        "paired": found.paired if found else None,
        "better": pair.better,
        "verdict": pair.verdict,
    }


def _cells(cells: Mapping[Cell, float]) -> list[dict[str, Any]]:
    return [{"crop": crop, "class": class_name, "value": value} for (crop, class_name), value in cells.items()]


def _group_line(group: ComparedGroup) -> dict[str, Any]:
    found = _group(group)
    return {
        "group": found["name"],
        "part": found["part"],
        "mean": found["mean"],
        "deviation": found["deviation"],
        "seeds": len(found["seeds"]),
        "crops": len(found["crops"]),
        "runs": " ".join(found["runs"]),
        "iterations": " ".join(str(run.best.iteration) if run.best else "-" for run in group.runs),
    }


def _run_line(run: ComparedRun, group: str) -> dict[str, Any]:
    found = run.outcome
    return {
        "run": run.name,
        "group": group,
        "seed": run.seed,
        "part": found.part if found else None,
        "value": found.value if found else None,
        "value_on_selection_crops": found.chosen.value if found else None,
        "crops": run.crops,
        "iteration": found.chosen.iteration if found else None,
        "segmenter": found.chosen.segmenter if found else None,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
