"""What a command would do: blocks, bytes, memory, disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from dacapo_hd.application.roi import format_bytes
from dacapo_hd.blockwise import BlockGrid, Compute
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import format_shape
from dacapo_hd.prediction.plan import Plan
from dacapo_hd.segmentation import InstanceSegmenter, SeededSegmenter, Segmenter

# a pyramid that halves each axis has at most 1 + 1/8 + 1/64 + ... of its finest level; one that halves two, more
LEVELS = 4 / 3
# instances are numbered per block before they are stitched, in uint32; seeds are stitched first, and kept
PIECES_BYTES = 4
SEEDED_PIECES_BYTES = 3 * PIECES_BYTES


@attrs.frozen
class Estimate:
    """The size of an `apply`, before compression."""

    plan: Plan
    grid: BlockGrid
    compute: Compute
    output: Path
    segmenter: Segmenter
    labels: Mapping[str, np.dtype[Any]]

    @property
    def disk_bytes(self) -> float:
        """At most so many bytes lie on the disk at once."""
        lasting = self.plan.write_bytes(self.grid) + self.grid.voxels * sum(d.itemsize for d in self.labels.values())
        passing = 0
        if isinstance(self.segmenter, InstanceSegmenter):
            seeded = isinstance(self.segmenter, SeededSegmenter)
            passing = self.grid.voxels * len(self.labels) * (SEEDED_PIECES_BYTES if seeded else PIECES_BYTES)
        return LEVELS * lasting + passing

    def lines(self) -> list[str]:
        """Say it in words."""
        grid, plan, workers = self.grid, self.plan, self.compute.workers
        return [
            f"blocks: {len(grid)} of up to {format_shape(grid.length)} voxels, {grid.voxels / 1e6:.4g} Mvoxels in all",
            f"read: {format_bytes(plan.read_bytes(grid))} of raw data, context included, before compression",
            f"write: {format_bytes(plan.write_bytes(grid))} of predictions before compression",
            f"memory: about {format_bytes(plan.worker_bytes(grid))} for each of {workers} workers"
            if workers > 1
            else f"memory: about {format_bytes(plan.worker_bytes(grid))}",
            f"disk: at most {format_bytes(self.disk_bytes)} with segmentation and pyramids, before compression; "
            f"{format_bytes(self.free_bytes)} free at {self._place}",
        ]

    def require_disk(self) -> None:
        """Raise UserError if the disk has too little."""
        if self.disk_bytes > self.free_bytes:
            raise UserError(
                f"{self._place} has {format_bytes(self.free_bytes)} free, but up to {format_bytes(self.disk_bytes)} "
                "are needed; give another OUTPUT, or a smaller --roi"
            )

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self._place).free

    @property
    def _place(self) -> Path:
        """The nearest folder that exists."""
        absolute = self.output.absolute()
        return next(folder for folder in (absolute, *absolute.parents) if folder.is_dir())
