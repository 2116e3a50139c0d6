"""What the data look like: the figures that `check` prints before anybody trains on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import NamedTuple

import attrs
import numpy as np

from dacapo_hd.arrays import Volume
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.datasplits.intensity import IntensityRange, Statistics, statistics
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.labels.values import blocks

_MANY = 1 << 22


class Fractions(NamedTuple):
    """How much of a crop's `label_grid` is present, absent and unknown for one class; the sum is 1."""

    present: float
    absent: float
    unknown: float


@attrs.frozen
class CropFingerprint:
    """Figures about one crop; `intensities` are those of raw, `annotated` those where labels are.

    `contradiction_count`: voxels at which annotations say what the scheme rules out.
    """

    name: str
    shape_vx: tuple[int, ...]
    label_shape_vx: tuple[int, ...]
    channels: int
    voxel_size_nm: tuple[float, ...]
    dtype: str
    fractions: Mapping[str, Fractions]
    intensity_range: IntensityRange
    intensities: Statistics
    annotated: Statistics
    contradiction_count: int


def fingerprint(
    crop: OpenCrop,
    block_voxels: int = _MANY,
    sampled_values: int = _MANY,
    seen: MutableMapping[Volume, Statistics] | None = None,
    most_voxels: int | None = None,
) -> CropFingerprint:
    """Look at every voxel of a crop, block by block, or at `most_voxels` of raw.

    Percentiles are exact for integers of up to 16 bits, else they are those of about `sampled_values` values. `seen`
    keeps what was found of raw, for other crops of the same array.
    """
    seen = {} if seen is None else seen
    if crop.raw not in seen:
        seen[crop.raw] = statistics(crop.raw, block_voxels, sampled_values, most_voxels=most_voxels)
    whole = seen[crop.raw]
    everywhere = crop.label_grid == crop.raw_grid
    return CropFingerprint(
        name=crop.name,
        shape_vx=crop.raw_grid.shape_vx,
        label_shape_vx=crop.label_grid.shape_vx,
        channels=crop.channels,
        voxel_size_nm=crop.raw_grid.voxel_size_nm,
        dtype=str(crop.raw.dtype),
        fractions=_fractions(crop, block_voxels),
        intensity_range=crop.intensity_range,
        intensities=whole,
        annotated=whole
        if everywhere
        else statistics(crop.raw, block_voxels, sampled_values, crop.label_grid, most_voxels),
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
