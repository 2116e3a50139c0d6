from __future__ import annotations

import itertools

import brute_force
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.operations.distance import signed_distance, signed_distance_interval

VOXEL_SIZES = [(8.0, 8.0, 8.0), (40.0, 4.0, 4.0), (3.24, 4.0, 4.6), (2.5, 9.8, 5.0)]
few = settings(deadline=None, max_examples=40, derandomize=True)


def blobs(rng: np.random.Generator, shape: tuple[int, ...], ids: int = 1) -> np.ndarray:
    """Return an id array of a few random boxes, later ones over earlier ones; 0 elsewhere."""
    labels = np.zeros(shape, np.uint32)
    for number in rng.integers(1, ids + 1, size=rng.integers(0, 5)):
        low = [rng.integers(0, n) for n in shape]
        high = [rng.integers(a, n) + 1 for a, n in zip(low, shape, strict=True)]
        labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = number
    return labels


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, tuple[float, ...], str, np.random.Generator]:
    """Draw a fully known id array, a voxel size, axes and a generator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = tuple(int(n) for n in rng.integers(1, 9, size=3))
    return blobs(rng, shape, ids=3), draw(st.sampled_from(VOXEL_SIZES)), draw(st.sampled_from(["zyx", "yx"])), rng


def coded(ids: np.ndarray, known: np.ndarray | bool = True) -> np.ndarray:
    return np.where(known, np.where(ids > 0, PRESENT, ABSENT), UNKNOWN).astype(np.uint8)


def random_view(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Return which voxels are annotated (noise, planes or a box) and a crop."""
    kind = rng.integers(4)
    known = rng.random(shape) < rng.random()
    if kind == 1:
        known = np.zeros(shape, bool)
        known[:: rng.integers(1, 4)] = True
    elif kind == 2:
        known = blobs(rng, shape) > 0
    elif kind == 3:
        known = np.ones(shape, bool)
    begin = [rng.integers(0, n) for n in shape]
    crop = tuple(slice(int(a), int(rng.integers(a, n)) + 1) for a, n in zip(begin, shape, strict=True))
    return known, crop


def inside(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    slack = np.where(np.isfinite(value), 1e-3, 0)
    return bool((low <= high).all() and (low <= value + slack).all() and (high >= value - slack).all())


@few
@given(worlds())
def test_signed_distance_equals_brute_force(world):
    ids, voxel_size, axes, _ = world
    expected = brute_force.signed_distance(ids > 0, voxel_size, axes)
    found = signed_distance(ids, voxel_size, axes)
    assert found.dtype == np.float32
    assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_signed_distance_of_a_row_by_hand():
    row = np.array([0, 0, 1, 1, 1]).reshape(1, 1, 5)
    assert signed_distance(row, (40, 4, 4)).ravel().tolist() == [-6, -2, 2, 6, 10]


@pytest.mark.parametrize(("inside_value", "expected"), [(0, -np.inf), (1, np.inf)])
def test_without_a_boundary_the_distance_is_infinite(inside_value, expected):
    assert (signed_distance(np.full((2, 3, 4), inside_value), (8, 8, 8)) == expected).all()


@few
@given(worlds())
def test_distance_differs_from_the_face_distance_by_the_documented_bound(world):
    ids, voxel_size, _, _ = world
    found = np.abs(signed_distance(ids, voxel_size))
    exact = np.abs(brute_force.face_distance(ids > 0, voxel_size))
    finite = np.isfinite(exact)
    excess = found[finite] - exact[finite]
    assert (np.isinf(found) == ~finite).all()
    assert (excess >= -1e-4).all()
    assert (excess <= (np.linalg.norm(voxel_size) - min(voxel_size)) / 2 + 1e-4).all()


def test_face_distance_bound_is_reached_at_a_corner():
    mask = np.zeros((2, 2, 2), bool)
    mask[1, 1, 1] = True
    corner = signed_distance(mask, (1, 1, 1))[0, 0, 0], brute_force.face_distance(mask, (1, 1, 1))[0, 0, 0]
    assert corner[1] - corner[0] == pytest.approx((np.sqrt(3) - 1) / 2)


@few
@given(worlds())
def test_interval_of_a_partial_view_holds_the_true_distance(world):
    ids, voxel_size, axes, rng = world
    known, crop = random_view(rng, ids.shape)
    truth = brute_force.signed_distance(ids > 0, voxel_size, axes)[crop]
    assert inside(truth, *signed_distance_interval(coded(ids, known)[crop], voxel_size, axes=axes))


@few
@given(worlds())
def test_interval_of_instances_holds_the_true_distance(world):
    ids, voxel_size, axes, rng = world
    known, crop = random_view(rng, ids.shape)
    named = np.where(known & (rng.random(ids.shape) < rng.choice([0.5, 1])), ids, 0)
    truth = brute_force.instance_distance(ids, voxel_size, axes)[crop]
    interval = signed_distance_interval(coded(ids, known)[crop], voxel_size, named[crop].astype(np.uint32), axes)
    assert inside(truth, *interval)


@few
@given(worlds(), st.booleans())
def test_more_annotation_only_narrows(world, by_instance):
    ids, voxel_size, axes, rng = world
    known, crop = random_view(rng, ids.shape)
    more = known | (rng.random(ids.shape) < rng.random())
    intervals = []
    for part, view in ((known, crop), (more, crop), (more, np.s_[:])):
        named = np.where(part, ids, 0).astype(np.uint32)[view] if by_instance else None
        low, high = signed_distance_interval(coded(ids, part)[view], voxel_size, named, axes)
        intervals.append((low, high) if view == crop else (low[crop], high[crop]))
    for (low, high), (tighter_low, tighter_high) in itertools.pairwise(intervals):
        assert (tighter_low >= low - 1e-3).all()
        assert (tighter_high <= high + 1e-3).all()


@few
@given(worlds(), st.booleans())
def test_dense_labels_make_the_interval_a_point_away_from_the_edge(world, by_instance):
    ids, voxel_size, axes, _ = world
    low, high = signed_distance_interval(coded(ids), voxel_size, ids if by_instance else None, axes)
    truth = (brute_force.instance_distance if by_instance else brute_force.signed_distance)(
        ids if by_instance else ids > 0, voxel_size, axes
    )
    outside = np.pad(np.zeros(ids.shape), 1, constant_values=1)
    to_edge = np.abs(brute_force.signed_distance(outside > 0, voxel_size, axes)[1:-1, 1:-1, 1:-1])
    settled = np.abs(truth) < to_edge - 1e-3
    assert_allclose(low[settled], truth[settled], rtol=1e-5)
    assert_allclose(high[settled], truth[settled], rtol=1e-5)


def row_interval(codes: list[int], ids: list[int] | None = None) -> list[tuple[float, float]]:
    """Return the bounds of a long row of 2 nm voxels, in a block that is wide along the other axes."""
    code = np.broadcast_to(np.array(codes, np.uint8), (99, 99, len(codes))).copy()
    instances = None if ids is None else np.broadcast_to(np.array(ids, np.uint32), code.shape).copy()
    low, high = signed_distance_interval(code, (2.0, 2.0, 2.0), instances)
    return list(zip(low[49, 49].tolist(), high[49, 49].tolist(), strict=True))


def test_interval_rules_by_hand():
    inf = np.inf
    A, P, U = ABSENT, PRESENT, UNKNOWN
    assert row_interval([A, A, U, P, P]) == [(-5, -1), (-3, -1), (-1, 1), (1, 3), (1, 5)]
    assert row_interval([U, A, A, A, U]) == [(-inf, 1), (-inf, -1), (-inf, -3), (-inf, -1), (-inf, 1)]
    assert row_interval([U, U]) == [(-inf, inf)] * 2


def test_touching_instances_have_a_boundary_between_them():
    P = PRESENT
    assert [low for low, _ in row_interval([P] * 6, [1, 1, 1, 2, 2, 2])] == [1, 3, 1, 1, 3, 1]
    assert [high for _, high in row_interval([P] * 6, [1, 1, 1, 2, 2, 2])] == [5, 3, 1, 1, 3, 5]
    assert {high for _, high in row_interval([P] * 6)} == {np.inf}


def test_a_present_voxel_without_an_id_may_be_any_instance():
    A, P = ABSENT, PRESENT
    assert row_interval([A, P, P, P, P], [0, 1, 1, 0, 0]) == [(-1, -1), (1, 1), (1, 3), (1, 5), (1, 7)]


def test_another_instance_nearer_than_anything_unknown_settles_the_distance():
    P, U = PRESENT, UNKNOWN
    assert [high for _, high in row_interval([P, P, P, P, U], [1, 1, 2, 2, 0])] == [3, 1, 1, np.inf, np.inf]


def test_ids_up_to_the_largest_are_told_apart():
    top = 2**32 - 1
    highs = [high for _, high in row_interval([ABSENT, PRESENT, PRESENT], [0, top, top - 1])]
    assert highs == [-1, 1, 1]
