"""An evaluator gives what single evaluations give, whatever it was used for before and however much it keeps."""

from __future__ import annotations

import numpy as np
import pytest

from dacapo_hd.evaluation import Evaluator, boundaries, evaluate
from dacapo_hd.evaluation import marks as mark
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.segmentation.base import Segmentation

SHAPE = (9, 16, 20)
CLASSES = ("mito", "er", "psd")
BYTES = int(np.prod(SHAPE)) * 4


def truth(unknown: bool) -> LabelBlock:
    """Make three classes, of the last of which nothing is known, with ids for the first."""
    rng = np.random.default_rng(0)
    ids = np.kron(rng.integers(0, 4, (3, 4, 5)), np.ones((3, 4, 4))).astype(np.uint32)
    code = np.stack([np.where(ids > 0, PRESENT, ABSENT), np.where(ids > 2, PRESENT, ABSENT), np.zeros(SHAPE)])
    if unknown:
        code[:, rng.random(SHAPE) < 0.2] = UNKNOWN
    return LabelBlock(CLASSES, code.astype(np.uint8), (40.0, 4.0, 4.6), {"mito": ids})


def segmentations() -> list[Segmentation]:
    rng = np.random.default_rng(1)
    values = rng.random((3, 3, 4, 5)).repeat(3, 1).repeat(4, 2).repeat(4, 3) + 0.2 * rng.random((3, *SHAPE))
    found = []
    for threshold in (0.9, 0.5, 2.0, 0.0, 0.7):
        masks = dict(zip(CLASSES, (values > threshold).astype(np.uint8), strict=True))
        found.append(Segmentation(masks))
        ids = (10 * values[0]).astype(np.uint32)
        found.append(Segmentation({"mito": np.where(masks["mito"], ids, 0)}, instances=True))
    return found


def plain(values):
    return [(value.class_name, value.score, value.value) for value in values]


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("memory_bytes", [0, BYTES, 2 * BYTES, 3 * BYTES, 1 << 30])
def test_an_evaluator_gives_what_single_evaluations_give(unknown, memory_bytes):
    block = truth(unknown)
    evaluator = Evaluator(block, 8.0, memory_bytes)
    for segmentation in segmentations():
        expected = evaluate(segmentation, truth(unknown), 8.0)
        # equal to the last bit, so that a score does not depend on how it came about
        np.testing.assert_equal(plain(evaluator.scores(segmentation)), plain(expected))


def test_truth_and_segmentation_are_left_as_they_are():
    block, segmentation = truth(True), segmentations()[1]
    before = block.code.copy(), block.instances["mito"].copy(), segmentation.labels["mito"].copy()
    Evaluator(block, 8.0).scores(segmentation)
    for old, new in zip(before, (block.code, block.instances["mito"], segmentation.labels["mito"]), strict=True):
        np.testing.assert_array_equal(old, new)


def built(monkeypatch, memory_bytes: int, unknown: bool) -> int:
    """Return how many distance maps to the truth are made for five segmentations of two known classes."""
    made = []
    original = boundaries.DistanceMap.to.__func__

    def counting(cls, marks, bit, size):
        made.append(bit)
        return original(cls, marks, bit, size)

    monkeypatch.setattr(boundaries.DistanceMap, "to", classmethod(counting))
    evaluator = Evaluator(truth(unknown), 8.0, memory_bytes)
    for segmentation in segmentations():
        if not segmentation.instances:
            evaluator.scores(segmentation)
    return sum(bit in (mark.BOUNDARY, mark.PRESENT) for bit in made)


@pytest.mark.parametrize(
    ("memory_bytes", "unknown", "expected"),
    [
        (1 << 30, False, 2),
        (1 << 30, True, 4),
        # one class has room; the other is measured for each segmentation but the empty one
        (BYTES, False, 1 + 4),
        (0, False, 4 + 4),
    ],
)
def test_distances_to_the_truth_are_worked_out_once_if_they_fit(monkeypatch, memory_bytes, unknown, expected):
    assert built(monkeypatch, memory_bytes, unknown) == expected


def test_an_evaluator_refuses_a_negative_tolerance():
    with pytest.raises(ValueError) as caught:
        Evaluator(truth(False), -1.0)
    assert str(caught.value) == "tolerance_nm must be >= 0, got -1.0"
