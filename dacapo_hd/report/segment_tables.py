"""The most uncertain segments of compared runs for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from dacapo_hd.evaluation.scores import SEGMENTS_SCORE
from dacapo_hd.report.segments import RunSegments

if TYPE_CHECKING:
    from rich.console import RenderableType


def segment_tables(found: Sequence[RunSegments], count: int) -> Iterator[RenderableType]:
    """Make a table of the `count` most uncertain segments of each run, and what their ranks say."""
    for one in found:
        segments = one.segments
        title = f"{one.run}, iteration {one.iteration}, {one.segmenter}: the most uncertain of {one.of} segments"
        table = Table(title=title if one.is_best else f"{title} (of the segmenter that the task's score chose)")
        for header in ("crop", "class"):
            table.add_column(header, overflow="fold")
        for header in ("segment", "voxels", "µm³", f"mean {one.quantity}", "error", "IoU"):
            table.add_column(header, justify="right")
        for segment in segments[:count]:
            crop = segment.crop if segment.part == "validate" else f"{segment.crop} ({segment.part})"
            numbers = (f"{segment.volume_um3:.4g}", f"{segment.uncertainty:.4g}")
            shares = (f"{segment.error:.4f}", f"{segment.iou:.4f}")
            cells = (crop, segment.class_name, str(segment.id), str(segment.voxels), *numbers, *shares)
            table.add_row(*map(Text, cells))
        yield table
        values = [row.value for row in one.rows if not math.isnan(row.value)]
        mean = math.fsum(values) / len(values) if values else math.nan
        note = f"{one.run}: {SEGMENTS_SCORE} {mean:.4f}, the mean over crops and classes"
        kept = f"; {len(segments)} largest of {one.of} segments are stored" if len(segments) < one.of else ""
        yield Text(note + kept)
