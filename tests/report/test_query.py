"""The language of `runs --filter`: what it selects, and where it points when it is not understood."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.report.query import parse_query, values_of
from dacapo_hd.stores.rows import RunRecord

RUNS = {
    "hot": {
        "task": {"type": "HotDistance", "classes": ["mito", "er"], "scale_nm": 50.0},
        "dice": 0.9,
        "iteration": 800,
    },
    "warm": {"task": {"type": "HotDistance", "classes": ["mito"], "scale_nm": 80}, "dice": 0.7, "iteration": 1000},
    "plain": {"task": {"type": "my_lab.tasks:OneHot", "classes": ["er"]}, "dice": math.nan, "iteration": 0},
}


def values(name, task, **scores):
    config = {
        "name": name,
        "task": task,
        "trainer": {"iterations": 1000, "stop_patience": None, "sampling": {"pad": name == "hot"}},
        "datasplit": {"type": "Crops", "train": [{"name": "a", "weight": 1.0}, {"name": "b", "weight": 2.0}]},
    }
    created = {"hot": "2026-01-31", "warm": "2026-02-01"}.get(name, "2026-03-01")
    record = RunRecord(name, config, "", "", len(name), f"{created}T00:00:00+00:00", "abc")
    return values_of(record) | scores


EVERYTHING = {name: values(name, **found) for name, found in RUNS.items()}
KNOWN = set().union(*EVERYTHING.values()) - {"dice"}


def selected(text):
    query = parse_query(text, KNOWN)
    return " ".join(name for name, found in EVERYTHING.items() if query.matches(found))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("task=HotDistance", "hot warm"),
        ("task == hotdistance", "hot warm"),
        ("task=OneHot", "plain"),
        ("task=my_lab.tasks:OneHot", "plain"),
        ("task ~ hot", "hot warm plain"),
        ("task!=OneHot", "hot warm"),
        ("task=HotDistance and dice>0.8", "hot"),
        ("dice>=0.7", "hot warm"),
        ("dice<0.9", "warm"),
        ("dice!=0.9", "warm plain"),
        ("not dice>0", "plain"),
        ("scale_nm=50", "hot"),
        ("scale_nm=5e1", "hot"),
        ("task.scale_nm<=80", "hot warm"),
        ("scale_nm!=50", "warm plain"),
        ("classes=er", "hot plain"),
        ("classes=er and classes=mito", "hot"),
        ("classes~it", "hot warm"),
        ("seed=4", "warm"),
        ("iteration>0", "hot warm"),
        ("iterations=1000", "hot warm plain"),
        ("created>=2026-02-01", "warm plain"),
        ("created<'2026-02'", "hot"),
        ("name=hot or name=plain and seed=5", "hot plain"),
        ("(name=hot or name=plain) and seed=5", "plain"),
        ("not (name=hot or name=plain)", "warm"),
        ("not not name=hot", "hot"),
        ("NOT name=hot AND seed=4", "warm"),
        ("stop_patience=null", "hot warm plain"),
        ("stop_patience>3", ""),
        ("pad=true", "hot"),
        ("pad!=true", "warm plain"),
        ("archived=false", "hot warm plain"),
        ('name="hot"', "hot"),
        ("seed='3'", "hot"),
        ("datasplit.train.1.weight=2", "hot warm plain"),
        ("datasplit=Crops", "hot warm plain"),
        ("sampling.pad=true", "hot"),
    ],
)
def test_what_a_condition_selects(text, names):
    assert selected(text) == names


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("tsk=HotDistance", "unknown field 'tsk'; did you mean 'task'?", 0),
        ("seed=1 and dise>0.8", "unknown field 'dise'; did you mean 'dice'?", 11),
        ("scale=1", "unknown field 'scale'; did you mean 'scale_nm'?", 0),
        (
            "seed=1 or q8x=1",
            "unknown field 'q8x'; there are name, seed, iteration, created, git_sha, archived, datasplit, task, "
            "trainer, paths such as trainer.iterations, and the scores",
            10,
        ),
        (
            "weight=1",
            "'weight' may be any of datasplit.train.0.weight, datasplit.train.1.weight; write the whole path",
            0,
        ),
        ("iterations > many", "trainer.iterations is a number, and 'many' is none", 13),
        ("name=hot and seed<'x'", "seed is a number, and 'x' is none", 19),
        ("", "expected a field, such as task or dice, found the end", 0),
        ("dice", "expected one of = != < <= > >= ~ after 'dice', found the end", 4),
        ("dice >", "expected a value after '>', found the end", 6),
        ("dice > and", "expected a value after '>', found 'and'", 7),
        ("dice > > 1", "expected a value after '>', found '>'", 7),
        ("and dice>1", "expected a field, such as task or dice, found 'and'", 0),
        ("dice>1 seed=1", "expected 'and', 'or' or the end, found 'seed'", 7),
        ("(dice>1", "expected ')', found the end", 7),
        ("dice>1)", "expected 'and', 'or' or the end, found ')'", 6),
        ("name='hot", "this quote is not closed", 5),
        ("  dice ! 1", "unexpected '!'", 7),
        ("seed=1\nand\tdise>1", "unknown field 'dise'; did you mean 'dice'?", 11),
        ("(" * 60 + "seed=1" + ")" * 60, "nested more than 40 times", 41),
        ("not " * 5000 + "seed=1", "nested more than 40 times", 164),
    ],
)
def test_a_mistake_is_pointed_at(text, message, place):
    with pytest.raises(UserError) as caught:
        selected(text)
    first, line, pointer = caught.value.problems
    assert first == f"--filter: {message}"
    assert (line, pointer) == (f"  {text.translate({9: ' ', 10: ' '})}", " " * (place + 2) + "^")


def test_a_text_that_no_run_has_is_pointed_out():
    query = parse_query("task=HotDistnce or name=plain or classes=mitto or seed=99", KNOWN)
    assert list(query.misspelt(list(EVERYTHING.values()))) == [
        "no run has task.type = HotDistnce; did you mean 'HotDistance'?",
        "no run has task.classes = mitto; did you mean 'mito'?",
    ]


def test_a_query_says_which_scores_it_needs():
    assert parse_query("dice>0.5 and (voi<1 or dice<0.9) and seed=1", KNOWN).scores == ("dice", "voi")


def test_nothing_is_ever_run():
    # what would be code elsewhere is a text here
    assert selected("name=__import__") == ""
    with pytest.raises(UserError):
        selected("name=__import__('os')")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet="()=!<>~'\" \tandortseed1.9#é", max_size=30))
def test_any_text_is_a_condition_or_a_mistake_with_a_place(text):
    try:
        selected(text)
    except UserError as error:
        assert len(error.problems) == 3 and error.problems[2].endswith("^")
        assert len(error.problems[2]) <= len(error.problems[1]) + 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.sampled_from(["seed>3", "dice>0.8", "name~a", "pad=true"]),
        lambda inner: st.tuples(st.sampled_from(["and", "or", "not"]), inner, inner),
        max_leaves=6,
    )
)
def test_and_or_not_are_those_of_logic(tree):
    singles = {"seed>3": {"warm", "plain"}, "dice>0.8": {"hot"}, "name~a": {"warm", "plain"}, "pad=true": {"hot"}}

    def text(node):
        if isinstance(node, str):
            return node
        word, one, other = node
        return f"not ({text(one)})" if word == "not" else f"({text(one)}) {word} ({text(other)})"

    def expected(node):
        if isinstance(node, str):
            return singles[node]
        word, one, other = node
        if word == "not":
            return set(RUNS) - expected(one)
        return expected(one) & expected(other) if word == "and" else expected(one) | expected(other)

    assert set(selected(text(tree)).split()) == expected(tree)
