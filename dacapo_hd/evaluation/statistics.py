"""What repeated trainings say: mean and spread over seeds, and differences with an interval (docs/comparing.md).

A *training* is what one seed of a config scored: a value for each cell (crop, class). Trainings of one config that
differ by the seed alone are a group.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.selection import Cell

Training: TypeAlias = Mapping[Cell, float]
Floats: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95
# so many that the bounds of the interval are two of the resampled values themselves
RESAMPLES = 10_001


@attrs.frozen
class Summary:
    """A group's mean and sample standard deviation over seeds; `deviation` is NaN for a single seed.

    The mean is over the cells that all trainings have.
    """

    mean: float
    deviation: float
    seeds: tuple[int, ...]
    crops: tuple[str, ...]


@attrs.frozen
class Difference:
    """The mean of the first group minus that of the second over the cells that all their trainings have.

    `interval` holds the difference between new trainings on new crops of the same kind in 95 % of all comparisons; it
    is None where there is but one seed and one crop. `seeds` are those that were compared, of each side: the same
    where `paired`.
    """

    value: float
    interval: tuple[float, float] | None
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    crops: tuple[str, ...]
    paired: bool

    @property
    def knows_trainings(self) -> bool:
        """Tell whether both sides have several seeds, so that the interval holds the spread over trainings."""
        return min(map(len, self.seeds)) > 1

    @property
    def excludes_zero(self) -> bool:
        """Tell whether there is an interval that does not contain 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def by_seed(trainings: Iterable[tuple[int, Training]]) -> dict[int, Training]:
    """Take trainings of the same seed as one, with the mean of each cell that all of them have; seeds ascending."""
    found: dict[int, list[Training]] = {}
    for seed, cells in trainings:
        found.setdefault(seed, []).append(cells)
    return {
        seed: {cell: math.fsum(one[cell] for one in same) / len(same) for cell in common_cells(same)}
        for seed, same in sorted(found.items())
    }


def common_cells(trainings: Iterable[Training], class_name: str | None = None) -> tuple[Cell, ...]:
    """Return the cells in which all trainings have a value, sorted; only those of a class if one is named."""
    defined = [{cell for cell, value in one.items() if not math.isnan(value)} for one in trainings]
    shared = set.intersection(*defined) if defined else set()
    return tuple(sorted(cell for cell in shared if class_name in (None, cell[1])))


def summarize(group: Mapping[int, Training], class_name: str | None = None) -> Summary | None:
    """Describe a group by its trainings' means over cells; None if no cell is common to all of them."""
    cells = common_cells(group.values(), class_name)
    if not cells:
        return None
    means = [math.fsum(one[cell] for cell in cells) / len(cells) for one in group.values()]
    mean = math.fsum(means) / len(means)
    squares = math.fsum((value - mean) ** 2 for value in means)
    deviation = math.sqrt(squares / (len(means) - 1)) if len(means) > 1 else math.nan
    return Summary(mean, deviation, tuple(sorted(group)), _crops(cells))


def difference(
    first: Mapping[int, Training], second: Mapping[int, Training], class_name: str | None = None
) -> Difference | None:
    """Compare two groups; None if no cell is common to all trainings of both.

    Trainings pair by seed if the groups have the same seeds or share at least two, which alone are then compared;
    otherwise all seeds count, each side's on its own. Crops always pair.

    The interval is of a hierarchical bootstrap: seeds and crops are drawn with replacement, the same crops for all
    seeds, because all of them were scored on the same ones (Owen 2007, The pigeonhole bootstrap, Annals of Applied
    Statistics 1). The effects of seeds and of crops are widened before, because the percentiles of resampled means of
    few values are too narrow (Hesterberg 2015, What teachers should know about the bootstrap, American Statistician
    69).
    """
    if not first or not second:
        return None
    shared = first.keys() & second.keys()
    paired = len(shared) > 1 or first.keys() == second.keys()
    if paired:
        first, second = ({seed: side[seed] for seed in shared} for side in (first, second))
    cells = common_cells([*first.values(), *second.values()], class_name)
    if not cells:
        return None
    sides = tuple(sorted(first)), tuple(sorted(second))
    one, other = (_table(group, cells, seeds) for group, seeds in zip((first, second), sides, strict=True))
    # in an order that does not depend on which side is the first, so that the two may be exchanged
    tables = [one - other] if paired else [table for _, table in sorted(zip(sides, (one, -other), strict=True))]
    crops = _crops(cells)
    weights = np.array([[crop for crop, _ in cells].count(crop) for crop in crops], float)
    value = math.fsum(float(table.mean(0) @ weights) for table in tables) / weights.sum()
    return Difference(float(value), _interval(tables, weights), sides, crops, paired)


def _crops(cells: Iterable[Cell]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(crop for crop, _ in cells))


def _table(group: Mapping[int, Training], cells: Sequence[Cell], seeds: Sequence[int]) -> Floats:
    """Return the mean over classes for each (seed, crop)."""
    classes: dict[str, list[Cell]] = {}
    for cell in cells:
        classes.setdefault(cell[0], []).append(cell)
    return np.array([[math.fsum(group[s][c] for c in found) / len(found) for found in classes.values()] for s in seeds])


def _interval(tables: Sequence[Floats], weights: Floats) -> tuple[float, float] | None:
    """Return the bounds for the sum of the means of tables (seed, crop) whose crops are the same, `weights` each."""
    crops = len(weights)
    if crops == 1 and all(len(table) == 1 for table in tables):
        return None
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(crops, np.full(crops, 1 / crops), RESAMPLES) * weights
    drawn /= drawn.sum(1, keepdims=True)
    means = np.zeros(RESAMPLES)
    for table in tables:
        seeds = len(table)
        counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
        means += np.einsum("rs,sc,rc->r", counts, _widened(table, weights), drawn, optimize=True)
    means.sort()
    outside = round((1 - CONFIDENCE) / 2 * (RESAMPLES - 1))
    return float(means[outside]), float(means[-1 - outside])


def _widened(table: Floats, weights: Floats) -> Floats:
    """Stretch a table's effects of seeds and of crops around its mean; what is neither is left as it is."""
    by_seed = np.average(table, axis=1, weights=weights, keepdims=True)
    mean = by_seed.mean()
    by_crop = table.mean(0, keepdims=True)
    seed, crop = (_too_narrow(count) - 1 for count in table.shape)
    stretched: Floats = table + seed * (by_seed - mean) + crop * (by_crop - mean)
    return stretched


def _too_narrow(count: int) -> float:
    """Return how many times wider Student's interval for a mean is than that of resampled means of normal values."""
    from scipy.special import ndtri, stdtrit

    if count == 1:
        return 1.0
    upper = (1 + CONFIDENCE) / 2
    return float(math.sqrt(count / (count - 1)) * stdtrit(count - 1, upper) / ndtri(upper))
