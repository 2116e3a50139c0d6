"""Objects to plain data and back, and their hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from toyfamily.base import Experiment, Loop, Place, ToyCrop, ToyData
from toyfamily.tasks import Distance, HotDistance, Nested, ToyUNet

from dacapo_hd.config import canonical_hash, structure, unstructure

texts = st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1, max_size=8)
sizes = st.floats(1e-6, 1e6)
tasks = st.recursive(
    st.one_of(
        st.builds(Distance, classes=st.lists(texts, min_size=1, max_size=3).map(tuple), scale_nm=sizes),
        st.builds(HotDistance, classes=st.just(("mito",)), distance_weight=st.floats(-1e6, 80)),
    ),
    lambda inner: st.builds(Nested, inner=inner),
    max_leaves=3,
)
crops = st.builds(
    ToyCrop,
    raw=st.builds(Place, path=texts, level=st.none() | texts),
    weight=sizes,
    annotations=st.dictionaries(texts, sizes, max_size=2),
)
experiments = st.builds(
    Experiment,
    task=tasks,
    architecture=st.builds(
        ToyUNet, num_fmaps=st.integers(1), factors=st.lists(st.tuples(st.integers(), st.integers()), max_size=2)
    ),
    datasplit=st.builds(
        ToyData, train=st.lists(crops, max_size=2).map(tuple), voxel_size_nm=st.tuples(sizes, sizes, sizes)
    ),
    trainer=st.builds(Loop, iterations=st.integers(1), learning_rate=sizes, amp=st.booleans()),
    others=st.lists(tasks, max_size=2).map(tuple),
    mode=st.sampled_from(["exact", "interval"]),
    output=st.none() | st.just(Path("a/b")),
    share=st.none() | st.floats(0, 1),
    factor=st.integers() | st.lists(st.integers(), max_size=3).map(tuple),
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(experiments)
def test_round_trip_through_yaml(experiment: Experiment) -> None:
    data = unstructure(experiment)
    again = yaml.safe_load(yaml.safe_dump(data))
    assert again == data
    made = structure(again, Experiment)
    assert made == experiment
    assert canonical_hash(made) == canonical_hash(experiment) == canonical_hash(data)


EXAMPLE = Experiment(task=HotDistance(classes=("mito", "er"), scale_nm=80), architecture=ToyUNet())


def test_plain_data_are_complete_and_begin_with_the_type() -> None:
    assert unstructure(EXAMPLE) == {
        "task": {"type": "HotDistance", "classes": ["mito", "er"], "scale_nm": 80, "distance_weight": 1.0},
        "architecture": {"type": "ToyUNet", "num_fmaps": 12, "factors": [[2, 2, 2]]},
        "datasplit": {"train": [], "voxel_size_nm": [8.0, 8.0, 8.0]},
        "trainer": {"type": "Loop", "iterations": 100, "learning_rate": 0.001, "amp": False},
        "others": [],
        "mode": "exact",
        "output": None,
        "share": None,
        "factor": 2,
    }
    assert next(iter(unstructure(EXAMPLE)["task"])) == "type"


def test_the_hash_never_changes() -> None:
    assert canonical_hash(EXAMPLE) == "2861285d50ccd8b7"


def test_what_the_hash_ignores_and_what_not() -> None:
    assert canonical_hash({"a": 1, "b": 2.5}) == canonical_hash({"b": 2.5, "a": 1.0})
    assert canonical_hash({"a": 1, "name": "x"}, without=("name",)) == canonical_hash({"a": 1})
    assert canonical_hash(EXAMPLE) != canonical_hash(attrs.evolve(EXAMPLE, factor=3))
    assert canonical_hash({"a": [1, 2]}) != canonical_hash({"a": [2, 1]})
    assert canonical_hash({"a": True}) != canonical_hash({"a": 1})


def test_numbers_of_numpy_are_plain_numbers() -> None:
    task = Distance(classes=("a",), scale_nm=np.float32(0.5))
    data = unstructure(task)
    assert type(data["scale_nm"]) is float
    assert type(unstructure(Loop(iterations=np.int64(3)))["iterations"]) is int
    assert canonical_hash(task) == canonical_hash(Distance(classes=("a",), scale_nm=0.5))


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", "1e0", "+1", "1."])
def test_numbers_may_be_written_in_many_ways(value: Any) -> None:
    made = structure({"learning_rate": value}, Loop)
    assert made.learning_rate == 1.0 and type(made.learning_rate) is float


@pytest.mark.parametrize("value", ["1_000", " 1", "nan", "inf", "0x1", "", "1e", True, [1], None])
def test_other_things_are_no_numbers(value: Any) -> None:
    with pytest.raises(Exception, match=r"^learning_rate: expected a number, got "):
        structure({"learning_rate": value}, Loop)
