"""What keeps the segmenters of a task from scoring it, told before training."""

from __future__ import annotations

from collections.abc import Sequence

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.geometry import Grid
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.segmentation.reading import problem_with_volume, unreadable
from dacapo_hd.tasks.base import Task


def problems_with_segmenters(task: Task) -> list[str]:
    """Say which segmenters cannot read what the task predicts, each in one line."""
    channels = [channel.name for channel in task.output_channels()]
    found = (unreadable(segmenter, channels, type(task).__name__) for segmenter in task.segmenters())
    return [f"task: {problem}" for problem in dict.fromkeys(found) if problem is not None]


def problems_with_volume(
    task: Task, segmenters: Sequence[Segmenter], architecture: Architecture, grid: Grid
) -> list[str]:
    """Say what keeps the task from being predicted and segmented in a volume of this grid, each in one line."""
    problems = task.problems_with(architecture, grid.voxel_size_nm, grid.shape_vx)
    if problems:
        # the segmenters would say the same of each of themselves
        return problems
    channels = [channel.name for channel in task.output_channels()]
    found = (problem_with_volume(segmenter, channels, grid.voxel_size_nm, grid.shape_vx) for segmenter in segmenters)
    return [f"task: {problem}" for problem in dict.fromkeys(found) if problem is not None]
