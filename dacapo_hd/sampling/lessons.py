"""What samples teach: for each channel of each target, how many voxels count, which, and with what values."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.sampling.pipeline import Sample, SamplePipeline
from dacapo_hd.sampling.recipe import Recipe
from dacapo_hd.tasks.base import Lesson, Target

# so many voxels of labels are looked at, in at least 4 and at most 32 samples
_VOXELS = 1 << 23
_FEWEST, _MOST = 4, 32


def lessons(recipe: Recipe) -> tuple[int, tuple[Lesson, ...]]:
    """Draw samples through the pipeline that trains; returns how many, and a lesson for each channel."""
    windows = recipe.windows
    voxels = prod(n + 2 * c for n, c in zip(windows.output.shape, windows.context_vx, strict=True))
    count = min(max(_VOXELS // voxels, _FEWEST), _MOST)
    pipeline = SamplePipeline(recipe)
    tallies: dict[tuple[str, str], _Tally] = {}
    for index in range(count):
        for target, channel, tally in _tallies(pipeline.sample(index)):
            tallies.setdefault((target, channel), _Tally()).add(tally)
    return count, tuple(tally.lesson(*key) for key, tally in tallies.items())


@attrs.define
class _Tally:
    """Numbers of voxels, and extreme values."""

    voxels: int = 0
    known: int = 0
    known_present: int = 0
    counted: int = 0
    present: int = 0
    absent: int = 0
    low: float = np.inf
    high: float = -np.inf
    inside_low: float = np.inf
    inside_high: float = -np.inf

    def add(self, other: _Tally) -> None:
        for name in ("voxels", "known", "known_present", "counted", "present", "absent"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.low, self.inside_low = min(self.low, other.low), min(self.inside_low, other.inside_low)
        self.high, self.inside_high = max(self.high, other.high), max(self.inside_high, other.inside_high)

    def lesson(self, target: str, channel: str) -> Lesson:
        def share(part: int, whole: int) -> float:
            return part / whole if whole else np.nan

        extremes = (self.low, self.high, self.inside_low, self.inside_high)
        return Lesson(
            target,
            channel.partition("/")[0],
            channel,
            share(self.known, self.voxels),
            share(self.counted, self.voxels),
            share(self.present, self.counted),
            share(self.absent, self.counted),
            share(self.present, self.known_present),
            share(self.absent, self.known - self.known_present),
            *(value if np.isfinite(value) else np.nan for value in extremes),
        )


def _tallies(sample: Sample) -> Iterator[tuple[str, str, _Tally]]:
    for name, target in sample.targets.items():
        for number, channel in enumerate(target.channels):
            class_name = channel.partition("/")[0]
            # some channels are about no class, such as the edges of voxels
            if class_name in sample.labels.classes:
                yield name, channel, _tally(sample.labels, target, number, class_name)


def _tally(labels: LabelBlock, target: Target, number: int, class_name: str) -> _Tally:
    place = labels.classes.index(class_name)
    # a weight for each channel, or one for all channels of a class
    per_channel = len(target.weight) == len(target.value)
    counts = target.weight[number if per_channel else min(place, len(target.weight) - 1)] > 0
    known, present = labels.known[place], labels.present[place]
    inside = counts & present
    values, inner = target.value[number][counts], target.value[number][inside]
    return _Tally(
        counts.size,
        int(known.sum()),
        int(present.sum()),
        int(counts.sum()),
        int(inside.sum()),
        int((counts & labels.absent[place]).sum()),
        *_extremes(values),
        *_extremes(inner),
    )


def _extremes(values: NDArray[np.float32]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (np.inf, -np.inf)
