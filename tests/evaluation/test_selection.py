"""The best candidate: direction, ties, and cells without a value."""

from __future__ import annotations

import math
import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.evaluation import SCORES, best
from dacapo_hd.evaluation.selection import outcome

NAN = math.nan


@attrs.frozen
class Row:
    iteration: int
    segmenter: str
    value: float
    crop: str = "a"
    class_name: str = "mito"
    score: str = "dice"
    part: str = "validate"


def test_the_mean_over_crops_and_classes_decides():
    rows = [Row(100, "s", 1.0, "a"), Row(100, "s", 0.0, "b"), Row(200, "s", 0.6, "a"), Row(200, "s", 0.6, "b")]
    found = best(rows, "dice")
    assert (found.iteration, found.segmenter, found.value) == (200, "s", pytest.approx(0.6))
    assert found.cells == {("a", "mito"): 0.6, ("b", "mito"): 0.6}


@pytest.mark.parametrize("score", SCORES)
def test_each_score_has_its_own_direction(score):
    # the reference took the direction of another score and chose a VOI of 4 over one of 2
    rows = [Row(100, "s", 0.4, score=score), Row(200, "s", 0.2, score=score)]
    rows += [Row(100, "s", 0.1, score=other) for other in SCORES if other != score]
    assert best(rows, score).value == (0.4 if SCORES[score].higher_is_better else 0.2)


def test_ties_go_to_the_earliest_iteration_and_then_to_the_first_segmenter():
    rows = [Row(300, "a", 0.5), Row(200, "c", 0.5), Row(200, "b", 0.5), Row(100, "a", 0.4)]
    assert (best(rows, "dice").iteration, best(rows, "dice").segmenter) == (200, "b")


def test_leaving_out_the_hard_cell_does_not_pay():
    rows = [
        Row(100, "s", 0.9, "easy"),
        Row(100, "s", NAN, "hard"),
        Row(200, "s", 0.8, "easy"),
        Row(200, "s", 0.3, "hard"),
    ]
    assert best(rows, "dice").iteration == 200
    assert best([row for row in rows if not math.isnan(row.value)], "dice").iteration == 200


def test_a_cell_that_is_undefined_for_all_is_left_out():
    rows = [Row(100, "s", 0.5), Row(100, "s", NAN, "b"), Row(200, "s", 0.7), Row(200, "s", NAN, "b")]
    found = best(rows, "dice")
    assert (found.iteration, found.value, list(found.cells)) == (200, 0.7, [("a", "mito")])


def test_without_a_value_there_is_no_best():
    assert best([], "dice") is None
    assert best([Row(100, "s", NAN)], "dice") is None
    assert best([Row(100, "s", 0.5)], "voi") is None
    assert best([Row(100, "s", 0.5, "a"), Row(200, "s", 0.5, "b")], "dice") is None


def test_one_class_alone():
    rows = [
        Row(100, "s", 0.9),
        Row(100, "s", 0.1, class_name="er"),
        Row(200, "s", 0.2),
        Row(200, "s", 0.3, class_name="er"),
    ]
    assert best(rows, "dice").iteration == 100
    assert best(rows, "dice", "er").iteration == 200
    with pytest.raises(UserError) as caught:
        best(rows, "dice", "mitoo")
    assert str(caught.value) == "no scores of class 'mitoo'; did you mean 'mito'?"
    with pytest.raises(UserError) as caught:
        best(rows, "dice", "psd")
    assert str(caught.value) == "no scores of class 'psd'; scored are er, mito"


def test_an_unknown_score_is_an_error():
    with pytest.raises(UserError) as caught:
        best([], "dise")
    assert str(caught.value) == "unknown score 'dise'; did you mean 'dice'?"


candidates = st.dictionaries(
    st.tuples(st.integers(0, 3), st.sampled_from("pq"), st.sampled_from("ab")),
    st.sampled_from([0.0, 0.1, 0.2, 0.3, NAN]),
    min_size=1,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(candidates, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_is_irrelevant(table, rng: random.Random):
    rows = [Row(iteration, segmenter, value, crop) for (iteration, segmenter, crop), value in table.items()]
    shuffled = rng.sample(rows, len(rows))
    assert best(rows, "voi") == best(shuffled, "voi")


def test_crops_of_the_test_choose_nothing():
    rows = [
        Row(100, "s", 0.9),
        Row(200, "s", 0.8),
        Row(100, "s", 0.1, "b", part="test"),
        Row(200, "s", 1.0, "b", part="test"),
    ]
    found = best(rows, "dice")
    assert (found.iteration, found.cells) == (100, {("a", "mito"): 0.9})
    assert best(rows[2:], "dice") is None


def test_the_outcome_is_what_the_chosen_candidate_scores_on_test_crops():
    rows = [
        Row(100, "s", 0.9),
        Row(100, "s", 0.2, "b", part="test"),
        Row(100, "s", 0.4, "c", part="test"),
        Row(100, "s", NAN, "d", part="test"),
        Row(100, "other", 0.8),
        Row(100, "other", 1.0, "b", part="test"),
        Row(200, "s", 0.8),
        Row(200, "s", 1.0, "b", part="test"),
    ]
    found = outcome(rows, "dice")
    assert (found.chosen, found.part, found.value) == (best(rows, "dice"), "test", pytest.approx(0.3))
    assert found.cells == {("b", "mito"): 0.2, ("c", "mito"): 0.4}


def test_without_test_crops_the_outcome_is_that_of_the_selection():
    rows = [Row(100, "s", 0.9), Row(200, "s", 1.0, "b", part="test")]
    found = outcome(rows, "dice")
    assert (found.part, found.value, found.cells) == ("validate", 0.9, {("a", "mito"): 0.9})
    assert outcome([], "dice") is None
