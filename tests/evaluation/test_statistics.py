"""Spread over seeds and intervals of differences: analytic cases, every resample by brute force, coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dacapo_hd.evaluation.statistics import by_seed, common_cells, difference, summarize

NAN = math.nan


def group(table, seeds=None, class_name="mito"):
    """A group with the values of a table (seed, crop)."""
    seeds = range(len(table)) if seeds is None else seeds
    return {
        seed: {(f"crop_{index}", class_name): float(value) for index, value in enumerate(row)}
        for seed, row in zip(seeds, table, strict=True)
    }


def test_the_mean_and_the_sample_deviation_are_over_the_means_of_seeds():
    found = summarize(group([[0.2, 0.4], [0.4, 0.6], [0.6, 0.8]], seeds=(5, 1, 3)))
    assert (found.mean, found.deviation) == (pytest.approx(0.5), pytest.approx(0.2))
    assert (found.seeds, found.crops) == ((1, 3, 5), ("crop_0", "crop_1"))


def test_one_seed_has_no_deviation():
    found = summarize(group([[0.2, 0.4]]))
    assert (found.mean, math.isnan(found.deviation)) == (pytest.approx(0.3), True)


def test_only_cells_that_all_have_count():
    trainings = group([[0.2, 0.4], [0.4, NAN]]) | {2: {("crop_0", "mito"): 0.9, ("crop_2", "mito"): 0.0}}
    assert common_cells(trainings.values()) == (("crop_0", "mito"),)
    assert summarize(trainings).mean == pytest.approx(0.5)
    assert summarize({0: {("a", "mito"): NAN}}) is None
    assert summarize({0: {("a", "mito"): 0.5}, 1: {("b", "mito"): 0.5}}) is None


def test_one_class_alone():
    cells = {("a", "mito"): 0.5, ("a", "er"): 0.1, ("b", "er"): 0.3}
    assert summarize({0: cells}).mean == pytest.approx(0.3)
    assert summarize({0: cells}, "er").mean == pytest.approx(0.2)
    assert summarize({0: cells}, "mito").crops == ("a",)
    assert summarize({0: cells}, "psd") is None


def test_trainings_of_one_seed_are_one():
    found = by_seed([(1, {("a", "mito"): 0.2, ("b", "mito"): 1.0}), (0, {}), (1, {("a", "mito"): 0.4})])
    assert found == {0: {}, 1: {("a", "mito"): pytest.approx(0.3)}}
    assert list(found) == [0, 1]


def test_the_difference_is_over_pairs_of_the_seeds_that_both_have():
    first = group([[0.9, 0.8], [0.7, 0.6], [0.0, 0.0]], seeds=(1, 2, 7))
    second = group([[0.5, 0.5], [0.5, 0.5], [1.0, 1.0]], seeds=(1, 2, 8))
    found = difference(first, second)
    assert (found.paired, found.seeds, found.crops) == (True, ((1, 2), (1, 2)), ("crop_0", "crop_1"))
    assert found.value == pytest.approx(0.25)


@pytest.mark.parametrize("seeds", [(3, 4), (1, 4)])
def test_seeds_that_do_not_pair_are_compared_all(seeds):
    found = difference(group([[0.9, 0.7], [0.7, 0.5]], (1, 2)), group([[0.4, 0.4], [0.2, 0.2]], seeds))
    assert (found.paired, found.seeds) == (False, ((1, 2), seeds))
    assert found.value == pytest.approx(0.4)


def test_a_class_that_is_missing_in_a_crop_leaves_the_mean_over_cells():
    first = {seed: {("a", "mito"): 0.9, ("a", "er"): 0.6, ("b", "er"): 0.0} for seed in (0, 1)}
    second = {seed: dict.fromkeys(first[0], 0.0) for seed in (0, 1)}
    assert difference(first, second).value == pytest.approx(0.5)
    assert difference(first, second, "er").value == pytest.approx(0.3)
    assert difference(first, second, "er").crops == ("a", "b")


def test_groups_without_a_common_cell_do_not_compare():
    assert difference({0: {("a", "mito"): 0.5}}, {0: {("b", "mito"): 0.5}}) is None
    assert difference({}, {0: {("b", "mito"): 0.5}}) is None
    assert summarize({}) is None


def test_a_constant_difference_has_an_interval_without_width():
    base = np.random.default_rng(0).random((3, 4))
    found = difference(group(base + 0.125), group(base))
    assert found.interval == pytest.approx((0.125, 0.125))
    assert found.excludes_zero and found.knows_trainings


def test_equal_groups_show_no_difference():
    base = np.random.default_rng(0).random((3, 4))
    found = difference(group(base), group(base))
    assert (found.value, found.interval, found.excludes_zero) == (0, (0, 0), False)


def test_one_seed_and_one_crop_have_no_interval():
    for seed in (0, 1):
        found = difference(group([[0.9]]), group([[0.1]], (seed,)))
        assert (found.interval, found.excludes_zero, found.knows_trainings) == (None, False, False)


def test_one_seed_has_the_spread_over_crops_alone():
    found = difference(group([[0.5, 0.6, 0.7]]), group([[0.1, 0.1, 0.1]]))
    assert found.interval[0] < found.value < found.interval[1]
    assert not found.knows_trainings
    assert not difference(group([[0.5, 0.6]]), group([[0.1, 0.1], [0.2, 0.2]])).knows_trainings


@pytest.mark.parametrize("count", [5, 8, 20])
@pytest.mark.parametrize("over", ["seeds", "crops"])
def test_the_interval_of_few_normal_values_is_nearly_that_of_student(count, over):
    values = stats.norm.ppf((np.arange(count) + 0.5) / count)[:, None]
    table = values if over == "seeds" else values.T
    low, high = difference(group(table), group(np.zeros_like(table))).interval
    expected = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / math.sqrt(count)
    assert (-low, high) == (pytest.approx(expected, rel=0.06), pytest.approx(expected, rel=0.06))


def every_resample(tables):
    """All means of tables (seed, crop) that the bootstrap can draw, one by one; each is as likely as another."""
    crops = tables[0].shape[1]
    draws = [list(itertools.product(range(len(table)), repeat=len(table))) for table in tables]
    for columns in itertools.product(range(crops), repeat=crops):
        for rows in itertools.product(*draws):
            means = [
                np.mean([table[row, column] for row in drawn for column in columns])
                for table, drawn in zip(tables, rows, strict=True)
            ]
            yield sum(means)


def widened(table):
    """A table whose rows' and columns' means are moved away from the mean, written value by value."""
    factor = [
        1 if n == 1 else stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975) * math.sqrt(n / (n - 1)) for n in table.shape
    ]
    mean, rows, columns = table.mean(), table.mean(1), table.mean(0)
    made = np.empty_like(table)
    for row, column in np.ndindex(table.shape):
        rest = table[row, column] - rows[row] - columns[column] + mean
        made[row, column] = mean + factor[0] * (rows[row] - mean) + factor[1] * (columns[column] - mean) + rest
    return made


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (1, 5), (4, 1)])
def test_the_bounds_are_percentiles_of_all_resamples_of_pairs(shape):
    rng = np.random.default_rng(1)
    one, other = rng.random((2, *shape))
    found = difference(group(one), group(other))
    everything = list(every_resample([widened(one - other)]))
    for bound, percent in zip(found.interval, (2.5, 97.5), strict=True):
        around = np.percentile(everything, [percent - 0.6, percent + 0.6], method="inverted_cdf")
        assert around[0] - 1e-9 <= bound <= around[1] + 1e-9


def test_the_bounds_are_percentiles_of_all_resamples_of_two_sides():
    rng = np.random.default_rng(2)
    one, other = rng.random((3, 2)), rng.random((2, 2))
    found = difference(group(one), group(other, seeds=(7, 8)))
    everything = list(every_resample([widened(one), -widened(other)]))
    for bound, percent in zip(found.interval, (2.5, 97.5), strict=True):
        around = np.percentile(everything, [percent - 0.6, percent + 0.6], method="inverted_cdf")
        assert around[0] - 1e-9 <= bound <= around[1] + 1e-9


tables = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.booleans(), st.integers(0, 2**32 - 1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tables)
def test_exchanging_the_sides_changes_the_sign_alone(made):
    seeds_one, crops, seeds_other, shifted, state = made
    rng = np.random.default_rng(state)
    one = group(rng.random((seeds_one, crops)))
    other = group(rng.random((seeds_other, crops)), [seed + 2 * shifted for seed in range(seeds_other)])
    there, back = difference(one, other), difference(other, one)
    assert there.value == -back.value
    assert there.seeds == back.seeds[::-1]
    if there.interval is None:
        assert back.interval is None
    else:
        assert there.interval == (-back.interval[1], -back.interval[0])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.floats(-5, 5), st.floats(0.1, 10))
def test_another_origin_and_unit_change_the_interval_as_they_change_the_values(state, shift, scale):
    one, other = np.random.default_rng(state).random((2, 3, 3))
    before, after = difference(group(one), group(other)), difference(group(scale * one + shift), group(scale * other))
    assert after.value == pytest.approx(scale * before.value + shift)
    assert after.interval == pytest.approx([scale * bound + shift for bound in before.interval])


def test_the_order_of_seeds_and_cells_is_irrelevant():
    rng = np.random.default_rng(3)
    one, other = group(rng.random((3, 3))), group(rng.random((4, 3)))
    mixed = {seed: dict(reversed(cells.items())) for seed, cells in reversed(one.items())}
    assert difference(mixed, other) == difference(one, other)


@pytest.mark.parametrize(
    ("seeds", "crops", "of_seeds", "of_crops", "rest"),
    [(3, 3, 1, 1, 0.5), (3, 6, 0.3, 1, 0.3), (5, 4, 1, 0.3, 1), (5, 1, 1, 0, 0), (1, 5, 0, 1, 0), (2, 2, 1, 1, 1)],
)
@pytest.mark.parametrize("paired", [True, False])
def test_95_of_100_intervals_hold_the_true_difference(seeds, crops, of_seeds, of_crops, rest, paired):
    """Normal effects of seeds, of crops, and of both together; the true difference is 0.5.

    Of 200 intervals that cover exactly 95 %, fewer than 182 hold it in 1 of 100 such tests; those of plain percentiles
    hold it in 120 to 180.
    """
    rng = np.random.default_rng(seeds * 100 + crops * 10 + paired)
    held = 0
    for _ in range(200):
        common = of_crops * rng.normal(size=(1, crops))
        sides = [
            of_seeds * rng.normal(size=(seeds, 1)) + rest * rng.normal(size=(seeds, crops)) + shift
            for shift in (common + 0.5, 0)
        ]
        names = range(seeds), range(0 if paired else seeds, seeds if paired else 2 * seeds)
        low, high = difference(*(group(side, list(seed)) for side, seed in zip(sides, names, strict=True))).interval
        held += low <= 0.5 <= high
    assert held >= 182
