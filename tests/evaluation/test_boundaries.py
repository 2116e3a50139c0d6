"""Scores in nanometres against brute force and other libraries, and on constructed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scored_block import block, checked, codes, known_codes, masks, scored, sizes

from dacapo_hd.evaluation import marks as mark
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN


def cube(begin: tuple[int, ...], side: int = 8, shape: tuple[int, ...] = (24, 24, 24)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(b, b + side) for b in begin)] = True
    return mask


def code_of(truth: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    code = np.where(truth, PRESENT, ABSENT)
    return (code if known is None else np.where(known, code, UNKNOWN)).astype(np.uint8)


def brute_boundary(mask: np.ndarray, known: np.ndarray) -> list[tuple[int, ...]]:
    found = []
    for at in zip(*np.nonzero(mask & known), strict=True):
        for axis in range(3):
            for step in (-1, 1):
                other = list(at)
                other[axis] += step
                if 0 <= other[axis] < mask.shape[axis] and known[tuple(other)] and not mask[tuple(other)]:
                    found.append(at)
    return list(dict.fromkeys(found))


def brute_distances(from_voxels: list, to_voxels: list, size: tuple[float, ...]) -> np.ndarray:
    """Return the distance of each voxel to the nearest of the others."""
    return np.array(
        [min(math.dist(np.multiply(a, size), np.multiply(b, size)) for b in to_voxels) for a in from_voxels]
    )


@checked
@given(masks, codes)
def test_marked_boundaries_are_faces_between_known_voxels(prediction, code):
    marks = mark.mark_truth(code)
    mark.mark_prediction(marks, prediction)
    known = code != UNKNOWN
    for bit, mask in ((mark.BOUNDARY, code == PRESENT), (mark.PREDICTED_BOUNDARY, prediction)):
        expected = np.zeros(code.shape, bool)
        for at in brute_boundary(mask, known):
            expected[at] = True
        np.testing.assert_array_equal(marks & bit > 0, expected)
    np.testing.assert_array_equal(marks & mark.KNOWN > 0, known)
    np.testing.assert_array_equal(marks & mark.PREDICTED > 0, prediction & known)


@checked
@given(masks, codes, sizes, st.sampled_from([0.0, 4.6, 9.2, 10.0, 40.0]))
def test_boundary_scores_equal_brute_force(prediction, code, size, tolerance_nm):
    known = code != UNKNOWN
    a, b = brute_boundary(prediction, known), brute_boundary(code == PRESENT, known)
    if not a or not b:
        return
    found = scored(prediction, block(code, size), tolerance_nm=tolerance_nm)
    from_a, from_b = brute_distances(a, b, size), brute_distances(b, a, size)
    assert found["mean_boundary_distance"] == pytest.approx((from_a.mean() + from_b.mean()) / 2, rel=1e-5)
    assert found["hausdorff"] == pytest.approx(max(from_a.max(), from_b.max()), rel=1e-5)
    percentiles = [np.percentile(distances, 95) for distances in (from_a, from_b)]
    assert found["hausdorff_95"] == pytest.approx(max(percentiles), rel=1e-5)
    precision, recall = (np.mean(d <= tolerance_nm * (1 + 1e-9)) for d in (from_a, from_b))
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert found["f1_tolerance"] == pytest.approx(expected)


@checked
@given(masks, codes, sizes)
def test_false_distances_equal_brute_force(prediction, code, size):
    known, truth = code != UNKNOWN, code == PRESENT
    prediction = prediction & known
    if not truth.any() or not prediction.any():
        return
    found = scored(prediction, block(code, size))
    expected = {}
    for name, (mask, other) in {"positive": (prediction, truth), "negative": (truth, prediction)}.items():
        false, rest = (list(zip(*np.nonzero(voxels), strict=True)) for voxels in (mask & ~other, other))
        expected[name] = brute_distances(false, rest, size).mean() if false else 0.0
        assert found[f"mean_false_{name}_distance"] == pytest.approx(expected[name], rel=1e-5)
    assert found["mean_false_distance"] == pytest.approx((expected["positive"] + expected["negative"]) / 2, rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@checked
@given(masks, known_codes, sizes)
def test_boundary_scores_equal_those_of_monai(prediction, code, size):
    # surrounded by absence, since MONAI counts the edge of the image as a boundary
    truth, prediction = np.pad(code == PRESENT, 1), np.pad(prediction, 1)
    if not truth.any() or not prediction.any():
        return
    found = scored(prediction, block(code_of(truth), size))
    pair = [torch.from_numpy(mask[None, None]) for mask in (prediction, truth)]
    for name, percentile in (("hausdorff", None), ("hausdorff_95", 95)):
        distance = compute_hausdorff_distance(*pair, include_background=True, percentile=percentile, spacing=size)
        assert found[name] == pytest.approx(float(distance), rel=1e-5)
    directions = [
        float(compute_average_surface_distance(*pair_, include_background=True, spacing=size))
        for pair_ in (pair, pair[::-1])
    ]
    assert found["mean_boundary_distance"] == pytest.approx(sum(directions) / 2, rel=1e-5)


def itk_image(mask: np.ndarray, size: tuple[float, ...]) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    # SimpleITK orders the spacing x, y, z; the reference passed it z, y, x
    image.SetSpacing(size[::-1])
    return image


@checked
@given(masks, known_codes, sizes)
def test_distances_equal_those_of_simpleitk(prediction, code, size):
    truth, prediction = np.pad(code == PRESENT, 1), np.pad(prediction, 1)
    if not truth.any() or not prediction.any():
        return
    found = scored(prediction, block(code_of(truth), size))
    images = [itk_image(mask, size) for mask in (prediction, truth)]
    contours = [SimpleITK.LabelContour(image, fullyConnected=False) for image in images]
    hausdorff = SimpleITK.HausdorffDistanceImageFilter()
    hausdorff.Execute(*contours)
    assert found["hausdorff"] == pytest.approx(hausdorff.GetHausdorffDistance(), rel=1e-5)
    # the mean of the two directions, each over the contour's voxels
    assert found["mean_boundary_distance"] == pytest.approx(
        sum(_itk_mean(*pair) for pair in (contours, contours[::-1])) / 2, rel=1e-4
    )
    for name, pair in (("positive", images), ("negative", images[::-1])):
        false = SimpleITK.And(pair[0], SimpleITK.Not(pair[1]))
        expected = _itk_mean(false, pair[1]) if SimpleITK.GetArrayFromImage(false).any() else 0
        assert found[f"mean_false_{name}_distance"] == pytest.approx(expected, rel=1e-4)


def _itk_mean(voxels: SimpleITK.Image, others: SimpleITK.Image) -> float:
    far = SimpleITK.SignedMaurerDistanceMap(others, squaredDistance=False, useImageSpacing=True)
    values = SimpleITK.GetArrayFromImage(far)[SimpleITK.GetArrayFromImage(voxels) > 0]
    # the signed map is not positive inside of the others
    return float(np.maximum(values, 0).mean())


@pytest.mark.parametrize(("axis", "size_nm"), [(0, 40.0), (1, 4.0), (2, 4.6)])
def test_a_slab_that_is_shifted_is_off_by_the_shift(axis, size_nm):
    # the reference gave 160 instead of 16 at 40x4x4 nm by swapping the axes
    voxel_size_nm = [1000.0] * 3
    voxel_size_nm[axis] = size_nm
    shape = (20, 20, 20)
    half = np.arange(20) < 8
    near, far = np.zeros(shape, bool), np.zeros(shape, bool)
    np.moveaxis(near, axis, 0)[half] = True
    np.moveaxis(far, axis, 0)[np.roll(half, 4) | half] = True
    truth = block(code_of(near), tuple(voxel_size_nm))
    exactly = scored(far, truth, tolerance_nm=4 * size_nm)
    for name in ("mean_boundary_distance", "hausdorff", "hausdorff_95"):
        assert exactly[name] == pytest.approx(4 * size_nm)
    assert exactly["f1_tolerance"] == 1
    assert scored(far, truth, tolerance_nm=3.9 * size_nm)["f1_tolerance"] == 0
    # layers of false positives that are 1, 2, 3 and 4 voxels away
    assert exactly["mean_false_positive_distance"] == pytest.approx(2.5 * size_nm)
    assert exactly["mean_false_negative_distance"] == 0
    assert exactly["mean_false_distance"] == pytest.approx(1.25 * size_nm)


def test_shifted_cubes_have_the_distance_counted_by_hand():
    # side 8, shifted by 1 along x: of the 296 surface voxels, those of the face left behind are one voxel away, as
    # are those on the new face; all others of one surface are on the other, but for the 6x6 inside of both end faces
    found = scored(cube((8, 8, 9)), block(code_of(cube((8, 8, 8)))), tolerance_nm=0.0)
    moved, surface = 8 * 8 + 6 * 6, 8**3 - 6**3
    assert found["mean_boundary_distance"] == pytest.approx(8.0 * moved / surface)
    assert found["f1_tolerance"] == pytest.approx(1 - moved / surface)
    assert found["mean_false_positive_distance"] == found["mean_false_negative_distance"] == 8
    assert found["hausdorff"] == found["hausdorff_95"] == 8


def test_one_stray_voxel_rules_the_hausdorff_distance_and_not_its_95th_percentile():
    truth = cube((8, 8, 8))
    stray = truth.copy()
    stray[0, 0, 0] = True
    found = scored(stray, block(code_of(truth)))
    assert found["hausdorff"] == pytest.approx(8 * math.sqrt(3 * 8**2))
    assert found["hausdorff_95"] == 0


def test_hausdorff_is_between_centres_of_boundary_voxels():
    # a hollow in the middle of a solid cube: its voxels are 4 voxels from the solid cube's boundary, though no voxel
    # of either mask is more than 1 away from the other mask
    truth = cube((8, 8, 8), side=9)
    hollow = truth.copy()
    hollow[12, 12, 12] = False
    found = scored(hollow, block(code_of(truth)))
    assert found["hausdorff"] == 8 * math.sqrt(3**2)
    assert found["mean_false_negative_distance"] == 8


def test_a_border_against_unknown_is_no_boundary():
    truth = cube((8, 8, 8))
    known = np.ones(truth.shape, bool)
    known[..., 16:] = False
    # the prediction goes on where nothing is known: no error, and no boundary where knowledge ends
    longer = truth & known
    longer[8:16, 8:16, 16:20] = True
    found = scored(longer, block(code_of(truth, known)), tolerance_nm=0.0)
    assert found["f1_tolerance"] == 1
    for name in ("mean_boundary_distance", "hausdorff", "hausdorff_95", "mean_false_distance"):
        assert found[name] == 0


def test_false_voxels_are_measured_to_voxels_that_touch_only_unknown_ones():
    # knowledge has a gap around the truth, so that it has no boundary, but it is where it is
    truth, known = np.zeros((1, 1, 9), bool), np.ones((1, 1, 9), bool)
    truth[..., :2], known[..., 2:4] = True, False
    prediction = np.zeros(truth.shape, bool)
    prediction[..., 4] = True
    found = scored(prediction, block(code_of(truth, known)))
    assert found["mean_false_positive_distance"] == 3 * 8
    assert found["mean_false_negative_distance"] == (4 + 3) / 2 * 8
    assert math.isnan(found["hausdorff"])
