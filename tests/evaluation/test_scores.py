"""What each score promises: range, direction, value on empty sides, and its line in the docs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dacapo_hd.errors import UserError
from dacapo_hd.evaluation import SCORES, evaluate, score_named
from dacapo_hd.evaluation.segments import CORRELATIONS
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.segmentation.base import Segmentation
from dacapo_hd.segmentation.uncertainty import Uncertainty

DOCS = Path(__file__).parents[2] / "docs" / "scores.md"
VOXEL_SIZE_NM = (8.0, 4.0, 2.0)
SHAPE = (6, 10, 12)


def objects() -> np.ndarray:
    """Make two boxes of equal size that touch."""
    ids = np.zeros(SHAPE, np.uint32)
    ids[1:5, 1:9, 1:6], ids[1:5, 1:9, 6:11] = 1, 2
    return ids


def scored(prediction: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None) -> dict[str, float]:
    """Score instance labels with an uncertainty that is highest in the last object, so that every score is there."""
    code = np.where(truth > 0, PRESENT, ABSENT).astype(np.uint8)
    if known is not None:
        code[~known] = UNKNOWN
    block = LabelBlock(("mito",), code[None], VOXEL_SIZE_NM, {"mito": truth.astype(np.uint32)})
    uncertainty = Uncertainty("mask_variance", {"mito": prediction.astype(np.float32)})
    values = evaluate(Segmentation({"mito": prediction.astype(np.uint32)}, instances=True), block, 2.0, uncertainty)
    assert {value.class_name for value in values} == {"mito"}
    assert [value.score for value in values] == list(SCORES)
    return {value.score: value.value for value in values}


def test_a_perfect_prediction_has_the_best_value_of_every_score():
    found = scored(objects(), objects())
    assert {name for name, score in SCORES.items() if score.of_uncertainty} == set(CORRELATIONS)
    # where nothing is wrong there is nothing to rank
    assert [found.pop(name) for name in CORRELATIONS] == [0, 0]
    assert found == {name: SCORES[name].best_value for name in found} and len(found) == len(SCORES) - 2


def test_errors_where_it_is_uncertain_have_the_best_value():
    # the second object is the uncertain one, and reaches too far
    prediction = objects()
    prediction[1:5, 9] = 2
    found = scored(prediction, objects())
    assert [found[name] for name in CORRELATIONS] == [SCORES[name].best_value for name in CORRELATIONS]


def size_nm() -> float:
    """Return the size of `objects()` by the definition."""
    inside, outside = (np.argwhere(mask) * VOXEL_SIZE_NM for mask in (objects() > 0, objects() == 0))
    return 2 * np.abs(inside[:, None] - outside).max(axis=-1).min(axis=1).max()


def entropy(share: float) -> float:
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)


def declared(text: str) -> float:
    """Evaluate what a score declares for one empty side, the other being `objects()`."""
    diagonal = math.dist((0, 0, 0), np.multiply(SHAPE, VOXEL_SIZE_NM))
    share = (objects() > 0).mean()
    # a pixel is border, and so are those within 2 nm, one pixel along x
    inner = 4 * 6 * (5 - 4)
    background = 2 * inner / np.prod(SHAPE)
    rand = 1 - 2 * background / (2 * inner**2 + background)
    meaning = {
        "NaN": math.nan,
        "diagonal of the block": diagonal,
        "half the diagonal of the block": diagonal / 2,
        "squared size of the prediction": size_nm() ** 2,
        "squared size of the truth": size_nm() ** 2,
        "H(prediction)": entropy(share),
        "H(truth)": entropy(share),
        "FP / known": share,
        "H(instances)": 1.0,
        "number of segments": 2,
        "number of instances": 2,
        "the value for one segment": 1 - 2 * 2 / (2 + 4),
        "nearly 1": rand,
        "sqrt(H(instances) cremi_adapted_rand_error)": math.sqrt(rand),
    }
    return meaning[text] if text in meaning else float(text)


@pytest.mark.parametrize("name", SCORES)
def test_empty_sides_have_the_declared_values(name):
    score, empty = SCORES[name], np.zeros(SHAPE, dtype=bool)
    assert scored(objects(), empty)[name] == pytest.approx(declared(score.empty_truth), nan_ok=True)
    assert scored(empty, objects())[name] == pytest.approx(declared(score.empty_prediction), nan_ok=True)
    assert scored(empty, empty)[name] == pytest.approx(declared(score.both_empty), nan_ok=True)


@pytest.mark.parametrize("seed", range(10))
def test_values_stay_in_range_and_nan_depends_on_the_truth_alone(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, SHAPE) * (rng.random(SHAPE) < seed / 9)
    known = rng.random(SHAPE) < 0.7
    undefined = []
    for prediction in (rng.integers(0, 3, SHAPE), np.zeros(SHAPE), np.ones(SHAPE), truth):
        values = scored(prediction, truth, known)
        undefined.append({name for name, value in values.items() if math.isnan(value)})
        for name in values.keys() - undefined[-1]:
            assert SCORES[name].low <= values[name] <= SCORES[name].high + 1e-12, name
    assert all(names == undefined[0] for names in undefined)


def test_nothing_known_is_nan_everywhere():
    values = scored(objects(), objects(), known=np.zeros(SHAPE, dtype=bool))
    assert all(math.isnan(value) for value in values.values())


def test_everything_wrong_is_not_perfect():
    truth = np.zeros(SHAPE)
    truth[:, :, 0] = 1
    values = scored(1 - truth, truth)
    assert values["dice"] == 0


def test_an_unknown_score_is_named_with_the_near_one():
    with pytest.raises(UserError) as caught:
        score_named("dise")
    assert str(caught.value) == "unknown score 'dise'; did you mean 'dice'?"
    with pytest.raises(UserError) as caught:
        score_named("zzz")
    assert str(caught.value) == "unknown score 'zzz'; there are " + ", ".join(SCORES)


@pytest.mark.parametrize(("name", "here"), [("f1_score", "dice"), ("mean_surface_distance", "mean_boundary_distance")])
def test_a_score_by_the_name_of_other_programs_is_named(name, here):
    with pytest.raises(UserError) as caught:
        score_named(name)
    assert str(caught.value) == f"unknown score {name!r}; it is called {here!r} here"


@pytest.mark.parametrize("name", SCORES)
def test_the_docs_state_what_the_code_declares(name):
    score = SCORES[name]
    high = "inf" if math.isinf(score.high) else f"{score.high:g}"
    cells = [
        f"`{name}`",
        score.unit or "1",
        f"{score.low:g} to {high}",
        "higher" if score.higher_is_better else "lower",
        score.empty_truth,
        score.empty_prediction,
        score.both_empty,
    ]
    assert "| " + " | ".join(cells) + " |" in DOCS.read_text()
