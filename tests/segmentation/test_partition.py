from __future__ import annotations

import attrs
import numpy as np
import pytest
from affinity_parts import OFFSETS, affinity_prediction, cells, tubes
from skimage.metrics import variation_of_information

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT, LabelBlock
from dacapo_hd.operations.affinities import affinities, object_labels
from dacapo_hd.segmentation import MutexWatershed, Prediction, SuperpixelAgglomeration
from dacapo_hd.segmentation.affinities import Affinities, affinities_of, interior, interior_of_sections
from dacapo_hd.segmentation.partition import without_small
from dacapo_hd.segmentation.superpixels import average_linkage, superpixels

SHAPE = (10, 60, 64)


def voi(found, truth):
    return sum(variation_of_information(truth, found))


def segmented(segmenter, prediction):
    result = segmenter.segment(prediction)
    assert result.instances
    return result.labels["neuron"]


BOTH = pytest.mark.parametrize("segmenter", [MutexWatershed(), SuperpixelAgglomeration()])


@BOTH
def test_right_affinities_give_the_objects_back(segmenter):
    truth = tubes(SHAPE, 6, 0)
    found = segmented(segmenter, affinity_prediction(truth))
    assert found.dtype == np.uint32
    assert found.min() == 1
    assert voi(found, truth) < 0.25


def test_the_mutex_watershed_of_right_affinities_is_exact():
    truth = cells(SHAPE, 12, 0)
    # no cell falls apart into parts that do not touch
    found = segmented(MutexWatershed(min_size_vx=0, long_range_fraction=1), affinity_prediction(truth))
    assert voi(found, truth) < 1e-9


def test_noisy_affinities_give_nearly_the_objects():
    truth = tubes(SHAPE, 6, 1)
    assert voi(segmented(MutexWatershed(), affinity_prediction(truth, noise=0.3)), truth) < 0.6


@BOTH
def test_the_same_prediction_gives_the_same_labels(segmenter):
    prediction = affinity_prediction(cells(SHAPE, 12, 2), noise=0.5)
    np.testing.assert_array_equal(segmented(segmenter, prediction), segmented(segmenter, prediction))


def test_small_segments_make_room_for_their_neighbours():
    labels = np.ones((1, 9, 9), np.uint32)
    labels[0, 4:, :] = 2
    labels[0, 3:5, 3:6] = 3
    prediction = affinity_prediction(labels, offsets=((0, -1, 0), (0, 0, -1)))
    (affinities,) = affinities_of(prediction, "affinity", None).values()
    grown = without_small(labels, affinities, 7, regrow=True)
    assert set(np.unique(grown)) == {1, 2}
    assert (grown[labels == 1] == 1).all()
    assert (grown[labels == 2] == 2).all()
    removed = without_small(labels, affinities, 7, regrow=False)
    np.testing.assert_array_equal(removed, np.where(labels == 3, 0, labels))
    assert without_small(labels, affinities, 10**6, regrow=True).max() == 0
    np.testing.assert_array_equal(without_small(labels, affinities, 6, regrow=True), labels)


def test_single_voxels_are_never_objects():
    labels = np.zeros((3, 6, 6), int)
    labels[:, 2:, 2:] = 5
    prediction = affinity_prediction(labels)
    found = segmented(MutexWatershed(min_size_vx=0, regrow=False), prediction)
    np.testing.assert_array_equal(found, labels > 0)


def test_the_interior_is_the_mean_over_face_neighbours():
    prediction = affinity_prediction(cells((3, 5, 6), 4, 0), noise=0.25)
    (affinities,) = affinities_of(prediction, "affinity", None).values()
    values = prediction.data
    expected = np.zeros((3, 5, 6))
    for u in np.ndindex(3, 5, 6):
        near = []
        for axis in range(3):
            before = tuple(i + (a == axis) for a, i in enumerate(u))
            near += [values[(axis, *u)]] if u[axis] > 0 else []
            near += [values[(axis, *before)]] if before[axis] < (3, 5, 6)[axis] else []
        expected[u] = np.mean(near)
    np.testing.assert_allclose(interior(affinities), expected, rtol=1e-6)
    flat = interior_of_sections(affinities)
    assert flat[1, 2, 2] == min(values[1, 1, 2, 2], values[1, 1, 3, 2], values[2, 1, 2, 2], values[2, 1, 2, 3])


def test_average_linkage_is_that_of_pair_means():
    # parts 1 | 2 | 3 in a row: 1-2 is the strongest; then 12-3 has the mean of both parts' pairs
    labels = np.repeat(np.array([1, 2, 3], np.uint32), 4).reshape(1, 1, 12)
    near, far = np.ones((1, 1, 12), np.float32), np.ones((1, 1, 12), np.float32)
    near[..., 4], near[..., 8] = 0.9, 0.7
    far[..., 8:12] = 0.4
    affinities = Affinities(((0, 0, -1), (0, 0, -5)), np.stack([near, far]))
    # 2-3: one near pair of 0.7 and three far ones of 0.4; the far pair of 1-3 does not count, they do not touch
    mean = (0.7 + 3 * 0.4) / 4
    assert set(average_linkage(labels, affinities, mean - 0.01).ravel()) == {1}
    found = average_linkage(labels, affinities, mean + 0.01).ravel()
    np.testing.assert_array_equal(found, [1] * 8 + [2] * 4)


def test_superpixels_fill_sections_without_any_inside():
    inside = np.ones((3, 8, 8), np.float32)
    inside[1] = 0
    found = superpixels(inside, 0.5, 1.0, 10)
    assert found.min() == 1
    assert len(np.unique(found)) == found.max()
    assert not set(found[0].ravel()) & set(found[1].ravel())


def test_affinities_are_read_in_voxels_and_in_nanometres():
    truth = cells((4, 12, 12), 3, 0)
    prediction = affinity_prediction(truth)
    renamed = tuple(f"neuron/affinity({','.join(str(step * 8) for step in offset)})nm" for offset in OFFSETS)
    np.testing.assert_array_equal(
        segmented(MutexWatershed(min_size_vx=0), attrs.evolve(prediction, channels=renamed)),
        segmented(MutexWatershed(min_size_vx=0), prediction),
    )


def test_offsets_within_sections_do_not_join_sections():
    prediction = affinity_prediction(np.ones((3, 8, 8), int), offsets=((0, -1, 0), (0, 0, -1)))
    with pytest.raises(UserError) as error:
        MutexWatershed(min_size_vx=0).segment(prediction)
    assert error.value.problems == (
        "mutex_watershed(affinity > 0.5, long range 0.1): no offset leaves the section, but there are 3 sections, "
        "whose objects would fall apart; add an offset along z such as (-1,0,0) to the task",
    )
    one = attrs.evolve(prediction, data=prediction.data[:, :1])
    assert segmented(MutexWatershed(min_size_vx=0), one).max() == 1


def test_a_prediction_of_something_else_is_told():
    prediction = Prediction(("a/distance", "a/probability"), np.zeros((2, 1, 1, 1), np.float32), (1.0, 1.0, 1.0))
    with pytest.raises(UserError) as error:
        MutexWatershed().segment(prediction)
    assert error.value.problems == (
        "mutex_watershed(affinity > 0.5, long range 0.1, size >= 200): the prediction has no channel of 'affinity', "
        "only distance, probability; choose a segmenter for what the task predicts",
    )


@pytest.mark.parametrize("segmenter", [MutexWatershed(min_size_vx=0), MutexWatershed(), SuperpixelAgglomeration()])
def test_objects_in_background_stay_inside_the_foreground(segmenter):
    ids = np.zeros((6, 40, 40), np.uint32)
    ids[1:5, 4:16, 4:16], ids[1:5, 4:16, 16:30], ids[2:4, 24:36, 8:30] = 1, 2, 3
    code = np.where(ids > 0, PRESENT, ABSENT).astype(np.uint8)[None]
    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -4, 0), (0, 0, -4))
    value, _ = affinities(object_labels(LabelBlock(("m",), code, (8.0,) * 3, {"m": ids}), "m"), offsets)
    names = tuple(f"m/affinity({z},{y},{x})" for z, y, x in offsets)
    channels, data = (*names, "m/probability"), np.concatenate([value, (ids > 0)[None]]).astype(np.float32)
    found = segmenter.segment(Prediction(channels, data, (8.0,) * 3)).labels["m"]
    np.testing.assert_array_equal(found > 0, ids > 0)
    pairs = set(zip(found.ravel().tolist(), ids.ravel().tolist(), strict=True))
    assert len(pairs) == 4
    # where nothing is in the foreground, nothing is an object
    data[-1] = 0.3
    prediction = Prediction(channels, data, (8.0,) * 3)
    assert not segmenter.segment(prediction).labels["m"].any()
    np.testing.assert_array_equal(attrs.evolve(segmenter, foreground=0.2).segment(prediction).labels["m"] > 0, True)


def test_affinities_that_lead_out_of_an_object_do_not_join_it_with_another():
    """A careless network says that all voxels belong together; the foreground still keeps what is apart apart."""
    mask = np.zeros((1, 20, 40), bool)
    mask[:, 5:15, 3:15] = mask[:, 5:15, 20:36] = True
    offsets = ((0, -1, 0), (0, 0, -1))
    names = (*(f"m/affinity({z},{y},{x})" for z, y, x in offsets), "m/probability")
    data = np.concatenate([np.ones((2, *mask.shape)), mask[None]]).astype(np.float32)
    found = MutexWatershed(min_size_vx=0).segment(Prediction(names, data, (8.0,) * 3)).labels["m"]
    np.testing.assert_array_equal(found > 0, mask)
    assert len(np.unique(found)) == 3
