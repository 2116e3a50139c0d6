"""The comparison table: order, only what differs, and honesty about seeds and missing scores."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from dacapo_hd.errors import UserError
from dacapo_hd.report.compare import compare, group_name, segmenter_label
from dacapo_hd.report.compare_table import to_text
from dacapo_hd.stores.rows import RunRecord, ScoreRow

CHOSEN_HERE = "all values are of the selection crops, on which the best was chosen: optimistic"
THRESHOLD = json.dumps({"type": "Threshold", "quantity": "distance", "threshold": 0.1})


def record(name: str, seed: int = 1, group: str = "", **task: Any) -> RunRecord:
    config = {
        "name": name,
        "seed": seed,
        "task": {"type": "HotDistance", "classes": ["mito", "er"], "scale_nm": 50.0, **task},
        "datasplit": {"train": [{"name": "a", "weight": 1.0}, {"name": "b", "weight": 1.0}]},
    }
    return RunRecord(name, config, f"hash-{name}", group or f"group-{name}", seed, "2025-01-01T00:00", "abc")


def rows(run: str, *values: float, score: str = "dice", crops: str = "a", git_sha: str = "abc", **cell: str):
    """One row per value, at iterations 100, 200, ..., repeated over crops."""
    where = {"segmenter": THRESHOLD, "class_name": "mito", **cell}
    return [
        ScoreRow(
            run,
            config_hash=f"hash-{run}",
            group_hash=f"group-{run}",
            seed=1,
            iteration=100 * (index + 1),
            crop=crop,
            score=score,
            value=value,
            git_sha=git_sha,
            **where,
        )
        for index, value in enumerate(values)
        for crop in crops
    ]


def test_the_best_run_comes_first_in_the_direction_of_the_score():
    records = [record("a"), record("b"), record("c")]
    dice = {"a": rows("a", 0.2, 0.5), "b": rows("b", 0.8, 0.1), "c": []}
    assert [run.name for run in compare(records, dice, "dice").runs] == ["b", "a", "c"]
    voi = {name: rows(name, value, score="voi") for name, value in [("a", 0.4), ("b", 0.2), ("c", 0.3)]}
    assert [run.name for run in compare(records, voi, "voi").runs] == ["b", "c", "a"]


def test_a_line_holds_value_iteration_segmenter_and_crops():
    run = compare([record("a")], {"a": rows("a", 0.2, 0.5, crops="abc")}, "dice").runs[0]
    assert (run.best.value, run.best.iteration, run.crops) == (pytest.approx(0.5), 200, 3)
    assert run.segmenter == "threshold(distance > 0.1)"


def test_only_the_config_keys_that_differ_are_shown():
    records = [record("a", scale_nm=80.0), record("b", classes=["mito"]), record("c", distance_weight=2)]
    comparison = compare(records, {}, "dice")
    assert comparison.keys == ("task.classes", "task.scale_nm", "task.distance_weight")
    assert {run.name: dict(run.differing) for run in comparison.runs} == {
        "a": {"task.classes": "mito, er", "task.scale_nm": "80.0", "task.distance_weight": "-"},
        "b": {"task.classes": "mito", "task.scale_nm": "50.0", "task.distance_weight": "-"},
        "c": {"task.classes": "mito, er", "task.scale_nm": "50.0", "task.distance_weight": "2"},
    }


def test_entries_of_a_list_of_parts_are_compared_one_by_one():
    other = record("b")
    other.config["datasplit"]["train"][1]["weight"] = 3.0
    assert compare([record("a"), other], {}, "dice").keys == ("datasplit.train.1.weight",)


def test_one_seed_has_no_spread():
    comparison = compare([record("a"), record("b")], {"a": rows("a", 0.5), "b": rows("b", 0.4)}, "dice")
    assert [run.seeds for run in comparison.runs] == [1, 1]
    assert comparison.notes == ("a, b: 1 seed: no spread known", CHOSEN_HERE)
    assert comparison.spreads == ()


def test_runs_that_differ_by_the_seed_show_their_spread():
    records = [record(name, seed, "g") for seed, name in enumerate("abc")] + [record("d", 0)]
    scores = {name: rows(name, value) for name, value in zip("abcd", (0.4, 0.5, 0.6, 0.9), strict=True)}
    comparison = compare(records, scores, "dice")
    assert [run.seeds for run in comparison.runs] == [1, 3, 3, 3]
    assert comparison.spreads == ("a, b, c: 3 seeds: 0.5000 ± 0.1000",)
    assert comparison.notes == ("d: 1 seed: no spread known", CHOSEN_HERE)
    assert comparison.keys == ("seed",)


def test_a_seed_without_a_value_does_not_count():
    records = [record(name, seed, "g") for seed, name in enumerate("ab")]
    comparison = compare(records, {"a": rows("a", 0.4)}, "dice")
    assert comparison.runs[0].seeds == 1
    assert comparison.notes == ("a: 1 seed: no spread known", CHOSEN_HERE)


def test_the_same_seed_twice_is_one_seed():
    records = [record("a", 1, "g"), record("b", 1, "g")]
    comparison = compare(records, {"a": rows("a", 0.4), "b": rows("b", 0.5)}, "dice")
    assert comparison.notes == ("a, b: 1 seed: no spread known", CHOSEN_HERE)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([], "not validated yet"),
        (rows("a", 0.5, score="voi"), "has no dice, only voi"),
        (rows("a", math.nan), "dice is undefined in every crop and class"),
        (
            rows("a", 0.5, crops="a") + rows("a", math.nan, 0.5, crops="b"),
            "no validation has dice for every crop and class",
        ),
    ],
)
def test_a_run_without_a_value_says_why(found, why):
    comparison = compare([record("a")], {"a": found}, "dice")
    run = comparison.runs[0]
    assert (run.best, run.segmenter, run.why_none) == (None, "-", why)
    assert f"a: {why}" in to_text(comparison)


def test_values_that_do_not_compare_are_pointed_out():
    scores = {"a": rows("a", 0.5, crops="ab"), "b": rows("b", 0.6, git_sha="def")}
    assert compare([record("a"), record("b")], scores, "dice").notes[2:] == (
        "the runs were scored on different crops or classes: their values do not compare",
        "the scores were made by different versions of the code: abc, def",
    )
    assert len(compare([record("a")], {"a": scores["a"]}, "dice").notes) == 2


def test_an_unknown_score_is_an_error():
    with pytest.raises(UserError) as caught:
        compare([record("a")], {}, "dise")
    assert str(caught.value) == "unknown score 'dise'; did you mean 'dice'?"


def test_a_segmenter_that_cannot_be_imported_here_is_still_described():
    assert segmenter_label('{"type": "elsewhere:Mine", "cut": 3}') == "elsewhere:Mine(cut=3)"


def test_the_text_shows_everything_with_units():
    records = [record("near", scale_nm=80.0), record("far[x]")]
    scores = {
        "near": rows("near", 12.3456, score="mean_boundary_distance")
        + rows("near", 20.0, score="mean_boundary_distance", class_name="er"),
        "far[x]": rows("far[x]", 100.0, score="mean_boundary_distance")
        + rows("far[x]", 50.0, score="mean_boundary_distance", class_name="er"),
    }
    text = to_text(compare(records, scores, "mean_boundary_distance"), per_class=True, each=True)
    assert "mean_boundary_distance (lower is better): " in text
    header, near, far = (line for line in text.splitlines() if line[:1] in "┃│")
    assert [cell.strip() for cell in header.strip("┃").split("┃")] == [
        "run",
        "mean_boundary_distance",
        "iteration",
        "segmenter",
        "crops",
        "seeds",
        "er",
        "mito",
        "task.scale_nm",
    ]
    assert [cell.strip() for cell in near.strip("│").split("│")] == [
        "near",
        "16.17 nm",
        "100",
        "threshold(distance > 0.1)",
        "1 selection",
        "1",
        "20 nm",
        "12.35 nm",
        "80.0",
    ]
    assert "far[x]" in far


def group_of_seeds(*names, score="dice", values, test=(), group="g"):
    """Records of one group, with the value of each at iteration 100, and perhaps another on a test crop."""
    records = [record(name, seed, group, classes=[group]) for seed, name in enumerate(names)]
    scores = {name: rows(name, value, score=score) for name, value in zip(names, values, strict=True)}
    for name, value in zip(names, test, strict=False):
        scores[name] += rows(name, value, score=score, crops="t", part="test")
    return records, scores


def test_a_line_of_a_group_holds_mean_spread_counts_and_what_each_seed_chose():
    records, scores = group_of_seeds("hot-s0", "hot-s1", "hot-s2", values=(0.4, 0.5, 0.6))
    scores["hot-s1"] = rows("hot-s1", 0.1, 0.5)
    others, more = group_of_seeds("cold", values=(0.45,), group="other")
    comparison = compare([*others, *records], scores | more, "dice")
    assert [group.name for group in comparison.groups] == ["hot-s{0,1,2}", "cold"]
    assert comparison.group_keys == ("task.classes",)
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in to_text(comparison).splitlines() if "│" in line
    ]
    assert lines == [
        ["hot-s{0,1,2}", "0.5000 ± 0.1000", "3 x 1 selection", "100, 200, 100", "threshold(distance > 0.1)", "g"],
        ["cold", "0.4500", "1 x 1 selection", "100", "threshold(distance > 0.1)", "other"],
    ]


def test_a_group_without_a_value_comes_last():
    records, scores = group_of_seeds("a", "b", values=(0.4, 0.5))
    comparison = compare([record("none"), *records], scores, "dice")
    assert [(group.name, group.summary is None) for group in comparison.groups] == [("a, b", False), ("none", True)]
    line = next(line for line in to_text(comparison).splitlines() if line.startswith("│ none"))
    assert [cell.strip() for cell in line.split("│")[1:6]] == ["none", "-", "1 x 0", "-", "-"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a"], "a"),
        (["hot-s0", "hot-s1"], "hot-s{0,1}"),
        (["s1-hot", "s10-hot", "s12-hot"], "s{1,10,12}-hot"),
        (["one", "two"], "one, two"),
        ([f"hot-s{seed}" for seed in range(9)], "hot-s{0,1,...,8}"),
        (["run", "run-s1"], "run, run-s1"),
    ],
)
def test_a_group_is_named_after_its_runs(names, expected):
    assert group_name(names) == expected


def test_the_value_is_that_of_test_crops_where_the_best_was_scored_there():
    records, scores = group_of_seeds("a", "b", values=(0.8, 0.6), test=(0.3, 0.5))
    comparison = compare(records, scores, "dice")
    assert [(run.name, run.outcome.value, run.best.value) for run in comparison.runs] == [
        ("b", 0.5, 0.6),
        ("a", 0.3, 0.8),
    ]
    assert (comparison.groups[0].part, comparison.groups[0].summary.mean) == ("test", pytest.approx(0.4))
    assert comparison.notes == ()
    assert "2 x 1 test" in to_text(comparison)


def test_a_best_that_was_not_scored_on_the_test_crops_is_marked():
    records, scores = group_of_seeds("a", "b", values=(0.8, 0.6), test=(0.3,))
    comparison = compare(records, scores, "dice")
    assert (comparison.groups[0].part, comparison.groups[0].summary.mean) == ("validate", pytest.approx(0.7))
    assert comparison.notes == (
        "the values of b are of the selection crops, on which the best was chosen: optimistic",
        "the runs were scored on different crops or classes: their values do not compare",
    )
    scores["a"] = rows("a", 0.1, 0.8) + rows("a", 0.3, crops="t", part="test")
    assert (
        "a: iteration 200 is not scored on the test crops; `dacapo-hd validate a --iteration 200` does it"
        in compare(records, scores, "dice").notes
    )


def test_fields_that_follow_from_another_type_are_not_shown():
    runs = [
        RunRecord(name, {"task": task}, f"hash-{name}", f"group-{name}", 0, "", "")
        for name, task in {
            "a": {"type": "OneHot", "classes": ["mito"]},
            "b": {"type": "Distance", "classes": ["mito"], "scale_nm": 50.0, "grid": [{"type": "Argmax"}]},
            "c": {"type": "HotDistance", "classes": ["mito"], "scale_nm": 50.0, "distance_weight": 1.0, "grid": []},
        }.items()
    ]
    assert compare(runs, {}, "dice").keys == ("task.type",)
    runs[2].config["task"]["scale_nm"] = 80.0
    assert compare(runs, {}, "dice").keys == ("task.type", "task.scale_nm")


def test_a_field_that_only_one_of_the_same_type_has_is_shown():
    runs = [
        RunRecord(name, {"datasplit": {"type": "Crops", "train": crops}}, name, name, 0, "", "")
        for name, crops in {"a": [{"name": "x"}], "b": [{"name": "x"}, {"name": "y"}]}.items()
    ]
    assert compare(runs, {}, "dice").keys == ("datasplit.train.1.name",)
