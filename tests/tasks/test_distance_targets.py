"""What the distance half says about partial annotation, and the faults that it must not have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.operations.distance import signed_distance
from dacapo_hd.tasks import Distance, HotDistance


def bounds(target):
    """Return low, high and weight of a target with one class."""
    return target.value[0], target.value[1], target.weight[0]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    voxel_size=st.sampled_from([(8.0, 8.0, 8.0), (40.0, 4.0, 4.0), (3.24, 4.0, 4.6)]),
    scale=st.sampled_from([3.0, 20.0, 60.0]),
    supervision=st.sampled_from(["exact", "interval"]),
    axes=st.sampled_from(["zyx", "yx"]),
)
def test_no_wrong_target_survives(seed, voxel_size, scale, supervision, axes):
    rng = np.random.default_rng(seed)
    world = np.zeros((14, 16, 18), bool)
    for corner in rng.integers(0, 14, size=(rng.integers(0, 5), 3)):
        world[tuple(slice(c, c + int(rng.integers(1, 7))) for c in corner)] = True
    truth = np.tanh(signed_distance(world, voxel_size, axes) / scale)
    known = rng.random(world.shape) < rng.choice([0.02, 0.9, 1])
    code = np.where(known, np.where(world, PRESENT, ABSENT), UNKNOWN).astype(np.uint8)
    crop = np.s_[2:12, 3:13, 1:15]
    task = Distance(("c",), scale_nm=scale, distance_supervision=supervision, distance_axes=axes)
    block = LabelBlock(("c",), code[crop][None], voxel_size)
    low, high, weight = bounds(task.targets(block)["distance"])
    counts = weight > 0
    assert ((low <= truth[crop] + 1e-4) & (truth[crop] <= high + 1e-4))[counts].all()
    if supervision == "exact":
        assert known[crop][counts].all()
        assert (np.abs(low - truth[crop])[counts] <= task.tolerance + 1e-4).all()
        assert (np.abs(high - truth[crop])[counts] <= task.tolerance + 1e-4).all()


def test_a_dense_block_has_exact_targets_wherever_its_edge_is_far(ball, make_block):
    low, high, weight = bounds(Distance(("mito",)).targets(make_block(ball))["distance"])
    middle = np.s_[12:29, 12:29, 12:29]
    expected = np.tanh(signed_distance(ball, (8, 8, 8)) / 50)
    assert (weight[middle] == 1).all()
    np.testing.assert_allclose(low[middle], expected[middle], atol=1e-6)
    np.testing.assert_allclose(high[middle], expected[middle], atol=1e-6)


def test_the_crop_edge_makes_no_boundary(make_block):
    full = np.ones((40, 40, 40), bool)
    low, high, weight = bounds(Distance(("mito",)).targets(make_block(full))["distance"])
    assert weight[0].max() == 0
    assert weight[20, 20, 20] == 1
    assert (high == 1).all()
    assert low[20, 20, 20] >= 0.99


def test_an_object_cut_by_the_crop_has_no_weight_where_it_may_continue(make_block):
    mask = np.zeros((60, 60, 60), bool)
    mask[:, :, :6] = True
    _, _, weight = bounds(Distance(("mito",)).targets(make_block(mask))["distance"])
    row = weight[30, 30]
    assert row[:3].tolist() == [0, 0, 0]
    assert row[3:40].all()
    assert row[-1] == 0


@pytest.mark.parametrize("supervision", ["exact", "interval"])
def test_an_object_free_patch_says_the_same_at_every_size(supervision, make_block):
    task = Distance(("mito",), distance_supervision=supervision)
    margin = int(np.ceil(task.context_nm / 8))
    for size in (1, 5, 30):
        block = make_block(np.zeros((size + 2 * margin,) * 3))
        low, high, weight = (part[(slice(margin, -margin),) * 3] for part in bounds(task.targets(block)["distance"]))
        assert (weight == 1).all()
        assert (low == -1).all()
        assert (high <= -1 + task.tolerance).all()


@pytest.mark.parametrize("supervision", ["exact", "interval"])
def test_context_makes_targets_independent_of_the_block(supervision, ball, make_block):
    task = Distance(("mito",), scale_nm=20, distance_supervision=supervision)
    known = np.random.default_rng(0).random(ball.shape) < 0.999
    margin = int(np.ceil(task.context_nm / 8))
    whole = bounds(task.targets(make_block(ball, known))["distance"])
    inner = slice(12, 25)
    outer = slice(12 - margin, 25 + margin)
    part = bounds(task.targets(make_block(ball[outer, outer, outer], known[outer, outer, outer]))["distance"])
    for from_whole, from_part in zip(whole[:2], part[:2], strict=True):
        cut = from_part[margin:-margin, margin:-margin, margin:-margin]
        np.testing.assert_allclose(cut, from_whole[inner, inner, inner], atol=task.tolerance + 1e-6)


def test_a_known_voxel_next_to_an_unknown_one_has_no_exact_target(ball, make_block):
    known = np.ones(ball.shape, bool)
    known[20, 20, 20] = False
    _, _, weight = bounds(Distance(("mito",)).targets(make_block(ball, known))["distance"])
    assert weight[20, 20, 18:23].tolist() == [0, 0, 0, 0, 0]
    assert weight[20, 20, 27] == 1


def test_an_unknown_voxel_has_no_exact_target_even_with_narrow_bounds(ball, make_block):
    known = np.ones(ball.shape, bool)
    known[20, 20, 29] = False
    low, high, weight = bounds(Distance(("mito",), scale_nm=1e4).targets(make_block(ball, known))["distance"])
    assert high[20, 20, 29] - low[20, 20, 29] < 0.01
    assert weight[20, 20, 29] == 0


def test_interval_supervision_learns_from_an_exclusive_class(make_block):
    known = np.zeros((40, 40, 40), bool)
    known[10:30, 10:30, 10:30] = True
    block = make_block(np.zeros(known.shape), known)
    _, _, exact = bounds(Distance(("mito",)).targets(block)["distance"])
    low, high, weight = bounds(Distance(("mito",), distance_supervision="interval").targets(block)["distance"])
    assert exact.sum() == 0
    assert (weight[known] == 1).all()
    assert (low == -1).all()
    assert high[20, 20, 20] == pytest.approx(np.tanh(-(10 * 8 - 4) / 50))


def test_interval_supervision_ignores_voxels_without_bounds(make_block):
    task = Distance(("mito",), distance_supervision="interval")
    target = task.targets(make_block(np.zeros((9, 9, 9)), known=False))["distance"]
    assert (target.weight == 0).all()
    assert np.isfinite(target.value).all()


def test_distances_are_in_nanometres_on_every_axis(make_block):
    ids = np.zeros((9, 100, 100))
    ids[:, :, 50:] = 1
    wide = Distance(("mito",)).targets(make_block(ids, voxel_size_nm=(40.0, 4.0, 4.0)))["distance"]
    ids = np.zeros((90, 30, 30))
    ids[45:] = 1
    deep = Distance(("mito",)).targets(make_block(ids, voxel_size_nm=(4.0, 40.0, 40.0)))["distance"]
    expected = np.tanh(np.array([-6, -2, 2, 6]) / 50)
    np.testing.assert_allclose(wide.value[0, 4, 50, 48:52], expected, rtol=1e-5)
    np.testing.assert_allclose(deep.value[0, 43:47, 15, 15], expected, rtol=1e-5)


def test_in_plane_distances_know_nothing_of_other_sections(make_block):
    ids = np.zeros((3, 80, 80))
    ids[1, :, 40:] = 1
    known = np.zeros(ids.shape, bool)
    known[1] = True
    across = Distance(("mito",)).targets(make_block(ids, known))["distance"]
    within = Distance(("mito",), distance_axes="yx").targets(make_block(ids, known))["distance"]
    assert (across.weight[0, 1, 30:50, 20:60].mean(), within.weight[0, 1, 30:50, 20:60].mean()) == (0.05, 1)
    assert within.weight[0, [0, 2]].sum() == 0
    np.testing.assert_allclose(within.value[0, 1, 40, 38:42], np.tanh(np.array([-12, -4, 4, 12]) / 50), rtol=1e-5)


def test_instance_boundaries_separate_what_touches(make_block):
    ids = np.zeros((41, 41, 41), int)
    ids[15:26, 15:26, 10:20] = 1
    ids[15:26, 15:26, 20:30] = 2**31
    block = make_block(ids, instances=True)
    joined = Distance(("mito",)).targets(block)["distance"].value[0, 20, 20, 18:22]
    split = Distance(("mito",), boundaries="instance").targets(block)["distance"]
    assert (joined > np.tanh(40 / 50)).all()
    np.testing.assert_allclose(split.value[0, 20, 20, 18:22], np.tanh(np.array([12, 4, 4, 12]) / 50), rtol=1e-5)
    assert (split.weight[0, 20, 20, 10:30] == 1).all()


def test_without_ids_instance_boundaries_are_not_guessed(ball, make_block):
    target = HotDistance(("mito",), boundaries="instance").targets(make_block(ball))["distance"]
    inner = ball & (signed_distance(ball, (8, 8, 8)) > 8)
    assert target.weight[0][inner].sum() == 0
    assert (target.value[0][ball] > 0).all()


def test_each_class_has_its_own_distance(make_block, ball):
    both = LabelBlock(("a", "b"), np.concatenate([make_block(ball).code, make_block(~ball).code]), (8.0, 8.0, 8.0))
    target = Distance(("a", "b")).targets(both)["distance"]
    assert target.channels == ("a/low", "b/low", "a/high", "b/high")
    middle = np.s_[12:29, 12:29, 12:29]
    np.testing.assert_allclose(target.value[0][middle], -target.value[3][middle], atol=1e-6)
