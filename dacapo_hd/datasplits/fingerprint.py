"""What the data look like: the figures that `check` prints before anybody trains on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.labels.decode import blocks

PERCENTILES = (1, 50, 99)
_MANY = 1 << 22


class Fractions(NamedTuple):
    """How much of a crop's `label_grid` is present, absent and unknown for one class; the sum is 1."""

    present: float
    absent: float
    unknown: float


@attrs.frozen
class CropFingerprint:
    """Figures about one crop; `percentiles` are of the stored intensities, at PERCENTILES, over all channels.

    `contradiction_count`: voxels at which annotations say what the scheme rules out.
    """

    name: str
    shape_vx: tuple[int, ...]
    label_shape_vx: tuple[int, ...]
    channels: int
    voxel_size_nm: tuple[float, ...]
    dtype: str
    fractions: Mapping[str, Fractions]
    percentiles: tuple[float, ...]
    nonfinite_count: int
    contradiction_count: int


def fingerprint(
    crop: OpenCrop,
    block_voxels: int = _MANY,
    sampled_values: int = _MANY,
    seen: MutableMapping[Volume, tuple[tuple[float, ...], int]] | None = None,
) -> CropFingerprint:
    """Look at every voxel of a crop, block by block.

    Percentiles are exact for integers of up to 16 bits, else they are those of about `sampled_values` values. `seen`
    keeps what was found of raw, for other crops of the same array.
    """
    seen = {} if seen is None else seen
    if crop.raw not in seen:
        seen[crop.raw] = _intensities(crop, block_voxels, sampled_values)
    percentiles, nonfinite_count = seen[crop.raw]
    return CropFingerprint(
        name=crop.name,
        shape_vx=crop.raw_grid.shape_vx,
        label_shape_vx=crop.label_grid.shape_vx,
        channels=crop.channels,
        voxel_size_nm=crop.raw_grid.voxel_size_nm,
        dtype=str(crop.raw.dtype),
        fractions=_fractions(crop, block_voxels),
        percentiles=percentiles,
        nonfinite_count=nonfinite_count,
        contradiction_count=sum(crop.contradictions(part) for part in blocks(crop.label_grid, block_voxels)),
    )


def unknown_everywhere(crops: Iterable[OpenCrop]) -> tuple[str, ...]:
    """Return the classes of which no crop knows any voxel, in the order of the crops' classes."""
    unknown: dict[str, None] = {}
    known: set[str] = set()
    for crop in crops:
        unknown |= dict.fromkeys(crop.classes)
        for part in blocks(crop.label_grid, _MANY):
            if known.issuperset(crop.classes):
                break
            block = crop.read_labels(part)
            known |= {name for name, code in zip(block.classes, block.code, strict=True) if (code != UNKNOWN).any()}
    return tuple(name for name in unknown if name not in known)


def _fractions(crop: OpenCrop, block_voxels: int) -> dict[str, Fractions]:
    counts = np.zeros((len(crop.classes), 3), np.int64)
    for part in blocks(crop.label_grid, block_voxels):
        for row, code in zip(counts, crop.read_labels(part).code, strict=True):
            row += np.bincount(code.ravel(), minlength=3)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return {
        name: Fractions(float(row[PRESENT]), float(row[ABSENT]), float(row[UNKNOWN]))
        for name, row in zip(crop.classes, shares, strict=True)
    }


def _intensities(crop: OpenCrop, block_voxels: int, sampled_values: int) -> tuple[tuple[float, ...], int]:
    """Return percentiles of what is finite, and how many values are not."""
    small_integers = crop.raw.dtype.kind in "iu" and crop.raw.dtype.itemsize <= 2
    gather = _Histogram(crop.raw.dtype) if small_integers else _Sample(sampled_values / math.prod(crop.raw.shape))
    nonfinite_count = 0
    for part in blocks(crop.raw_grid, block_voxels):
        values = crop.raw.read(part).ravel()
        if values.dtype.kind == "f":
            wrong = ~np.isfinite(values)
            nonfinite_count += int(wrong.sum())
            values = values[~wrong]
        gather.add(values)
    return gather.percentiles(), nonfinite_count


class _Histogram:
    """Exact percentiles (the smallest value that enough values do not exceed) of integers of up to 16 bits."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        limits = np.iinfo(dtype)
        self.low = int(limits.min)
        self.counts = np.zeros(int(limits.max) - self.low + 1, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        self.counts += np.bincount(values.astype(np.int64) - self.low, minlength=len(self.counts))

    def percentiles(self) -> tuple[float, ...]:
        below = np.cumsum(self.counts)
        ranks = np.maximum(1, np.ceil(np.array(PERCENTILES) / 100 * below[-1]))
        return tuple(float(place + self.low) for place in np.searchsorted(below, ranks))


class _Sample:
    """Percentiles of an even random sample, always the same one."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.random = np.random.default_rng(0)
        self.parts: list[NDArray[Any]] = []

    def add(self, values: NDArray[Any]) -> None:
        chosen = values if self.share >= 1 else values[self.random.random(len(values)) < self.share]
        self.parts.append(chosen.astype(np.float64))

    def percentiles(self) -> tuple[float, ...]:
        values = np.concatenate(self.parts)
        if not len(values):
            return (float("nan"),) * len(PERCENTILES)
        found = np.percentile(values, PERCENTILES, method="inverted_cdf")
        return tuple(float(value) for value in found)
