"""The comparison of runs as the report's table: the only place that knows what a comparison holds."""

from __future__ import annotations

from typing import Any

from dacapo_hd.report.compare import ComparedRun, Comparison
from dacapo_hd.report.page.plain import short


def table_of(comparison: Comparison) -> dict[str, Any]:
    """Return rows in the order of the comparison; see docs/report.md."""
    return {
        "keys": list(comparison.keys),
        "rows": [_row(run) for run in comparison.runs],
        "notes": list(comparison.notes),
    }


def _row(run: ComparedRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "value": short(run.best.value) if run.best else None,
        "iteration": run.best.iteration if run.best else None,
        "segmenter": run.segmenter,
        "crops": run.crops,
        "seeds": run.seeds,
        "classes": {name: short(value) for name, value in run.per_class.items()},
        "differing": dict(run.differing),
        "why_none": run.why_none,
    }
