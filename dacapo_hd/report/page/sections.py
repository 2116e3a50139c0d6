"""Sections of one crop as they are shown: raw, truth, prediction and segmentation of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.prediction.predict import predict_in_memory
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.report.slices import channel_of
from dacapo_hd.segmentation.base import Prediction, Segmentation, Segmenter

# what a pixel of `ClassPixels.marks` says
NOTHING, RIGHT, WRONG, MISSED, FOUND_UNKNOWN, NOT_FOUND_UNKNOWN = range(6)

MEMORY_BYTES = 2**31
PERCENTILES = (0.5, 99.5)
COLOURS = 255

Pixels = NDArray[np.uint8]


@attrs.frozen(eq=False)
class ClassPixels:
    """One class in all sections (section, y, x).

    `prediction` is 0..255 for `low`..`high` of the channel, None where the segmenter read no single channel; `truth`
    and `found` number the colours of objects, 0 for none, and are None where there are no objects.
    """

    name: str
    marks: Pixels
    channel: str = ""
    low: float = 0.0
    high: float = 1.0
    prediction: Pixels | None = None
    truth: Pixels | None = None
    found: Pixels | None = None

    def reduced(self, sections: Sequence[int], factor: int) -> ClassPixels:
        """Return fewer sections with pixels `factor` times as long: means of the prediction, single labels."""
        labels = {name: _every(data, sections, factor) for name, data in self._labels().items()}
        prediction = None if self.prediction is None else _means(self.prediction, sections, factor)
        return attrs.evolve(self, **labels, prediction=prediction)  # type: ignore[arg-type]

    def _labels(self) -> dict[str, Pixels]:
        arrays = {"marks": self.marks, "truth": self.truth, "found": self.found}
        return {name: data for name, data in arrays.items() if data is not None}


@attrs.frozen(eq=False)
class Sections:
    """Sections of a crop; `raw` (section, y, x) is 0..255 between two percentiles.

    `numbers` counts the sections from the crop's first one of `of`; `box` says which voxels of the crop they are cut
    from, if not from all of them. A pixel is `factor` voxels long.
    """

    numbers: tuple[int, ...]
    of: int
    depths_nm: tuple[float, ...]
    voxel_size_nm: tuple[float, ...]
    factor: int
    raw: Pixels
    classes: tuple[ClassPixels, ...]
    box: tuple[tuple[int, int], ...] | None = None

    def reduced(self, count: int, longest: int) -> Sections:
        """Return at most `count` sections whose longer side has at most `longest` pixels."""
        kept = spread(len(self.numbers), count)
        factor = -(-max(self.raw.shape[1:]) // longest)
        return attrs.evolve(
            self,
            numbers=tuple(self.numbers[n] for n in kept),
            depths_nm=tuple(self.depths_nm[n] for n in kept),
            factor=self.factor * factor,
            raw=_means(self.raw, kept, factor),
            classes=tuple(pixels.reduced(kept, factor) for pixels in self.classes),
        )


def capture(
    predictor: Predictor,
    crop: OpenCrop,
    segmenter: Segmenter,
    count: int,
    longest: int,
    memory_bytes: int = MEMORY_BYTES,
) -> Sections:
    """Predict and segment a crop where it has labels, and keep at most `count` sections.

    Sections of which anything is known come first. Of a crop that takes more than `memory_bytes` the middle is shown.
    """
    grid = crop.label_grid
    box = middle_box(grid.shape_vx, _most_voxels(predictor, crop, memory_bytes))
    part = grid.part(*zip(*box, strict=True))
    prediction = predict_in_memory(predictor, crop.raw, part, crop.intensity_range)
    found = segmenter.segment(prediction)
    truth = crop.read_labels(part.roi)
    kept = _informative(truth, count)
    factor = -(-max(part.shape_vx[1:]) // longest)
    return Sections(
        numbers=tuple(box[0][0] + n for n in kept),
        of=grid.shape_vx[0],
        depths_nm=tuple(part.offset_nm[0] + (n + 0.5) * part.voxel_size_nm[0] for n in kept),
        voxel_size_nm=part.voxel_size_nm,
        factor=factor,
        raw=_grey([_raw_section(crop, part, n) for n in kept], factor),
        classes=tuple(_classes(predictor, prediction, found, segmenter, truth, kept, factor)),
        box=None if part == grid else box,
    )


def spread(total: int, count: int) -> list[int]:
    """Return at most `count` of `total` places, evenly from the first to the last; the middle one if it is one."""
    if count >= total:
        return list(range(total))
    if count == 1:
        return [total // 2]
    return [round(n * (total - 1) / (count - 1)) for n in range(count)]


def middle_box(shape_vx: Sequence[int], most: float) -> tuple[tuple[int, int], ...]:
    """Return the middle part (begin, end for each axis) of at most about `most` voxels; long axes are cut first."""
    lengths = list(shape_vx)
    while math.prod(lengths) > most and max(lengths) > 1:
        axis = lengths.index(max(lengths))
        lengths[axis] = -(-lengths[axis] // 2)
    begins = [(whole - length) // 2 for whole, length in zip(shape_vx, lengths, strict=True)]
    return tuple((begin, begin + length) for begin, length in zip(begins, lengths, strict=True))


def marks_of(code: NDArray[np.uint8], found: NDArray[np.bool_]) -> Pixels:
    """Say of each voxel what is known of it (codes of `LabelBlock`) and whether the class was found there."""
    marks = np.full(code.shape, NOTHING, np.uint8)
    marks[(code == PRESENT) & found] = RIGHT
    marks[(code == ABSENT) & found] = WRONG
    marks[(code == PRESENT) & ~found] = MISSED
    marks[(code == UNKNOWN) & found] = FOUND_UNKNOWN
    marks[(code == UNKNOWN) & ~found] = NOT_FOUND_UNKNOWN
    return marks


def colours_of(ids: NDArray[np.unsignedinteger]) -> Pixels:
    """Give each id one of COLOURS numbers, the same in all sections and crops; 0 for 0."""
    # Knuth's multiplicative hash: neighbouring ids get colours far apart
    scrambled = (ids.astype(np.uint64) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    return np.where(ids > 0, 1 + (scrambled >> np.uint64(16)) % np.uint64(COLOURS), 0).astype(np.uint8)


def _most_voxels(predictor: Predictor, crop: OpenCrop, memory_bytes: int) -> float:
    """Estimate how many voxels fit: the prediction twice, and for each class codes, labels and what makes them."""
    channels = len(predictor.task.output_channels())
    return memory_bytes / (8 * channels + 16 * len(crop.classes))


def _informative(truth: LabelBlock, count: int) -> list[int]:
    known = np.flatnonzero(truth.known.any(axis=(0, 2, 3)))
    places = known if len(known) else np.arange(truth.code.shape[1])
    return [int(places[n]) for n in spread(len(places), count)]


def _raw_section(crop: OpenCrop, part: Grid, number: int) -> NDArray[np.float32]:
    raw: NDArray[np.float32] = crop.read_raw(part.roi_of((number, 0, 0), (1, *part.shape_vx[1:])))[0, 0]
    return raw


def _grey(sections: Sequence[NDArray[np.float32]], factor: int) -> Pixels:
    raw = np.stack(sections)
    low, high = np.percentile(raw, PERCENTILES)
    scaled = np.clip((raw - low) / max(high - low, 1e-6), 0, 1) * 255
    return _means(scaled.round().astype(np.uint8), range(len(raw)), factor)


def _classes(
    predictor: Predictor,
    prediction: Prediction,
    segmentation: Segmentation,
    segmenter: Segmenter,
    truth: LabelBlock,
    kept: Sequence[int],
    factor: int,
) -> list[ClassPixels]:
    ranges = {channel.name: (channel.low, channel.high) for channel in predictor.task.output_channels()}
    shown = []
    for name, labels in segmentation.labels.items():
        code = _every(truth.code[truth.classes.index(name)], kept, factor)
        found = _every(labels, kept, factor)
        channel = channel_of(name, prediction.channels, segmenter.label)
        low, high = ranges.get(channel or "", (0.0, 1.0))
        ids = truth.instances.get(name)
        shown.append(
            ClassPixels(
                name,
                marks_of(code, found > 0),
                channel or "",
                low,
                high,
                _scaled(prediction.channel(channel), low, high, kept, factor) if channel else None,
                colours_of(_every(ids, kept, factor)) if ids is not None else None,
                colours_of(found) if segmentation.instances else None,
            )
        )
    return shown


def _scaled(values: NDArray[np.float32], low: float, high: float, kept: Sequence[int], factor: int) -> Pixels:
    chosen = np.clip((values[list(kept)] - low) / (high - low), 0, 1) * 255
    return _means(chosen.round().astype(np.uint8), range(len(chosen)), factor)


def _every(data: NDArray[Any], sections: Sequence[int], factor: int) -> NDArray[Any]:
    """Return the middle voxel of each square of `factor` voxels."""
    height, width = (length // factor * factor or length for length in data.shape[1:])
    cut = data[list(sections)][:, :height, :width]
    return cut[:, _middle(height, factor) :: factor, _middle(width, factor) :: factor]


def _middle(length: int, factor: int) -> int:
    return min(factor // 2, length - 1)


def _means(data: Pixels, sections: Sequence[int], factor: int) -> Pixels:
    """Return the mean of each square of `factor` voxels; what is left over at the far edges is cut off."""
    chosen = data[list(sections)]
    if factor == 1:
        return chosen
    count, height, width = chosen.shape
    rows, columns = min(factor, height), min(factor, width)
    cut = chosen[:, : height // rows * rows, : width // columns * columns]
    blocks = cut.reshape(count, cut.shape[1] // rows, rows, cut.shape[2] // columns, columns)
    return blocks.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)
