"""Scores of how true instances are cut up, against other libraries, CREMI's definitions and constructed cases."""

from __future__ import annotations

import math

import elf.evaluation
import numpy as np
import pytest
import skimage.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt
from scored_block import SHAPE, block, checked, codes, ids, scored, sizes

from dacapo_hd.evaluation import marks as mark
from dacapo_hd.evaluation.overlap import Overlap
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN

# ids that a double cannot tell apart, and the largest
LARGE = np.array([0, 1, 2**53, 2**53 + 1, 2**63, 2**64 - 1], np.uint64)


def code_of(truth: np.ndarray) -> np.ndarray:
    return np.where(truth > 0, PRESENT, ABSENT).astype(np.uint8)


def of_instances(truth: np.ndarray, prediction: np.ndarray, size=(8.0, 8.0, 8.0), tolerance_nm: float = 8.0):
    return scored(prediction, block(code_of(truth), size, truth), True, tolerance_nm)


@checked
@given(ids, codes, hnp.arrays(np.uint32, (3, 16, 40), elements=st.integers(0, 5)))
def test_the_table_counts_every_voxel_with_a_known_instance_or_absence(truth, code, prediction):
    truth, code = (np.tile(array, (1, 4, 7))[:3, :16, :40] for array in (truth, code))
    marks = mark.mark_truth(code)
    mark.mark_near_borders(marks, truth, (8.0, 8.0, 8.0), 8.0)
    near = marks & mark.NEAR_BORDER > 0
    found = Overlap.count(marks, LARGE[truth], LARGE[prediction], known=7)
    expected = {}
    for voxel in np.ndindex(truth.shape):
        if code[voxel] == ABSENT or (code[voxel] == PRESENT and truth[voxel]):
            own = truth[voxel] if code[voxel] == PRESENT else 0
            key = (own, prediction[voxel], near[voxel])
            expected[key] = expected.get(key, 0) + 1
    # numbered in the order of the ids, without those that are not there
    numbers = [dict(zip(sorted({0} | {key[i] for key in expected}), range(6), strict=False)) for i in (0, 1)]
    entries = zip(found.instance, found.segment, found.near_border, found.shared, strict=True)
    assert {(i, s, n): v for i, s, n, v in entries} == {
        (numbers[0][i], numbers[1][s], n): v for (i, s, n), v in expected.items()
    }
    assert found.known == 7


def test_the_table_grows_with_the_number_of_pairs():
    rng = np.random.default_rng(0)
    shape = (20, 40, 50)
    truth = rng.integers(1, 3, shape)
    names = rng.integers(0, 2**64, 10_000, dtype=np.uint64)
    segment, near = rng.integers(0, len(names), shape), rng.random(shape) < 0.5
    marks = mark.mark_truth(np.full(shape, PRESENT, np.uint8)) | np.where(near, mark.NEAR_BORDER, 0).astype(np.uint8)
    found = Overlap.count(marks, truth, names[segment], truth.size)
    # most pairs are there inside and outside of the border mask, and must not be taken for one another
    expected, counts = np.unique(np.stack([truth, segment, near]).reshape(3, -1), axis=1, return_counts=True)
    there = np.unique(segment)
    entries = np.stack([found.instance, there[names[there].argsort()][found.segment - 1], found.near_border])
    order = np.lexsort(entries[::-1])
    np.testing.assert_array_equal(entries[:, order], expected)
    np.testing.assert_array_equal(found.shared[order], counts)
    assert found.partition().variation_of_information() == pytest.approx(
        skimage.metrics.variation_of_information(truth, segment)
    )


@checked
@given(ids, ids)
def test_information_and_rand_error_equal_those_of_skimage_and_elf(truth, prediction):
    if not truth.any():
        return
    found = of_instances(truth, prediction)
    split, merge = skimage.metrics.variation_of_information(truth, prediction, ignore_labels=(0,))
    assert (found["instance_voi_split"], found["instance_voi_merge"]) == pytest.approx((split, merge), abs=1e-9)
    assert found["instance_voi"] == pytest.approx(split + merge, abs=1e-9)
    split, merge, rand, score = elf.evaluation.cremi_score(prediction, truth, ignore_gt=[0])
    assert (found["instance_voi_split"], found["instance_voi_merge"]) == pytest.approx((split, merge), abs=1e-9)
    assert found["adapted_rand_error"] == pytest.approx(rand, abs=1e-9)
    # undo skimage's subtraction of self-pairs
    n = (truth > 0).sum()
    inside = truth > 0
    table = np.zeros((6, 6))
    np.add.at(table, (truth[inside], prediction[inside]), 1)
    a, b, t = (table.sum(1) ** 2).sum(), (table.sum(0) ** 2).sum(), (table**2).sum()
    if t > n:
        error = skimage.metrics.adapted_rand_error(truth, prediction, ignore_labels=(0,))[0]
        assert 1 - 2 * (t - n) / (a + b - 2 * n) == pytest.approx(error, abs=1e-9)
    assert found["adapted_rand_error"] == pytest.approx(1 - 2 * t / (a + b), abs=1e-12)
    if not (prediction == 0)[inside].any() and not found["adapted_rand_error"] < 1e-9:
        # without a border mask, and where all is segmented, CREMI's conventions are the usual ones
        assert of_instances(truth, prediction, tolerance_nm=0)["cremi_score"] == pytest.approx(score, abs=1e-9)


def cremi_border(labels: np.ndarray, size: tuple[float, ...], tolerance_nm: float) -> np.ndarray:
    """Return CREMI's border mask of fully annotated labels by its definition, with scipy."""
    masks = []
    for section in labels:
        padded = np.pad(section, 1, mode="edge")
        around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        border = np.any([section != other for other in around], axis=0)
        if border.any():
            masks.append(distance_transform_edt(~border, sampling=size[1:]) <= tolerance_nm * (1 + 1e-9))
        else:
            masks.append(border)
    return np.array(masks)


def cremi_parts(truth: np.ndarray, prediction: np.ndarray, border: np.ndarray) -> tuple[float, float, float]:
    """Return split, merge and Rand error as CREMI's evaluation counts them, ground truth 0 and borders ignored."""
    counted = (truth > 0) & ~border
    table = np.zeros((truth.max() + 1, prediction.max() + 1))
    np.add.at(table, (truth[counted], prediction[counted]), 1)
    p = table / table.sum()

    def entropy(shares: np.ndarray) -> float:
        return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())

    background = table[:, 0].sum() / truth.size
    sum_a = (table.sum(1) ** 2).sum()
    sum_b = (table[:, 1:].sum(0) ** 2).sum() + background
    sum_ab = (table[:, 1:] ** 2).sum() + background
    precision, recall = sum_ab / sum_b, sum_ab / sum_a
    rand = 1 - 2 * precision * recall / (precision + recall)
    return entropy(p.ravel()) - entropy(p.sum(1)), entropy(p.ravel()) - entropy(p.sum(0)), rand


@checked
@given(
    hnp.arrays(np.uint32, (2, 3, 4), elements=st.integers(0, 3)),
    hnp.arrays(np.uint32, (2, 12, 16), elements=st.integers(0, 3)),
    sizes,
    st.sampled_from([0.0, 1.0, 4.6, 10.0, 25.0]),
)
def test_cremi_scores_follow_the_challenge(coarse, prediction, size, tolerance_nm):
    # objects of some size, so that something is left inside the border mask
    truth = np.kron(coarse, np.ones((1, 4, 4), np.uint32))
    border = cremi_border(truth, size, tolerance_nm) if tolerance_nm else np.zeros(truth.shape, bool)
    found = of_instances(truth, prediction, size, tolerance_nm)
    parts = found["cremi_voi_split"], found["cremi_voi_merge"], found["cremi_adapted_rand_error"]
    if not ((truth > 0) & ~border).any():
        assert all(map(math.isnan, (*parts, found["cremi_score"])))
        return
    split, merge, rand = cremi_parts(truth, prediction, border)
    assert parts == pytest.approx((split, merge, rand), abs=1e-9)
    assert found["cremi_score"] == pytest.approx(math.sqrt((split + merge) * rand), abs=1e-6)


def test_the_border_mask_is_made_in_each_section_by_itself():
    truth = np.ones((3, 9, 9), np.uint32)
    truth[1] = 2
    marks = mark.mark_truth(code_of(truth))
    mark.mark_near_borders(marks, truth, (8.0, 8.0, 8.0), 1000.0)
    assert not (marks & mark.NEAR_BORDER).any()


def test_neither_the_edge_nor_unknown_voxels_have_a_border():
    truth = np.ones((1, 9, 20), np.uint32)
    truth[..., 10:] = 2
    code = code_of(truth)
    code[..., 9:11] = UNKNOWN
    marks = mark.mark_truth(code)
    mark.mark_near_borders(marks, truth, (8.0, 8.0, 8.0), 1000.0)
    assert not (marks & mark.NEAR_BORDER).any()
    # nor does a voxel that is present without a known id
    truth[..., 9:11] = 0
    marks = mark.mark_truth(np.full(truth.shape, PRESENT, np.uint8))
    mark.mark_near_borders(marks, truth, (8.0, 8.0, 8.0), 1000.0)
    assert not (marks & mark.NEAR_BORDER).any()


def test_the_border_mask_forgives_a_boundary_that_is_a_little_off():
    truth = np.ones((4, 30, 40), np.uint32)
    truth[..., 20:] = 2
    prediction = np.ones_like(truth)
    prediction[..., 22:] = 2
    assert of_instances(truth, prediction, tolerance_nm=16)["cremi_score"] == 0
    assert of_instances(truth, prediction, tolerance_nm=7.9)["cremi_score"] > 0
    assert of_instances(truth, prediction, tolerance_nm=16)["instance_voi"] > 0


def test_split_and_merge_are_not_confused():
    truth = np.ones((2, 4, 4), dtype=np.uint32)
    halves = truth.copy()
    halves[:, :2] = 2
    for first, second, expected in ((truth, halves, (1.0, 0.0)), (halves, truth, (0.0, 1.0))):
        found = of_instances(first, second, tolerance_nm=0)
        assert (found["instance_voi_split"], found["instance_voi_merge"]) == pytest.approx(expected)
        assert (found["cremi_voi_split"], found["cremi_voi_merge"]) == pytest.approx(expected)
    found = scored(halves > 1, block(np.full((2, 4, 4), PRESENT, np.uint8)))
    assert (found["voi_split"], found["voi_merge"]) == pytest.approx((1.0, 0.0))


def test_voxels_without_a_known_instance_do_not_count_as_an_object():
    # background that is right is no success, and presence without an id is no object
    truth = np.zeros((2, 4, 8), dtype=np.uint32)
    truth[..., :2], truth[..., 2:4] = 1, 2
    code = code_of(truth)
    code[..., 4:6] = PRESENT
    prediction = np.where(truth == 1, 7, 9).astype(np.uint32)
    found = scored(prediction, block(code, instances=truth), instances=True)
    assert found["instance_voi"] == found["adapted_rand_error"] == 0


def test_one_big_segment_is_not_rewarded():
    truth = np.zeros((4, 8, 8), dtype=np.uint32)
    truth[:, :4, :4], truth[:, 4:, 4:] = 1, 2
    found = of_instances(truth, np.ones_like(truth), tolerance_nm=0)
    assert found["instance_voi_merge"] == pytest.approx(1.0)
    assert found["adapted_rand_error"] == pytest.approx(1 - 2 * 2 / (2 + 4))
    assert found["cremi_score"] == pytest.approx(math.sqrt(1 / 3))


@checked
@given(ids, hnp.arrays(np.uint32, SHAPE, elements=st.integers(0, 5)))
def test_ids_of_any_size_are_told_apart(truth, prediction):
    small = of_instances(truth, prediction)
    assert of_instances(LARGE[truth], LARGE[prediction]) == pytest.approx(small, nan_ok=True)
