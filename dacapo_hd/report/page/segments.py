"""Segments of each run, in columns: how uncertain they are, next to their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dacapo_hd.report.page.plain import short, shorts
from dacapo_hd.report.segments import RunSegments

MOST_OF_RUN = 1000
MOST_OF_ALL = 20_000


def described(found: Sequence[RunSegments]) -> list[dict[str, Any]]:
    """Return what the document says of segments: of each run at most 1000, the largest ones, by falling uncertainty."""
    most = min(MOST_OF_RUN, MOST_OF_ALL // max(len(found), 1))
    return [_run(one, most) for one in found]


def _run(found: RunSegments, most: int) -> dict[str, Any]:
    places = {(row.part, row.crop, row.class_name): number for number, (row, _) in enumerate(found.tables)}
    every = found.segments
    largest = sorted(range(len(every)), key=lambda number: -every[number].voxels)[:most]
    segments = [every[number] for number in sorted(largest)]
    return {
        "run": found.run,
        "iteration": found.iteration,
        "segmenter": found.segmenter,
        "is_best": found.is_best,
        "quantity": found.quantity,
        "of": found.of,
        "crops": [
            {"part": row.part, "name": row.crop, "class": row.class_name, "correlation": short(row.value)}
            for row, _ in found.tables
        ],
        "crop": [places[one.part, one.crop, one.class_name] for one in segments],
        "id": [one.id for one in segments],
        "voxels": [one.voxels for one in segments],
        "um3": shorts(one.volume_um3 for one in segments),
        "uncertainty": shorts(one.uncertainty for one in segments),
        "error": shorts(one.error for one in segments),
        "iou": shorts(one.iou for one in segments),
    }
