"""The comparison of runs as the report's tables: the only place that knows what a comparison holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacapo_hd.evaluation.statistics import Summary
from dacapo_hd.report.compare import PART_NAMES, ComparedGroup, ComparedRun, Comparison
from dacapo_hd.report.differences import ComparedPair, compare_pairs, counts, pair_notes
from dacapo_hd.report.page.plain import short, shorts


def table_of(comparison: Comparison, baseline: str | None = None) -> dict[str, Any]:
    """Return groups and runs in the order of the comparison; see docs/report.md.

    The other groups are compared with that of the run `baseline`, by default with the best one.
    """
    against = comparison.group_of(baseline) if baseline else comparison.groups[0]
    names = [against.runs[0].name, *(group.runs[0].name for group in comparison.groups if group is not against)]
    pairs = compare_pairs(comparison, names)
    by_group = {pair.group: pair for pair in pairs}
    notes = [*comparison.notes, *pair_notes(pairs)]
    if baseline is None and len(comparison.groups) > 1:
        best_of = f"the best of {len(comparison.groups)} by these values, which flatter it"
        notes.append(f"differences are from {against.name}, {best_of}")
    return {
        "keys": list(comparison.keys),
        "group_keys": list(comparison.group_keys),
        "baseline": against.name,
        "groups": [_group(group, by_group.get(group.name)) for group in comparison.groups],
        "rows": [_row(run) for run in comparison.runs],
        "notes": notes,
    }


def _group(group: ComparedGroup, pair: ComparedPair | None) -> dict[str, Any]:
    return {
        "name": group.name,
        "runs": [run.name for run in group.runs],
        "mean": short(group.summary.mean) if group.summary else None,
        "deviation": short(group.summary.deviation) if group.summary else None,
        "counts": _counts(group),
        "classes": {name: _summary(found) for name, found in group.per_class.items()},
        "differing": dict(group.differing),
        "difference": _difference(pair) if pair else None,
    }


def _counts(group: ComparedGroup) -> str:
    seeds, crops = (len(group.summary.seeds), len(group.summary.crops)) if group.summary else (0, 0)
    return f"{seeds} x {crops} {PART_NAMES[group.part]}"


def _summary(found: Summary) -> Mapping[str, float | None]:
    return {"mean": short(found.mean), "deviation": short(found.deviation)}


def _difference(pair: ComparedPair) -> dict[str, Any]:
    found = pair.difference
    return {
        "value": short(found.value) if found else None,
        "interval": shorts(found.interval) if found and found.interval else None,
        "counts": counts(found) if found else "",
        "verdict": pair.verdict,
    }


def _row(run: ComparedRun) -> dict[str, Any]:
    found = run.outcome
    return {
        "name": run.name,
        "value": short(found.value) if found else None,
        "iteration": found.chosen.iteration if found else None,
        "segmenter": run.segmenter,
        "crops": f"{run.crops} {PART_NAMES[found.part]}" if found else "0",
        "seeds": run.seeds,
        "classes": {name: short(value) for name, value in run.per_class.items()},
        "differing": dict(run.differing),
        "why_none": run.why_none,
    }
