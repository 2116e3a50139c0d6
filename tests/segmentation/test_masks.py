"""Masks from decoded quantities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dacapo_hd.config import structure, unstructure
from dacapo_hd.errors import UserError
from dacapo_hd.segmentation import Argmax, ConnectedComponents, Prediction, Segmenter, Threshold, Watershed

CHANNELS = ("mito/probability", "er/probability", "mito/distance", "er/distance")

values = hnp.arrays(np.float32, (4, 2, 3, 4), elements=st.floats(-1, 1, width=16))
checked = settings(max_examples=30, deadline=None, derandomize=True)


def prediction(data: np.ndarray, channels: tuple[str, ...] = CHANNELS) -> Prediction:
    return Prediction(channels, data.astype(np.float32), (8.0, 8.0, 8.0))


@checked
@given(values, st.floats(-1, 0.99))
def test_threshold_is_strict_and_reads_its_quantity_of_each_class(data, threshold):
    found = Threshold("distance", threshold).segment(prediction(data))
    assert not found.instances
    assert list(found.labels) == ["mito", "er"]
    for index, mask in enumerate(found.labels.values()):
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, data[2 + index] > threshold)


@checked
@given(values, st.floats(0, 0.99))
def test_argmax_masks_exclude_each_other_and_hold_the_highest_value(data, threshold):
    labels = Argmax("probability", threshold).segment(prediction(data)).labels
    mito, er = labels["mito"].astype(bool), labels["er"].astype(bool)
    assert labels["mito"].dtype == np.uint8
    assert not np.any(mito & er)
    np.testing.assert_array_equal(mito | er, np.maximum(data[0], data[1]) > threshold)
    assert np.all(data[0][mito] >= data[1][mito])
    assert np.all(data[1][er] > data[0][er])


def test_threshold_finds_an_object_in_a_distance_prediction():
    # the reference compared distances, which lie in -1..1, with 127, and found nothing
    data = np.tanh(np.linspace(-3, 3, 10)).reshape(1, 1, 1, 10)
    found = Threshold("distance", 0.0).segment(prediction(data, ("mito/distance",)))
    assert found.labels["mito"].ravel().tolist() == [0] * 5 + [1] * 5


@pytest.mark.parametrize(
    ("quantity", "threshold", "message"),
    [
        ("distance", 127.0, "must be from -1 to below 1 for the quantity 'distance', got 127.0"),
        ("distance", 1.0, "must be from -1 to below 1 for the quantity 'distance', got 1.0"),
        ("probability", -0.1, "must be from 0 to below 1 for the quantity 'probability', got -0.1"),
        ("probability", float("nan"), "must be from 0 to below 1 for the quantity 'probability', got nan"),
        ("logit", 0.5, "must be one of 'distance', 'probability', got 'logit'"),
    ],
)
@pytest.mark.parametrize("kind", [Threshold, Argmax])
def test_a_threshold_outside_the_range_is_refused(kind, quantity, threshold, message):
    with pytest.raises(ValueError) as caught:
        kind(quantity, threshold)
    assert str(caught.value) == message


def test_all_problems_of_a_config_are_reported_at_once():
    with pytest.raises(UserError) as caught:
        structure({"type": "Watershed", "quantity": "dist", "seed_threshold": 0.1, "min_size_vx": -1}, Segmenter)
    assert caught.value.problems == (
        "quantity: must be one of 'distance', 'probability', got 'dist'",
        "min_size_vx: must be >= 0, got -1",
    )


@pytest.mark.parametrize(
    "segmenter",
    [
        Threshold("distance", 0.1),
        Argmax(),
        ConnectedComponents("probability", 0.5, 6, 20),
        Watershed("distance", 0.5, 0.1, 20),
    ],
)
def test_a_config_survives_the_way_through_plain_data(segmenter):
    assert structure(unstructure(segmenter), Segmenter) == segmenter


def test_a_quantity_that_the_task_does_not_predict_is_named():
    with pytest.raises(UserError) as caught:
        Threshold("distance", 0.1).segment(prediction(np.zeros((1, 2, 2, 2)), ("mito/probability",)))
    assert str(caught.value) == (
        "threshold(distance > 0.1): the prediction has no channel of 'distance', only mito/probability; "
        "choose a segmenter for what the task predicts"
    )


def test_labels_for_tables():
    assert Threshold("distance", 0.1).label == "threshold(distance > 0.1)"
    assert Argmax().label == "argmax(probability > 0.5)"
