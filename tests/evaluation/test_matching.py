"""Scores of single objects against other libraries, optimal matching and constructed cases."""

from __future__ import annotations

import math

import elf.evaluation
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment
from scored_block import block, checked, scored
from skimage.segmentation import relabel_sequential
from stardist.matching import matching

from dacapo_hd.evaluation import marks as mark
from dacapo_hd.evaluation.matching import IOU_PERCENT, NAMES, Matching
from dacapo_hd.evaluation.overlap import Overlap
from dacapo_hd.labels.block import ABSENT, PRESENT

coarse = hnp.arrays(np.uint32, (1, 3, 4), elements=st.integers(0, 4))
flips = hnp.arrays(bool, (3, 6, 8), elements=st.sampled_from([False] * 7 + [True]))


def code_of(truth: np.ndarray) -> np.ndarray:
    return np.where(truth > 0, PRESENT, ABSENT).astype(np.uint8)


def of_objects(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    found = scored(prediction, block(code_of(truth), instances=truth), True)
    return {name: found[name] for name in NAMES}


def objects(draw: np.ndarray, changed: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Make objects of a few voxels, some of them with another id."""
    large = np.kron(draw, np.ones((3, 2, 2), np.uint32))
    return np.where(changed, np.kron(other, np.ones((3, 2, 2), np.uint32)), large)


@checked
@given(coarse, coarse, flips)
def test_object_scores_equal_those_of_stardist_and_elf(a, b, changed):
    truth, prediction = objects(a, np.zeros_like(changed), b), objects(a, changed, b)
    if not truth.any() or not prediction.any():
        return
    found = of_objects(truth, prediction)
    stats = {percent: matching(truth, prediction, thresh=percent / 100) for percent in IOU_PERCENT}
    precisions = [stats[percent].accuracy for percent in IOU_PERCENT]
    assert found["mean_average_precision"] == pytest.approx(np.mean(precisions))
    assert found["instance_f1_50"] == pytest.approx(stats[50].f1)
    assert found["instance_f1_75"] == pytest.approx(stats[75].f1)
    dice = elf.evaluation.symmetric_best_dice_score(prediction, truth)
    assert found["symmetric_best_dice"] == pytest.approx(dice, abs=1e-6)
    # an IoU of exactly 0.5 is a match in stardist (whose IoUs are float32), and none for the panoptic quality
    if matching(truth, prediction, thresh=0.5).tp == matching(truth, prediction, thresh=0.5 + 1e-6).tp:
        assert found["panoptic_quality"] == pytest.approx(stats[50].panoptic_quality)


def pairs(truth: np.ndarray, prediction: np.ndarray) -> Matching:
    marks = mark.mark_truth(code_of(truth))
    return Matching.of(Overlap.count(marks, truth, prediction, truth.size).partition())


@checked
@given(hnp.arrays(np.uint32, 12, elements=st.integers(0, 5)), hnp.arrays(np.uint32, 12, elements=st.integers(0, 5)))
def test_as_many_pairs_are_formed_as_an_optimal_matching_has(truth, prediction):
    # small objects share exactly half of their voxels often
    truth, prediction = (np.sort(labels).reshape(1, 1, 12) for labels in (truth, prediction))
    found = pairs(truth, prediction)
    for percent in IOU_PERCENT:
        fits = np.zeros((6, 6))
        for i in range(1, 6):
            for s in range(1, 6):
                a, b = truth == i, prediction == s
                fits[i, s] = (a & b).sum() * 100 >= percent * (a | b).sum() > 0
        assert found.true_positives(percent) == fits[linear_sum_assignment(-fits)].sum()


def test_halves_of_exactly_half_count_once():
    truth = np.ones((1, 2, 4), np.uint32)
    halves = truth.copy()
    halves[..., 2:] = 2
    for first, second in ((truth, halves), (halves, truth)):
        found = of_objects(first, second)
        assert found["instance_f1_50"] == pytest.approx(2 / 3)
        assert found["mean_average_precision"] == pytest.approx(1 / 2 / len(IOU_PERCENT))
        assert found["panoptic_quality"] == 0
        assert found["symmetric_best_dice"] == pytest.approx(2 * 4 / (8 + 4))


def test_object_scores_of_a_case_counted_by_hand():
    # 10 of 10 voxels, 8 of 10, 5 of 10 and one too many
    truth, prediction = np.zeros((1, 8, 10), np.uint32), np.zeros((1, 8, 10), np.uint32)
    truth[0, 0], truth[0, 2], truth[0, 4] = 1, 2, 3
    prediction[0, 0], prediction[0, 2, :8], prediction[0, 4, :5], prediction[0, 6] = 5, 6, 7, 8
    found = of_objects(truth, prediction)
    assert found["difference_in_count"] == 1
    assert found["instance_f1_50"] == pytest.approx(2 * 3 / 7)
    assert found["instance_f1_75"] == pytest.approx(2 * 2 / 7)
    # 3 pairs at 0.5, 2 up to 0.8, 1 above
    assert found["mean_average_precision"] == pytest.approx((3 / 4 + 6 * 2 / 5 + 2 * 1 / 6) / 9)
    assert found["panoptic_quality"] == pytest.approx((1 + 0.8) / 3.5)
    assert found["symmetric_best_dice"] == pytest.approx((1 + 16 / 18 + 10 / 15 + 0) / 4)


def test_an_overlap_of_seven_tenths_is_a_match_at_0_7():
    # 0.5 + 4 * 0.05 is 0.7000000000000001
    truth, prediction = np.ones((1, 1, 10), np.uint32), np.zeros((1, 1, 10), np.uint32)
    prediction[..., :7] = 1
    assert of_objects(truth, prediction)["mean_average_precision"] == pytest.approx(5 / 9)


def test_what_lies_on_presence_without_a_known_id_is_left_out():
    truth = np.zeros((1, 4, 10), np.uint32)
    truth[0, 0] = 1
    code = code_of(truth)
    code[0, 2] = PRESENT
    prediction = truth.copy()
    prediction[0, 2, 5:] = 2
    found = scored(prediction, block(code, instances=truth), True)
    assert found["difference_in_count"] == 0
    assert {found[name] for name in NAMES if name != "difference_in_count"} == {1.0}
    # but a segment on known background is a false one
    prediction[0, 3] = 3
    found = scored(prediction, block(code, instances=truth), True)
    assert found["instance_f1_50"] == pytest.approx(2 / 3)
    assert found["difference_in_count"] == 1


@pytest.mark.parametrize("instances", [None, np.zeros((2, 4, 8), np.uint32)])
def test_presence_without_any_id_leaves_object_scores_undefined(instances):
    code = np.full((2, 4, 8), PRESENT, np.uint8)
    code[..., 4:] = ABSENT
    for prediction in (np.zeros(code.shape, np.uint32), np.ones(code.shape, np.uint32)):
        found = scored(prediction, block(code, instances=instances), True)
        assert all(math.isnan(found[name]) for name in (*NAMES, "instance_voi", "adapted_rand_error", "cremi_score"))
        assert not math.isnan(found["dice"])


@checked
@given(coarse, coarse, flips)
def test_exchanging_truth_and_prediction_changes_no_object_score(a, b, changed):
    truth, prediction = objects(a, np.zeros_like(changed), b), objects(a, changed, b)
    if not truth.any() or not prediction.any():
        return  # without an instance the scores are undefined
    assert of_objects(truth, prediction) == pytest.approx(of_objects(prediction, truth))


def test_a_thousand_objects_are_scored():
    rng = np.random.default_rng(0)
    truth = relabel_sequential(rng.integers(0, 1000, (10, 20, 30)))[0].astype(np.uint32)
    noisy = np.where(rng.random(truth.shape) < 0.1, 0, truth)
    found = of_objects(truth, noisy)
    stats = matching(truth, noisy, thresh=0.75)
    assert found["instance_f1_75"] == pytest.approx(stats.f1)
