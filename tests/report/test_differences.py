"""Differences between groups: who is better, when nobody is, and what is said with too little."""

from __future__ import annotations

import csv
import io
import json

import pytest

from dacapo_hd.report.compare import compare
from dacapo_hd.report.compare_table import to_text
from dacapo_hd.report.differences import compare_pairs
from dacapo_hd.report.export import to_csv, to_json
from dacapo_hd.stores.rows import RunRecord, ScoreRow

SINGLE = "1 seed: another training may say otherwise"


def stored(score="dice", part="validate", **groups):
    """Records and rows of groups, given as {group: {seed: [value of each crop]}}; the runs are GROUP-sSEED."""
    records, rows = [], {}
    for group, seeds in groups.items():
        for seed, values in seeds.items():
            name = f"{group}-s{seed}"
            config = {"name": name, "seed": seed, "task": {"type": group}}
            records.append(RunRecord(name, config, name, group, seed, "", ""))
            parts = dict.fromkeys(("validate", part))
            rows[name] = [
                ScoreRow(name, name, group, seed, 100, f"{where}_{n}", "{}", "mito", score, value, "", where)
                for where in parts
                for n, value in enumerate(values)
            ]
    return records, rows


def pairs_of(score="dice", per_class=False, names=None, **groups):
    comparison = compare(*stored(score=score, **groups), score)
    chosen = names or [f"{name}-s{next(iter(seeds))}" for name, seeds in groups.items() if name != "part"]
    return comparison, compare_pairs(comparison, chosen, per_class)


GOOD = {seed: [0.9 + seed / 500, 0.9102] for seed in range(4)}
POOR = {seed: [0.5, 0.51] for seed in range(4)}


@pytest.mark.parametrize(("score", "winner"), [("dice", "b-s{0,1,2,3}"), ("voi", "a-s{0,1,2,3}")])
def test_the_direction_of_the_score_says_which_is_better(score, winner):
    _, (pair,) = pairs_of(score, a=POOR, b=GOOD)
    assert (pair.group, pair.baseline) == ("b-s{0,1,2,3}", "a-s{0,1,2,3}")
    assert pair.difference.value == pytest.approx(0.4016)
    assert (pair.better, pair.class_name, pair.part) == (winner, None, "validate")
    amount = "0.4016" if score == "dice" else "0.4016 bit"
    assert pair.verdict == f"{winner} is better by {amount}"


def test_an_interval_that_contains_0_shows_no_difference():
    noisy = {0: [0.9], 1: [0.4], 2: [0.6]}
    _, (pair,) = pairs_of(a={0: [0.5], 1: [0.5], 2: [0.5]}, b=noisy)
    assert pair.difference.value == pytest.approx(0.1333, abs=1e-3)
    assert (pair.better, pair.verdict) == (None, "no difference shown")


def test_a_single_seed_never_names_a_winner_without_saying_so():
    several = [0.5, 0.6, 0.55, 0.58]
    _, (pair,) = pairs_of(a={0: several}, b={0: [value + 0.3 for value in several]})
    assert (pair.better, pair.verdict) == (None, f"b-s0 scored better by 0.3000; {SINGLE}")
    _, (pair,) = pairs_of(a={0: [0.5]}, b={0: [0.9]})
    assert (pair.difference.interval, pair.better) == (None, None)
    assert pair.verdict == f"b-s0 scored better by 0.4000; {SINGLE}"
    _, (pair,) = pairs_of(a={0: [0.5]}, b={0: [0.5]})
    assert pair.verdict == f"neither scored better; {SINGLE}"
    _, (pair,) = pairs_of(a={0: [0.5, 0.9]}, b={0: [0.6, 0.1]})
    assert pair.verdict == f"no difference shown; {SINGLE}"
    _, (pair,) = pairs_of(a={0: several}, b=dict.fromkeys((0, 1, 2), [0.9] * 4))
    assert (pair.better, pair.verdict[-len(SINGLE) :]) == (None, SINGLE)


def test_groups_on_different_crops_are_not_compared():
    records, rows = stored(a={0: [0.5], 1: [0.6]}, b={0: [0.5], 1: [0.6]})
    for name in ("b-s0", "b-s1"):
        rows[name] = [ScoreRow(*row) for row in [(name, name, "b", 0, 100, "other", "{}", "mito", "dice", 0.5, "")]]
    (pair,) = compare_pairs(compare(records, rows, "dice"), ["a-s0", "b-s0"])
    assert (pair.difference, pair.verdict) == (None, "no crop and class was scored in both")


def test_test_crops_are_compared_where_both_have_them():
    _, (pair,) = pairs_of(part="test", a=POOR, b=GOOD)
    assert (pair.part, pair.difference.crops) == ("test", ("test_0", "test_1"))


def test_the_first_named_is_the_baseline_and_a_name_stands_for_its_group():
    comparison, pairs = pairs_of(a=POOR, b=GOOD, c=POOR, names=["b-s2", "a-s1", "b-s0", "c-s3"])
    assert [(pair.group, pair.baseline) for pair in pairs] == [
        ("a-s{0,1,2,3}", "b-s{0,1,2,3}"),
        ("c-s{0,1,2,3}", "b-s{0,1,2,3}"),
    ]
    text = to_text(comparison, pairs)
    assert "dice: differences from b-s{0,1,2,3}" in text
    line = next(line for line in text.splitlines() if line.startswith("│ a-") and "better" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        "a-s{0,1,2,3}",
        "-0.4016",
        "-0.4166 to -0.3881",
        "4 x 2",
        "b-s{0,1,2,3} is better by 0.4016",
    ]
    assert text.splitlines()[-2:] == [
        "2 intervals of 95 % each: of 20 such intervals one misses the truth",
        "differences on selection crops are in part those of how much there was to choose from",
    ]


def test_what_the_interval_does_not_hold_is_noted():
    comparison, pairs = pairs_of(a={0: [0.5], 1: [0.6]}, b={2: [0.5], 3: [0.7], 4: [0.6]})
    notes = to_text(comparison, pairs).splitlines()
    assert "1 crop: the interval says nothing about other crops" in notes
    assert "the seeds do not pair: each side's were drawn on their own" in notes
    assert any("3 and 2 x 1" in line for line in notes)


def test_each_class_alone():
    records, rows = stored(a=POOR, b=GOOD)
    for name, found in rows.items():
        rows[name] = found + [
            ScoreRow(row.run, row.config_hash, row.group_hash, row.seed, 100, row.crop, "{}", "er", "dice", 0.5, "")
            for row in found
        ]
    pairs = compare_pairs(compare(records, rows, "dice"), ["a-s0", "b-s0"], per_class=True)
    assert [(pair.class_name, pair.verdict) for pair in pairs] == [
        (None, "b-s{0,1,2,3} is better by 0.2008"),
        ("er", "no difference shown"),
        ("mito", "b-s{0,1,2,3} is better by 0.4016"),
    ]


def test_json_holds_everything_under_stable_keys():
    comparison, pairs = pairs_of(a={0: [0.5]}, b={0: [0.9]}, c={0: []})
    found = json.loads(to_json(comparison, pairs))
    assert list(found) == ["schema", "score", "groups", "runs", "differences", "notes"]
    assert found["score"] == {"name": "dice", "unit": "", "higher_is_better": True}
    assert found["groups"][0] == {
        "name": "b-s0",
        "runs": ["b-s0"],
        "part": "validate",
        "mean": 0.9,
        "deviation": None,
        "seeds": [0],
        "crops": ["validate_0"],
        "classes": {"mito": {"mean": 0.9, "deviation": None}},
        "config": {"task.type": "b"},
    }
    assert found["runs"][0] == {
        "name": "b-s0",
        "group": "b-s0",
        "seed": 0,
        "iteration": 100,
        "segmenter": {},
        "part": "validate",
        "value": 0.9,
        "validate": [{"crop": "validate_0", "class": "mito", "value": 0.9}],
        "test": [],
        "why_none": None,
        "config": {"task.type": "b"},
    }
    assert (found["groups"][2]["mean"], found["runs"][2]["why_none"]) == (None, "not validated yet")
    assert found["differences"][0] == {
        "group": "b-s0",
        "baseline": "a-s0",
        "class": None,
        "part": "validate",
        "difference": 0.4,
        "low": None,
        "high": None,
        "confidence": 0.95,
        "seeds": [[0], [0]],
        "crops": ["validate_0"],
        "paired": True,
        "better": None,
        "verdict": f"b-s0 scored better by 0.4000; {SINGLE}",
    }
    assert found["differences"][1]["difference"] is None


def test_csv_holds_the_lines_of_the_table():
    comparison, _ = pairs_of(a={0: [0.5], 1: [0.7]}, b={0: [0.9]}, c={0: []})
    assert list(csv.DictReader(io.StringIO(to_csv(comparison, per_class=True)))) == [
        {
            "group": group,
            "part": "validate",
            "mean": mean,
            "deviation": deviation,
            "seeds": seeds,
            "crops": crops,
            "runs": runs,
            "iterations": iterations,
            "value.mito": mean,
            "config.task.type": kind,
        }
        for group, mean, deviation, seeds, crops, runs, iterations, kind in [
            ("b-s0", "0.9", "", "1", "1", "b-s0", "100", "b"),
            ("a-s{0,1}", "0.6", "0.14142135623730948", "2", "1", "a-s0 a-s1", "100 100", "a"),
            ("c-s0", "", "", "0", "0", "c-s0", "-", "c"),
        ]
    ]
    lines = list(csv.DictReader(io.StringIO(to_csv(comparison, each=True))))
    assert [line["run"] for line in lines] == ["b-s0", "a-s1", "a-s0", "c-s0"]
    assert lines[1] == {
        "run": "a-s1",
        "group": "a-s{0,1}",
        "seed": "1",
        "part": "validate",
        "value": "0.7",
        "value_on_selection_crops": "0.7",
        "crops": "1",
        "iteration": "100",
        "segmenter": "{}",
        "config.task.type": "a",
        "config.seed": "1",
    }
