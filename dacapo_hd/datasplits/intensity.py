"""Raw intensities -> what networks see: which range counts, by a config or by the statistics of a volume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Literal, NamedTuple

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.values import blocks

PERCENTILES = (1, 50, 99)
# z-scores beyond are clipped
MOST_DEVIATIONS = 5.0
_BLOCK_VALUES = 1 << 22
# statistics of larger volumes are those of cubes that are spread evenly: up to 4 along each axis
_MOST_VOXELS = 1 << 28
_CUBE_VX = 128
_CUBES = 4

Intensity = Literal["range", "zscore"]
TypedRange = tuple[float, float] | Literal["percentile"] | None


class IntensityRange(NamedTuple):
    """The intensities that become -1 and 1; what lies beyond -`limit` and `limit` afterwards is clipped."""

    low: float
    high: float
    limit: float = 1.0

    def to_list(self) -> list[float]:
        """Return plain JSON data, without a limit of 1."""
        return list(self) if self.limit != 1 else [self.low, self.high]

    def described(self) -> str:
        """Say what becomes of intensities, as part of a sentence."""
        deviations = "" if self.limit == 1 else f" (z-scores, clipped at {self.limit:g})"
        return f"intensities {self.low:.4g} to {self.high:.4g} become -1 to 1{deviations}"


def normalise(data: NDArray[Any], intensity_range: tuple[float, ...]) -> NDArray[np.float32]:
    """Map the intensity range linearly to -1..1 and clip; float32. Training and inference both use this."""
    low, high, limit = IntensityRange(*intensity_range)
    # float32 holds integers of 16 bits only, and not those of 32 or what float64 tells apart
    exact = data.dtype.itemsize <= 2 or data.dtype == np.float32
    middle, factor = (low + high) / 2, 2 / (high - low)
    if not exact:
        data = data.astype(np.float64) - middle
        middle = 0.0
    out = data.astype(np.float32)
    out -= np.float32(middle)
    out *= np.float32(factor)
    return np.clip(out, -limit, limit, out=out)


def range_of(volume: Volume, typed: TypedRange, intensity: Intensity, what: str = "raw") -> IntensityRange:
    """Return the range that counts for a volume.

    `percentile`: its 1st and 99th; `zscore`: its mean minus and plus its standard deviation, clipped at 5 of them;
    without a range 0 to 255 for uint8. UserError if none is given and the dtype does not tell, and for a volume of one
    value.
    """
    if intensity == "zscore" or typed == "percentile":
        found = statistics(volume, most_voxels=_MOST_VOXELS)
        if not found.least < found.greatest:
            raise UserError(f"{what} {volume.path!r}: is {found.least:g} everywhere, so that it has no contrast")
        if intensity == "zscore":
            return IntensityRange(found.mean - found.deviation, found.mean + found.deviation, MOST_DEVIATIONS)
        low, _, high = found.percentiles
        return IntensityRange(low, high) if low < high else IntensityRange(found.least, found.greatest)
    if typed is not None:
        return IntensityRange(*typed)
    if volume.dtype == np.uint8:
        return IntensityRange(0.0, 255.0)
    raise UserError(
        f"raw has the dtype {volume.dtype}; give `datasplit.intensity_range`, the intensities that become -1 and 1, or "
        "`percentile`"
    )


@attrs.frozen(eq=False)
class Statistics:
    """The distribution of the finite intensities of a volume, over all channels.

    `percentiles` are those at PERCENTILES; all figures are NaN where nothing is finite.
    """

    values: NDArray[Any] = attrs.field(repr=False)
    counts: NDArray[np.int64] = attrs.field(repr=False)
    nonfinite_count: int

    @property
    def least(self) -> float:
        return float(self.values[0]) if len(self.values) else math.nan

    @property
    def greatest(self) -> float:
        return float(self.values[-1]) if len(self.values) else math.nan

    @property
    def percentiles(self) -> tuple[float, ...]:
        """The smallest values that enough values do not exceed."""
        if not len(self.values):
            return (math.nan,) * len(PERCENTILES)
        below = np.cumsum(self.counts)
        ranks = np.maximum(1, np.ceil(np.array(PERCENTILES) / 100 * below[-1]))
        return tuple(float(self.values[place]) for place in np.searchsorted(below, ranks))

    @property
    def mean(self) -> float:
        return float(np.average(self.values.astype(np.float64), weights=self.counts))

    @property
    def deviation(self) -> float:
        return math.sqrt(np.average((self.values.astype(np.float64) - self.mean) ** 2, weights=self.counts))

    def share_beyond(self, intensity_range: IntensityRange) -> float:
        """Return the share of values that are clipped."""
        low, high, limit = intensity_range
        middle, half = (low + high) / 2, limit * (high - low) / 2
        outside = (self.values < middle - half) | (self.values > middle + half)
        return float(self.counts[outside].sum() / max(self.counts.sum(), 1))

    def span_within(self, intensity_range: IntensityRange) -> float:
        """Return how much of the range the values between the 1st and the 99th percentile take, from 0 to 1."""
        low, high, limit = intensity_range
        middle, half = (low + high) / 2, limit * (high - low) / 2
        bounds = [min(max(value, middle - half), middle + half) for value in self.percentiles[::2]]
        return (bounds[1] - bounds[0]) / (2 * half)


def statistics(
    volume: Volume,
    block_values: int = _BLOCK_VALUES,
    sampled_values: int = _BLOCK_VALUES,
    part: Grid | None = None,
    most_voxels: int | None = None,
) -> Statistics:
    """Look through a volume or a part of it; of more than `most_voxels` only through cubes that are spread evenly.

    Exact for integers of up to 16 bits; of other dtypes about `sampled_values` values count, always the same ones.
    """
    grid = volume.grid if part is None else part
    voxels = math.prod(grid.shape_vx)
    parts: Iterable[Roi] = blocks(grid, block_values)
    if most_voxels is not None and voxels > most_voxels:
        parts = _cubes(grid)
        voxels = sum(math.prod(roi.shape / grid.voxel_size) for roi in parts)
    random, share = np.random.default_rng(0), sampled_values / (voxels * (volume.channels or 1))
    exact = volume.dtype.kind in "iu" and volume.dtype.itemsize <= 2
    nonfinite_count, found = 0, _Counts(volume.dtype) if exact else _Sampled()
    for roi in parts:
        values = volume.read(roi).ravel()
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            nonfinite_count += int(values.size - finite.sum())
            values = values[finite]
        found.add(values if exact or share >= 1 else values[random.random(len(values)) < share])
    return Statistics(*found.distribution(), nonfinite_count)


def _cubes(grid: Grid) -> list[Roi]:
    """Return boxes in the middles of equal parts of a grid."""
    begins, shape = [], []
    for n in grid.shape_vx:
        length = min(_CUBE_VX, n)
        count = min(_CUBES, n // length)
        begins.append([(2 * i + 1) * n // (2 * count) - length // 2 for i in range(count)])
        shape.append(length)
    return [grid.roi_of(begin, shape) for begin in product(*begins)]


class _Counts:
    """How often each integer of up to 16 bits occurs."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        limits = np.iinfo(dtype)
        self.low = int(limits.min)
        self.counts = np.zeros(int(limits.max) - self.low + 1, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        self.counts += np.bincount(values.astype(np.int64) - self.low, minlength=len(self.counts))

    def distribution(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        found = np.flatnonzero(self.counts)
        return found + self.low, self.counts[found]


class _Sampled:
    """Single values."""

    def __init__(self) -> None:
        self.parts: list[NDArray[Any]] = []

    def add(self, values: NDArray[Any]) -> None:
        self.parts.append(values.astype(np.float64))

    def distribution(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        found = np.unique(np.concatenate(self.parts), return_counts=True)
        return found[0], found[1].astype(np.int64)


def trained_intensities(data: Mapping[str, Any]) -> IntensityRange:
    """Read the range that a checkpoint has kept."""
    return IntensityRange(*data["intensity_range"])
