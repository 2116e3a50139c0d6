"""Segments of compared runs: how uncertain each one is, next to its error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from dacapo_hd.evaluation.scores import SEGMENTS_SCORE
from dacapo_hd.evaluation.segments import SegmentTable
from dacapo_hd.report.compare import ComparedRun, Comparison, segmenter_label
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.rows import ScoreRow

NM3_PER_UM3 = 1e9


@attrs.frozen
class Segment:
    """One segment of a crop; see `evaluation.segments.SegmentTable`."""

    part: str
    crop: str
    class_name: str
    id: int
    voxels: int
    volume_um3: float
    uncertainty: float
    error: float
    iou: float


@attrs.frozen
class RunSegments:
    """What is stored of the segments of a run's best iteration.

    They are of the segmenter that was best by the task's score, which need not be the best by the one that is compared;
    `is_best` tells. `rows` are its rows with segments, of `of` segments in all.
    """

    run: str
    iteration: int
    segmenter: str
    is_best: bool
    rows: tuple[ScoreRow, ...]

    @property
    def tables(self) -> tuple[tuple[ScoreRow, SegmentTable], ...]:
        """The segments of each crop and class."""
        return tuple((row, row.segments) for row in self.rows if row.segments is not None)

    @property
    def of(self) -> int:
        """How many segments there were."""
        return sum(table.of for _, table in self.tables)

    @property
    def quantity(self) -> str:
        """What the uncertainty is the mean of."""
        return ", ".join(dict.fromkeys(table.quantity for _, table in self.tables))

    @property
    def segments(self) -> list[Segment]:
        """All that are stored, by falling uncertainty."""
        found = [segment for row, table in self.tables for segment in _segments(row, table)]
        return sorted(
            found, key=lambda one: (-one.uncertainty, -one.voxels, one.part, one.crop, one.class_name, one.id)
        )


def _segments(row: ScoreRow, table: SegmentTable) -> Iterator[Segment]:
    columns = (table.id, table.voxels, table.uncertainty, table.error, table.iou)
    for number, voxels, *values in zip(*columns, strict=True):
        volume = voxels * table.voxel_nm3 / NM3_PER_UM3
        yield Segment(row.part, row.crop, row.class_name, number, voxels, volume, *values)


def segments_of(store: Store, comparison: Comparison) -> list[RunSegments]:
    """Return the segments of each compared run that has some, in the comparison's order."""
    found = (_of_run(store, run) for run in comparison.runs)
    return [one for one in found if one is not None]


def _of_run(store: Store, run: ComparedRun) -> RunSegments | None:
    best = run.best
    if best is None:
        return None
    stored = store.scores(run.name, iteration=best.iteration, score=SEGMENTS_SCORE)
    rows = [row for row in stored if row.segments is not None]
    segmenters = sorted({row.segmenter for row in rows}, key=lambda one: (one != best.segmenter, one))
    if not segmenters:
        return None
    chosen = tuple(row for row in rows if row.segmenter == segmenters[0])
    return RunSegments(
        run.name,
        best.iteration,
        segmenter_label(segmenters[0]),
        segmenters[0] == best.segmenter,
        tuple(sorted(chosen, key=lambda row: (row.part != "validate", row.part, row.crop, row.class_name))),
    )


def without_segments(comparison: Comparison, found: Sequence[RunSegments]) -> list[str]:
    """Say of which compared runs there are none, and why."""
    known = {one.run for one in found}
    return [
        f"{run.name}: no segments are stored of iteration {run.best.iteration}: its task predicts no uncertainty "
        "(LatentMasks does with mask_variance in `predict`), or its own score chose no segmenter there, or it was "
        f"scored by an older version; `dacapo-hd validate {run.name} --iteration {run.best.iteration}` scores it again"
        for run in comparison.runs
        if run.best is not None and run.name not in known
    ]


def to_dict(segment: Segment) -> dict[str, Any]:
    """Return a segment as `compare --json` has it."""
    values = attrs.asdict(segment)
    return {"class" if name == "class_name" else name: value for name, value in values.items()}
