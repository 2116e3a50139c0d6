from __future__ import annotations

import mwatershed
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.operations.mutex_watershed import mutex_watershed

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -3), (0, 2, -2), (-2, 0, 1))
SHAPE = (3, 6, 7)


def tie_free(shape, seed):
    """Return weights of which no two have the same magnitude, in random places, smooth enough to make parts."""
    rng = np.random.default_rng(seed)
    magnitude = (rng.permutation(int(np.prod(shape))) + 1).astype(np.float32).reshape(shape)
    return np.where(rng.random(shape) < 0.6, magnitude, -magnitude).astype(np.float32)


def edge_by_edge(weights, offsets):
    """Merge and forbid with sets, the strongest edge first."""
    shape = weights.shape[1:]
    edges = []
    for o, offset in enumerate(offsets):
        for u in np.ndindex(shape):
            v = tuple(a + b for a, b in zip(u, offset, strict=True))
            if all(0 <= a < n for a, n in zip(v, shape, strict=True)):
                edges.append((abs(weights[(o, *u)]), weights[(o, *u)] > 0, u, v))
    parts = {u: frozenset([u]) for u in np.ndindex(shape)}
    forbidden = set()
    for _, attractive, u, v in sorted(edges, reverse=True):
        a, b = parts[u], parts[v]
        if a is b or any((x, y) in forbidden for x in a for y in b):
            continue
        if attractive:
            merged = a | b
            parts.update(dict.fromkeys(merged, merged))
        else:
            forbidden |= {(u, v), (v, u)}
    number: dict[frozenset, int] = {}
    labels = np.zeros(shape, int)
    for u in np.ndindex(shape):
        labels[u] = number.setdefault(parts[u], len(number) + 1)
    return labels


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, len(OFFSETS)))
def test_it_is_the_literal_algorithm_on_tie_free_input(seed, count):
    weights = tie_free((count, *SHAPE), seed)
    found = mutex_watershed(weights, OFFSETS[:count], cut=0.0)
    # numbered by first voxels, as the reference numbers its parts
    np.testing.assert_array_equal(found, edge_by_edge(weights, OFFSETS[:count]))
    assert found.dtype == np.uint32


def test_edges_of_weight_0_say_nothing():
    weights = tie_free((len(OFFSETS), *SHAPE), 0)
    weights[np.random.default_rng(1).random(weights.shape) < 0.5] = 0
    found = mutex_watershed(weights, OFFSETS, cut=0.0)
    np.testing.assert_array_equal(found, edge_by_edge(weights, OFFSETS))
    assert mutex_watershed(np.zeros_like(weights), OFFSETS, cut=0.0).max() == np.prod(SHAPE)


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_mwatershed_on_tie_free_input(seed):
    weights = tie_free((len(OFFSETS), 8, 40, 45), seed)
    found = mutex_watershed(weights, OFFSETS, cut=0.0)
    other = mwatershed.agglom(weights.astype(np.float64), OFFSETS)
    pairs = np.unique(np.stack([found.ravel(), other.ravel()]), axis=1)
    # one to one, but that mwatershed gives 0 to all voxels without an attractive edge
    pairs = pairs[:, pairs[1] > 0]
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert (np.bincount(found.ravel())[found[other == 0]] == 1).all()


def test_affinities_are_compared_with_the_cut():
    weights = tie_free((3, *SHAPE), 0)
    scaled = weights / 512
    np.testing.assert_array_equal(
        mutex_watershed(scaled + np.float32(0.25), OFFSETS[:3], cut=0.25),
        mutex_watershed(weights, OFFSETS[:3], cut=0.0),
    )


def test_ties_are_broken_alike_each_time_and_by_the_seed():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3, (len(OFFSETS), 6, 30, 30)).astype(np.float32) / 2
    first = mutex_watershed(values, OFFSETS, seed=5)
    np.testing.assert_array_equal(mutex_watershed(values, OFFSETS, seed=5), first)
    assert (mutex_watershed(values, OFFSETS, seed=6) != first).any()


def test_of_equally_strong_edges_neither_attraction_nor_repulsion_goes_first():
    # a chain of joined voxels, and as strong edges that forbid any two of distance 2
    values = np.zeros((2, 1, 1, 400), np.float32)
    values[0] = 1
    parts = mutex_watershed(values, ((0, 0, -1), (0, 0, -2)))
    # attraction first would make one part, repulsion first none of more than two voxels
    assert 2 < np.bincount(parts.ravel()).max() < 40


def test_a_fraction_of_edges_and_a_stride_leave_edges_out():
    values = np.ones((2, 10, 40, 40), np.float32)
    values[1] = 0.1
    offsets = ((0, 0, -1), (-1, 0, 0))
    # rows: along x all are joined, along z nothing is
    assert mutex_watershed(values, offsets).max() == 10 * 40
    values[0] = 0.1
    values[1] = 1
    joined = 10 * 40 * 40 - mutex_watershed(values, offsets, fractions=(0, 0.25)).max()
    assert joined == pytest.approx(9 * 40 * 40 / 4, rel=0.1)
    joined = 10 * 40 * 40 - mutex_watershed(values, offsets, strides_vx=((1, 1, 1), (1, 2, 4))).max()
    assert joined == 9 * 20 * 10


def test_offsets_that_leave_the_volume_have_no_edges():
    values = np.ones((2, 1, 2, 3), np.float32)
    parts = mutex_watershed(values, ((-1, 0, 0), (0, 2, 0)))
    np.testing.assert_array_equal(parts.ravel(), np.arange(1, 7))


def test_many_edges_take_64_bit_numbers(monkeypatch):
    weights = tie_free((3, *SHAPE), 3)
    expected = mutex_watershed(weights, OFFSETS[:3], cut=0.0)
    monkeypatch.setattr("dacapo_hd.operations.mutex_watershed.MOST_IDS", 10)
    np.testing.assert_array_equal(mutex_watershed(weights, OFFSETS[:3], cut=0.0), expected)
