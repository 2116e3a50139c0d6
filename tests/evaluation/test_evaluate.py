"""Scores of masks by their definitions, the voxels that count, and what leaves every score as it is."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
import skimage.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scored_block import IN_NM, SHAPE, block, checked, codes, ids, known_codes, masks, same, scored, sizes

from dacapo_hd.evaluation import SCORES, evaluate
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.segmentation.base import Segmentation


@checked
@given(masks, codes)
def test_mask_scores_follow_their_definitions_on_known_voxels(prediction, code):
    known = code != UNKNOWN
    p, t = prediction[known], code[known] == PRESENT
    found = scored(prediction, block(code))
    tp, fp, fn, tn = ((p & t).sum(), (p & ~t).sum(), (~p & t).sum(), (~p & ~t).sum())
    if not tp + fn:
        # what is made up where nothing is has a score of its own
        assert all(np.isnan(found[name]) for name in ("dice", "jaccard", "precision", "false_discovery_rate"))
    else:
        assert found["dice"] == pytest.approx(2 * tp / (p.sum() + t.sum()))
        assert found["jaccard"] == pytest.approx(tp / (p | t).sum())
    if tp + fn and tp + fp:
        assert found["precision"] == pytest.approx(tp / (tp + fp))
        assert found["false_discovery_rate"] == pytest.approx(fp / (tp + fp))
    if tp + fn:
        assert found["recall"] == pytest.approx(tp / (tp + fn))
        assert found["false_negative_rate"] == pytest.approx(fn / (tp + fn))
    if fp + tn:
        assert found["false_positive_rate"] == pytest.approx(fp / (fp + tn))
    if known.any():
        merge, split = skimage.metrics.variation_of_information(p.astype(int), t.astype(int))
        assert (found["voi_split"], found["voi_merge"]) == pytest.approx((split, merge), abs=1e-9)
        assert found["voi"] == pytest.approx(split + merge, abs=1e-9)


@checked
@given(masks, known_codes)
def test_mask_scores_equal_those_of_simpleitk(prediction, code):
    truth = code == PRESENT
    if not truth.any() or not prediction.any() or truth.all():
        return
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    # the source comes first, the target that it is scored against second
    overlap.Execute(*(SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, truth)))
    found = scored(prediction, block(code))
    assert found["dice"] == pytest.approx(overlap.GetDiceCoefficient())
    assert found["jaccard"] == pytest.approx(overlap.GetJaccardCoefficient())
    assert found["false_negative_rate"] == pytest.approx(overlap.GetFalseNegativeError())
    assert found["false_positive_rate"] == pytest.approx(overlap.GetFalsePositiveError())
    assert found["false_discovery_rate"] == pytest.approx(overlap.GetFalseDiscoveryRate())


@checked
@given(ids, codes, ids, hnp.arrays(np.uint32, SHAPE, elements=st.integers(0, 5)))
def test_unknown_voxels_have_no_influence(prediction, code, truth, noise):
    changed = np.where(code == UNKNOWN, noise, prediction)
    other_truth = np.where(code == UNKNOWN, noise, truth)
    for instances in (False, True):
        before = scored(prediction, block(code, instances=truth), instances)
        same(scored(changed, block(code, instances=other_truth), instances), before)


@checked
@given(ids, codes, ids, sizes, ids, st.tuples(*[st.integers(0, 2)] * 6))
def test_a_margin_of_which_nothing_is_known_changes_nothing(prediction, code, truth, size, noise, widths):
    margin = list(zip(widths[:3], widths[3:], strict=True))
    before = scored(prediction, block(code, size, truth), True)
    found = scored(
        np.pad(prediction, margin, constant_values=3),
        block(np.pad(code, margin, constant_values=UNKNOWN), size, np.pad(truth, margin, constant_values=4)),
        instances=True,
    )
    if not (prediction[code != UNKNOWN] > 0).any() or (prediction[code != UNKNOWN] > 0).all():
        # without a boundary or a voxel to measure to, the distance is the diagonal, which grows with the margin
        before, found = ({k: v for k, v in values.items() if k not in IN_NM} for values in (before, found))
    same(found, before)


@checked
@given(ids, codes, ids, st.permutations(range(6)))
def test_numbering_is_irrelevant(prediction, code, truth, order):
    numbers = np.array(order, dtype=np.uint32) * 1_000_003 + 7
    objects = np.where(truth > 0, numbers[truth], 0)
    # segment 0 is the outside of the mask and keeps its number
    segments = np.where(prediction > 0, numbers[prediction], 0)
    before = scored(prediction, block(code, instances=truth), True)
    same(scored(segments, block(code, instances=objects), True), before)


@checked
@given(ids, codes, ids, sizes, st.permutations(range(3)))
def test_axes_carry_their_voxel_size_along(prediction, code, truth, size, axes):
    turned = tuple(size[axis] for axis in axes)
    before = scored(prediction, block(code, size, truth), True)
    found = scored(
        prediction.transpose(axes), block(code.transpose(axes), turned, truth.transpose(axes)), instances=True
    )
    if axes[0] != 0:
        # CREMI's border mask is made in sections
        before, found = ({k: v for k, v in values.items() if "cremi" not in k} for values in (before, found))
    same(found, before)


@checked
@given(ids, codes, ids, sizes, st.tuples(*[st.booleans()] * 3))
def test_mirroring_changes_nothing(prediction, code, truth, size, flips):
    axes = [axis for axis, flip in enumerate(flips) if flip]
    before = scored(prediction, block(code, size, truth), True)
    found = scored(np.flip(prediction, axes), block(np.flip(code, axes), size, np.flip(truth, axes)), True)
    same(found, before)


@checked
@given(ids, codes, ids, sizes, st.sampled_from([0.5, 3.0, 10.0]))
def test_nanometres_scale_with_the_voxel_size_and_nothing_else_does(prediction, code, truth, size, factor):
    before = scored(prediction, block(code, size, truth), True, tolerance_nm=12.0)
    larger = scored(prediction, block(code, tuple(factor * s for s in size), truth), True, tolerance_nm=12.0 * factor)
    assert {name for name, score in SCORES.items() if score.unit == "nm"} == IN_NM
    assert {name for name, score in SCORES.items() if score.unit == "nm²"} == {"squared_size_error"}
    factors = dict.fromkeys(IN_NM, factor) | {"squared_size_error": factor**2}
    same(larger, {name: value * factors.get(name, 1) for name, value in before.items()})


@checked
@given(masks, known_codes, sizes)
def test_exchanging_truth_and_prediction_exchanges_scores(prediction, code, size):
    truth = code == PRESENT
    for mask in (prediction, truth):
        if mask.all() or not mask.any():
            return
    before = scored(prediction, block(code, size))
    found = scored(truth, block(np.where(prediction, PRESENT, ABSENT).astype(np.uint8), size))
    exchanged = {
        "precision": "recall",
        "false_discovery_rate": "false_negative_rate",
        "mean_false_positive_distance": "mean_false_negative_distance",
        "voi_split": "voi_merge",
    }
    exchanged |= {second: first for first, second in exchanged.items()}
    same(
        {exchanged.get(name, name): value for name, value in found.items() if name != "false_positive_rate"},
        {name: value for name, value in before.items() if name != "false_positive_rate"},
    )


def test_classes_are_scored_one_by_one_and_instances_only_where_told():
    code = np.full((2, 24, 24, 24), ABSENT, np.uint8)
    code[0, 2:10, 2:10, 2:10] = code[1, 10:18, 10:18, 10:18] = PRESENT
    truth = LabelBlock(("mito", "er"), code, (8.0, 8.0, 8.0))
    segmentation = Segmentation({"er": (code[1] == PRESENT).astype(np.uint8), "mito": np.zeros((24,) * 3, np.uint8)})
    found = {(value.class_name, value.score): value.value for value in evaluate(segmentation, truth, 8.0)}
    assert found["er", "dice"] == 1
    assert found["mito", "dice"] == 0
    assert ("er", "instance_voi") not in found


@pytest.mark.parametrize(
    ("labels", "tolerance_nm", "message"),
    [
        ({"er": np.zeros(SHAPE, int)}, 8.0, "class 'er' is not one of the truth's: mito"),
        (
            {"mito": np.zeros((4, 5, 5), int)},
            8.0,
            "class 'mito': segmentation of shape (4, 5, 5), truth of shape (4, 5, 6)",
        ),
        ({"mito": np.zeros(SHAPE)}, 8.0, "class 'mito': labels must be integers, got float64"),
        ({"mito": np.full(SHAPE, -1)}, 8.0, "class 'mito': labels must be >= 0, got -1"),
        ({"mito": np.zeros(SHAPE, int)}, -1.0, "tolerance_nm must be >= 0, got -1.0"),
    ],
)
def test_what_does_not_fit_is_refused(labels, tolerance_nm, message):
    with pytest.raises(ValueError) as caught:
        evaluate(Segmentation(labels), block(np.full(SHAPE, PRESENT, np.uint8)), tolerance_nm)
    assert str(caught.value) == message


def size(inside, outside, extent, voxel_size) -> float:
    """Return the size of a mask by its definition; `extent` is the shape of what is known."""
    places = [np.argwhere(mask) * voxel_size for mask in (inside, outside)]
    if not len(places[0]):
        return 0.0
    if not len(places[1]):
        return 2 * max(np.multiply(extent, voxel_size))
    return 2 * np.abs(places[0][:, None] - places[1]).max(axis=-1).min(axis=1).max()


@checked
@given(masks, codes, sizes)
def test_the_squared_size_error_is_that_of_the_definition(prediction, code, voxel_size):
    known = code != UNKNOWN
    found = scored(prediction, block(code, voxel_size))["squared_size_error"]
    if not known.any():
        assert np.isnan(found)
        return
    extent = np.ptp(np.argwhere(known), axis=0) + 1
    measured = [
        size(mask & known, ~mask & known, extent, np.array(voxel_size)) for mask in (prediction, code == PRESENT)
    ]
    assert found == pytest.approx((measured[0] - measured[1]) ** 2, rel=1e-5)
