"""Mean uncertainty and error of each segment, and how they are ranked."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from scored_block import SHAPE, block, checked, codes, ids

from dacapo_hd.evaluation import SCORES, Evaluator, evaluate
from dacapo_hd.evaluation.segments import (
    COLUMNS,
    CORRELATIONS,
    MOST_SEGMENTS,
    SegmentTable,
    rank_correlation,
    read_segments,
)
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.segmentation.base import Segmentation
from dacapo_hd.segmentation.uncertainty import Uncertainty

VOXEL_SIZE_NM = (40.0, 4.0, 5.0)


def scored(labels, truth, values):
    found = evaluate(
        Segmentation({"mito": labels}, True), truth, 8.0, Uncertainty("mask_variance", {"mito": values.astype("f4")})
    )
    return {value.score: value for value in found}


def by_hand(labels, code, true, values):
    """Return {id: (voxels, mean uncertainty, error, iou)} voxel by voxel."""
    counted = (code == ABSENT) | ((code == PRESENT) & (true > 0))
    own = np.where(code == PRESENT, true, 0)
    found = {}
    for segment in sorted(set(labels[counted].tolist()) - {0}):
        inside = counted & (labels == segment)
        overlaps = []
        for instance in sorted(set(own[inside].tolist()) - {0}):
            other = counted & (own == instance)
            overlaps.append(((inside & other).sum(), -other.sum(), (inside | other).sum()))
        shared, _, union = max(overlaps, default=(0, 0, 1))
        found[segment] = inside.sum(), values[inside].mean(), 1 - shared / inside.sum(), shared / union
    return found


@checked
@given(ids, codes, ids, st.integers(0, 2**32))
def test_each_segment_has_what_counting_its_voxels_finds(labels, code, true, seed):
    values = np.random.default_rng(seed).integers(0, 5, SHAPE) / 16
    found = scored(labels, block(code, VOXEL_SIZE_NM, true), values)
    expected = by_hand(labels, code, true, values)
    undecided = (code == PRESENT).any() and not ((code == PRESENT) & (true > 0)).any()
    table = found[CORRELATIONS[0]].segments
    assert all(value.segments is None for name, value in found.items() if name != CORRELATIONS[0])
    if undecided or (code == UNKNOWN).all():
        assert table is None and all(math.isnan(found[name].value) for name in CORRELATIONS)
        return
    assert (table.quantity, table.of, table.voxel_nm3) == ("mask_variance", len(expected), 800.0)
    assert list(table.uncertainty) == sorted(table.uncertainty, reverse=True)
    rows = zip(table.id, table.voxels, table.uncertainty, table.error, table.iou, strict=True)
    assert {segment: row for segment, *row in rows} == {
        segment: [voxels, *(pytest.approx(value, rel=1e-3) for value in rest)]
        for segment, (voxels, *rest) in expected.items()
    }


@checked
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 6)), max_size=8))
def test_the_correlation_is_spearmans_over_voxels(segments):
    first, second, weights = np.array(segments, float).reshape(-1, 3).T
    found = rank_correlation(first, second, weights)
    a, b = (np.repeat(values, weights.astype(int)) for values in (first, second))
    if len(set(a)) < 2 or len(set(b)) < 2:
        assert found == 0
    else:
        assert found == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_segments_that_are_uncertain_and_wrong():
    """Of three segments the first merges two objects, the second is right, the third half of an object."""
    true = np.zeros((1, 4, 8), np.uint32)
    true[..., :2], true[..., 2:4], true[..., 4:6], true[..., 6:] = 1, 2, 3, 4
    labels = np.zeros_like(true)
    labels[..., :4], labels[..., 4:6], labels[:, :2, 6:] = 30, 7, 2**31
    values = np.select([labels == 30, labels == 7], [0.2, 0.05], 0.1)
    found = scored(labels, block(np.full(true.shape, PRESENT), VOXEL_SIZE_NM, true), values)
    assert found[CORRELATIONS[0]].segments == SegmentTable(
        quantity="mask_variance",
        of=3,
        voxel_nm3=800.0,
        id=[30, 2**31, 7],
        voxels=[16, 4, 8],
        uncertainty=[0.2, 0.1, 0.05],
        error=[0.5, 0, 0],
        iou=[0.5, 0.5, 1],
    )
    # only the first is wrong; the first and the third do not match
    for name, wrong in zip(CORRELATIONS, ([1, 0, 0], [1, 1, 0]), strict=True):
        expected = spearmanr(np.repeat([3, 2, 1], [16, 4, 8]), np.repeat(wrong, [16, 4, 8])).statistic
        assert found[name].value == pytest.approx(expected)


def test_only_the_largest_are_kept_and_all_are_ranked():
    count = MOST_SEGMENTS + 100
    labels = np.repeat(np.arange(1, count + 1, dtype=np.uint32), np.arange(1, count + 1))[None, None]
    found = scored(labels, block(np.full(labels.shape, PRESENT), VOXEL_SIZE_NM, labels), labels / count)
    table = found[CORRELATIONS[0]].segments
    assert (len(table), table.of) == (MOST_SEGMENTS, count)
    assert table.id == tuple(range(count, 100, -1))


def test_without_uncertainty_or_objects_there_are_no_such_scores():
    labels = np.ones(SHAPE, np.uint8)
    truth = block(np.full(SHAPE, PRESENT), VOXEL_SIZE_NM, np.ones(SHAPE, np.uint32))
    uncertainty = Uncertainty("mask_variance", {"mito": np.zeros(SHAPE, np.float32)})
    of_another = Uncertainty("mask_variance", {"er": np.zeros(SHAPE, np.float32)})
    expected = [name for name, score in SCORES.items() if not score.of_uncertainty]
    evaluator = Evaluator(truth, 8.0)
    for given_ in (None, of_another):
        assert [value.score for value in evaluator.scores(Segmentation({"mito": labels}, True), given_)] == expected
    masks = evaluator.scores(Segmentation({"mito": labels}), uncertainty)
    assert not any(SCORES[value.score].of_uncertainty for value in masks)


def test_uncertainty_of_another_shape_is_refused():
    truth = block(np.full(SHAPE, PRESENT), VOXEL_SIZE_NM, np.ones(SHAPE, np.uint32))
    with pytest.raises(ValueError, match=r"class 'mito': uncertainty of shape \(4, 5, 7\), not \(4, 5, 6\)"):
        scored(np.ones(SHAPE, np.uint32), truth, np.zeros((4, 5, 7)))


def table(**changes):
    return SegmentTable(**{"quantity": "q", "of": 1, "voxel_nm3": 8.0, **dict.fromkeys(COLUMNS, (1,)), **changes})


def test_a_table_is_plain_data_and_comes_back():
    assert read_segments(json.loads(json.dumps(table().to_dict()))) == table()
    assert read_segments(None) is None


@pytest.mark.parametrize(
    "changes",
    [{"quantity": 1}, {"of": "1"}, {"of": 0}, {"error": ("1",)}, {"error": (1, 2)}, {"iou": 3}, {"voxel_nm3": None}],
)
def test_a_damaged_table_is_refused(changes):
    with pytest.raises((ValueError, TypeError)):
        read_segments({**table().to_dict(), **changes})
    with pytest.raises(TypeError):
        read_segments({"quantity": "q"})
