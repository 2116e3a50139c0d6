"""Heads, losses, decoding and configuration of the three tasks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.operations.distance import signed_distance
from dacapo_hd.segmentation import AngularClustering, MutexWatershed, Prediction, Threshold, Watershed
from dacapo_hd.tasks import Distance, HotDistance, OneHot

CLASSES = ("mito", "er")
STAGES = ((FeatureMap(5), FeatureMap(7, (2, 2, 2))),)


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return [[torch.randn(2, 5, 9, 10, 11, generator=generator), torch.randn(2, 7, 4, 5, 5, generator=generator)]]


@pytest.fixture
def block():
    rng = np.random.default_rng(0)
    code = rng.choice([UNKNOWN, ABSENT, PRESENT], p=[0.2, 0.6, 0.2], size=(2, 9, 10, 11)).astype(np.uint8)
    return LabelBlock(CLASSES, code, (8.0, 8.0, 8.0))


def test_one_hot_targets_count_only_what_is_known(block):
    target = OneHot(CLASSES).targets(block)["one_hot"]
    assert target.channels == ("mito/present", "er/present")
    np.testing.assert_array_equal(target.value, block.code == PRESENT)
    np.testing.assert_array_equal(target.weight, block.code != UNKNOWN)


def test_the_halves_of_hot_distance_are_the_baselines(block):
    both = HotDistance(CLASSES, scale_nm=20).targets(block)
    one_hot, distance = OneHot(CLASSES).targets(block), Distance(CLASSES, scale_nm=20).targets(block)
    assert set(both) == {"one_hot", "distance"}
    for name, half in (("one_hot", one_hot), ("distance", distance)):
        np.testing.assert_array_equal(both[name].value, half[name].value)
        np.testing.assert_array_equal(both[name].weight, half[name].weight)


def test_each_half_has_its_own_weights(block):
    targets = HotDistance(CLASSES).targets(block)
    assert (targets["one_hot"].weight > targets["distance"].weight).any()
    assert targets["one_hot"].weight.sum() == (block.code != UNKNOWN).sum()


def test_an_exclusive_class_trains_the_one_hot_half_alone(as_batch):
    code = np.zeros((1, 9, 9, 9), np.uint8)
    code[0, 4, 4, 4] = ABSENT
    task = HotDistance(("mito",))
    targets = as_batch(task.targets(LabelBlock(("mito",), code, (8.0, 8.0, 8.0))))
    predictions = {"one_hot": torch.zeros(1, 1, 9, 9, 9), "distance": torch.full((1, 1, 9, 9, 9), 0.9)}
    losses = task.loss(predictions, targets)
    assert losses["one_hot"].item() == pytest.approx(np.log(2))
    assert losses["distance"].item() == 0


def test_only_the_last_convolution_is_split(features):
    head = HotDistance(CLASSES).head(STAGES)
    assert [tuple(p.shape) for p in head.parameters()] == [(4, 5, 1, 1, 1), (4,)]
    predictions = head(features)
    assert {name: tuple(p.shape) for name, p in predictions.items()} == {
        "one_hot": (2, 2, 9, 10, 11),
        "distance": (2, 2, 9, 10, 11),
    }
    projected = head.project(features[-1][0])
    torch.testing.assert_close(predictions["one_hot"], projected[:, :2])
    torch.testing.assert_close(predictions["distance"], projected[:, 2:].tanh())


def test_the_tanh_is_in_full_precision_under_autocast(features):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = HotDistance(CLASSES).head(STAGES)(features)
    assert predictions["one_hot"].dtype == torch.bfloat16
    assert predictions["distance"].dtype == torch.float32


def test_distance_weight_scales_the_distance_part_alone(features, block, as_batch):
    light, heavy = HotDistance(CLASSES), HotDistance(CLASSES, distance_weight=3)
    targets = as_batch(light.targets(block), light.targets(block))
    predictions = light.head(STAGES)(features)
    a, b = light.loss(predictions, targets), heavy.loss(predictions, targets)
    torch.testing.assert_close(b["one_hot"], a["one_hot"])
    torch.testing.assert_close(b["distance"], 3 * a["distance"])


def test_decode_gives_probability_then_distance(features):
    task = HotDistance(CLASSES)
    assert [channel.name for channel in task.output_channels()] == [
        "mito/probability",
        "er/probability",
        "mito/distance",
        "er/distance",
    ]
    predictions = {name: value.detach() for name, value in task.head(STAGES)(features).items()}
    decoded = task.decode(predictions)
    torch.testing.assert_close(decoded[:, :2], predictions["one_hot"].sigmoid())
    torch.testing.assert_close(decoded[:, 2:], predictions["distance"])


def test_a_perfect_prediction_is_segmented_right_by_every_default(ball):
    for task in (OneHot(("mito",)), Distance(("mito",)), HotDistance(("mito",), boundaries="instance")):
        distance = np.tanh(signed_distance(ball, (8, 8, 8)) / 50)
        perfect = {"probability": ball, "distance": distance}
        names = tuple(channel.name for channel in task.output_channels())
        data = np.stack([perfect[name.split("/")[1]] for name in names]).astype(np.float32)
        for segmenter in task.segmenters():
            found = segmenter.segment(Prediction(names, data, (8.0, 8.0, 8.0))).labels["mito"] > 0
            overlap = 2 * (found & ball).sum() / (found.sum() + ball.sum())
            assert overlap > 0.85, segmenter
            if getattr(segmenter, "threshold", None) == 0:
                np.testing.assert_array_equal(found, ball)


def test_default_grids():
    assert {s.quantity for s in OneHot(CLASSES).segmenters()} == {"probability"}
    assert {s.quantity for s in Distance(CLASSES).segmenters()} == {"distance"}
    assert {s.quantity for s in HotDistance(CLASSES).segmenters()} == {"distance", "probability"}
    assert {type(s) for s in HotDistance(CLASSES, boundaries="instance").segmenters()} == {Watershed}


def test_a_grid_in_the_config_replaces_the_default():
    grid = (Threshold(quantity="probability", threshold=0.25),)
    assert OneHot(CLASSES, grid=grid).segmenters() == grid


def test_score():
    assert OneHot(CLASSES).score == "dice"
    assert OneHot(CLASSES, best_by="voi").score == "voi"


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (OneHot, {"classes": ()}, "must be a list with at least one entry, got ()"),
        (OneHot, {"classes": "mito"}, "must be a list of different class names, got 'mito'"),
        (Distance, {"classes": ("a", "b", "a")}, "must be a list of different class names, got ('a', 'b', 'a')"),
        (OneHot, {"best_by": "dise"}, "unknown score 'dise'; did you mean 'dice'?"),
        (Distance, {"scale_nm": 0}, "must be > 0, got 0"),
        (Distance, {"tolerance": 0}, "must be > 0, got 0"),
        (Distance, {"tolerance": 1.5}, "must be between 0 and 1, got 1.5"),
        (Distance, {"distance_supervision": "both"}, "must be one of 'exact', 'interval', got 'both'"),
        (HotDistance, {"distance_axes": "xy"}, "must be one of 'zyx', 'yx', got 'xy'"),
        (HotDistance, {"boundaries": "none"}, "must be one of 'class', 'instance', got 'none'"),
        (HotDistance, {"distance_weight": -1}, "must be > 0, got -1"),
        (
            OneHot,
            {"grid": (Threshold(quantity="distance", threshold=0.0),)},
            "Threshold reads distance, but OneHot predicts probability; set its quantity: probability",
        ),
        (
            HotDistance,
            {"grid": (Threshold(quantity="distance", threshold=0.0), AngularClustering(), MutexWatershed())},
            "AngularClustering reads distance and embedding, but HotDistance predicts probability and distance; choose "
            "among Argmax, ConnectedComponents, Threshold, Watershed\n"
            "MutexWatershed reads affinity, but HotDistance predicts probability and distance; choose among Argmax, "
            "ConnectedComponents, Threshold, Watershed",
        ),
    ],
)
def test_invalid_settings(task, options, message):
    with pytest.raises(ValueError) as error:
        task(**{"classes": CLASSES, **options})
    assert str(error.value) == message


def test_context_reaches_as_far_as_the_tanh_is_not_saturated():
    task = HotDistance(CLASSES, scale_nm=80, tolerance=0.02)
    assert np.tanh(task.context_nm / 80) == pytest.approx(0.98)
    assert (task.context_axes, HotDistance(CLASSES, distance_axes="yx").context_axes) == ("zyx", "yx")
    assert OneHot(CLASSES).context_nm == 0


def test_configurations_load_without_heavy_imports():
    code = "import sys, dacapo_hd.tasks; print([m for m in ('torch', 'gunpowder', 'matplotlib') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
