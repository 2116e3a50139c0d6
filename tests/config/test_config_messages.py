"""The exact text of every message that a configuration can earn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from toyfamily.base import Experiment

from dacapo_hd.config import ConfigError, EntryErrors, load

GOOD = """
task: {type: HotDistance, classes: [mito], scale_nm: 80}
architecture: {type: ToyUNet, num_fmaps: 8}
datasplit:
  train:
    - raw: crops/a.zarr
trainer: {iterations: 10}
"""


@pytest.fixture(autouse=True)
def _in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems_of(text: str, *overrides: str, file: str = "experiments/runs/mito.yaml") -> list[str]:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, Experiment, overrides)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scale_nm", "scal_nm", "task.scal_nm: unknown field; did you mean 'scale_nm'?"),
        ("num_fmaps: 8", "num_fmaps: -1", "architecture.num_fmaps: must be > 0, got -1"),
        ("HotDistance", "HotDistanse", "task.type: unknown task 'HotDistanse'; did you mean 'HotDistance'?"),
        (
            "HotDistance",
            "Affinity",
            "task.type: unknown task 'Affinity'; give one of 'Distance', 'HotDistance', 'Nested', "
            "or the import path 'module:Class'",
        ),
        ("type: HotDistance, ", "", "task.type: missing; give one of 'Distance', 'HotDistance', 'Nested'"),
        ("type: HotDistance", "type: 3", "task.type: expected a string, got 3"),
        ("classes: [mito], ", "", "task.classes: missing"),
        ("classes: [mito]", "clases: [mito]", "task.clases: unknown field; did you mean 'classes'?"),
        ("classes: [mito]", "classes: []", "task.classes: must be a list with at least one entry, got ()"),
        ("classes: [mito]", "classes: mito", "task.classes: expected a list, got 'mito'"),
        ("classes: [mito]", "classes: [7]", "task.classes.0: expected a string, got 7; put it in quotes"),
        ("iterations: 10", "iterations: ten", "trainer.iterations: expected an integer, got 'ten'"),
        ("iterations: 10", "iterations: 3.7", "trainer.iterations: expected an integer, got 3.7"),
        ("iterations: 10", "iterations: true", "trainer.iterations: expected an integer, got true"),
        ("iterations: 10", "iterations:", "trainer.iterations: expected an integer, got nothing"),
        ("iterations: 10", "amp: 'false'", "trainer.amp: expected true or false, got 'false'"),
        ("iterations: 10", "amp: 0", "trainer.amp: expected true or false, got 0"),
        ("iterations: 10", "learning_rate: fast", "trainer.learning_rate: expected a number, got 'fast'"),
        ("iterations: 10", "learning_rate: .nan", "trainer.learning_rate: expected a finite number, got nan"),
        ("iterations: 10", "learning_rate: 1e999", "trainer.learning_rate: expected a finite number, got '1e999'"),
        ("{iterations: 10}", "[]", "trainer: expected a mapping, got []"),
        (
            "iterations: 10",
            "colour: 1",
            "trainer.colour: unknown field; Loop has 'iterations', 'learning_rate', 'amp'",
        ),
        (
            "datasplit:",
            "datasplit:\n  voxel_size_nm: [-8, 8, 8]",
            "datasplit.voxel_size_nm: must be > 0 on every axis, got (-8.0, 8.0, 8.0)",
        ),
        (
            "datasplit:",
            "datasplit:\n  voxel_size_nm: [8, 8]",
            "datasplit.voxel_size_nm: expected a list of 3 entries, got [8, 8]",
        ),
        (
            "- raw: crops/a.zarr",
            "- {raw: a.zarr, annotations: {size: big}}",
            "datasplit.train.0.annotations.size: expected a number, got 'big'",
        ),
        (
            "trainer:",
            "mode: exakt\ntrainer:",
            "mode: must be one of 'exact', 'interval', got 'exakt'; did you mean 'exact'?",
        ),
        ("trainer:", "factor: two\ntrainer:", "factor: expected an integer or a list, got 'two'"),
        ("trainer:", "factor: [2, x]\ntrainer:", "factor.1: expected an integer, got 'x'"),
        ("trainer:", "share: 2\ntrainer:", "share: must be between 0 and 1, got 2.0"),
        ("trainer:", "output: 3\ntrainer:", "output: expected a string, got 3; put it in quotes"),
        ("iterations: 10", "type: Fussy, low: 1, high: 0", "trainer.high: must be above low = 1, got 0"),
        ("scale_nm: 80", "distance_weight: 81", "task: distance_weight must not exceed scale_nm"),
        ("type: HotDistance", "type: nowhere:Mine", "task.type: cannot import 'nowhere': No module named 'nowhere'"),
        (
            "type: HotDistance",
            "type: toyfamily.tasks:HotDistanse",
            "task.type: no class 'HotDistanse' in 'toyfamily.tasks'; did you mean 'HotDistance'?",
        ),
        (
            "type: HotDistance",
            "type: toyfamily.tasks:ToyUNet",
            "task.type: 'toyfamily.tasks:ToyUNet' is not a task: not a subclass of toyfamily.base:ToyTask",
        ),
        (
            "type: HotDistance",
            "type: toyfamily.tasks:Half",
            "task.type: 'toyfamily.tasks:Half' is not complete: it lacks 'answer'",
        ),
    ],
)
def test_one_mistake_is_one_line(old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert problems_of(GOOD.replace(old, new, 1)) == [f"experiments/runs/mito.yaml: {message}"]


def test_all_mistakes_are_reported_at_once() -> None:
    text = GOOD.replace("scale_nm: 80", "scale_nm: -80, clas: 1").replace("iterations: 10", "iterations: ten, amp: 1")
    assert problems_of(text, file="run.yaml") == [
        "run.yaml: task.clas: unknown field; did you mean 'classes'?",
        "run.yaml: task.scale_nm: must be > 0, got -80.0",
        "run.yaml: trainer.iterations: expected an integer, got 'ten'",
        "run.yaml: trainer.amp: expected true or false, got 1",
    ]


def test_every_validator_that_fails_is_reported() -> None:
    text = GOOD.replace("iterations: 10", "type: Fussy, low: -1, high: -2")
    assert problems_of(text, file="run.yaml") == [
        "run.yaml: trainer.low: must be > 0, got -1",
        "run.yaml: trainer.high: must be above low = -1, got -2",
    ]


def test_a_validator_that_needs_a_wrong_field_is_silent() -> None:
    text = GOOD.replace("iterations: 10", "type: Fussy, low: x, high: -2")
    assert problems_of(text, file="run.yaml") == ["run.yaml: trainer.low: expected an integer, got 'x'"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: {a: 1\nb: [", "line 2, column 2: not YAML: expected ',' or '}', but got ':'"),
        ("task: a\n\tb: 1", "line 2, column 1: not YAML: found character '\\t' that cannot start any token"),
        ("task: 1\ntask: 2\n", "line 2, column 1: key 'task' is given twice"),
        ("task: {a: 1, a: 2}\n", "line 1, column 14: key 'a' is given twice"),
        (
            "task: !python/object:x {}",
            "line 1, column 7: not YAML: could not determine a constructor for the tag '!python/object:x'",
        ),
        ("{[1]: 2}", "line 1, column 2: not YAML: found unhashable key"),
        ("a: \x00", "not YAML: unacceptable character #x0000: special characters are not allowed"),
        ("", "expected a mapping, got nothing"),
        ("just words", "expected a mapping, got 'just words'"),
        ("[1, 2]", "expected a mapping, got [1, 2]"),
    ],
)
def test_not_a_configuration(text: str, message: str) -> None:
    assert problems_of(text, file="run.yaml") == [f"run.yaml: {message}"]


def test_a_key_that_cannot_be_printed() -> None:
    text = GOOD.replace("iterations: 10", '"a\\nb": 10')
    assert problems_of(text, file="run.yaml") == [
        "run.yaml: trainer.'a\\nb': unknown field; Loop has 'iterations', 'learning_rate', 'amp'"
    ]


def test_not_a_text_file() -> None:
    Path("run.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match=r"^run\.yaml: not YAML: not a text file$"):
        load("run.yaml", Experiment)


def test_file_missing() -> None:
    Path("mito.yaml").touch()
    with pytest.raises(ConfigError, match=r"^mitto\.yaml: no such file; did you mean 'mito\.yaml'\?$"):
        load("mitto.yaml", Experiment)
    with pytest.raises(ConfigError, match=r"^nowhere/mito\.yaml: no such file$"):
        load("nowhere/mito.yaml", Experiment)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory$"):
        load(tmp_path, Experiment)


def test_an_own_module_that_fails_is_one_line() -> None:
    Path("broken_lab.py").write_text("1 / 0\n")
    text = GOOD.replace("type: HotDistance", "type: broken_lab:Mine")
    assert problems_of(text, file="run.yaml") == [
        "run.yaml: task.type: cannot import 'broken_lab': ZeroDivisionError: division by zero"
    ]


def test_an_own_class_without_attrs() -> None:
    Path("plain_lab.py").write_text(
        "from toyfamily.base import ToyTask\nclass Mine(ToyTask):\n    def answer(self): return 1\n"
    )
    text = GOOD.replace("type: HotDistance", "type: plain_lab:Mine")
    assert problems_of(text, file="run.yaml") == [
        "run.yaml: task.type: 'plain_lab:Mine' is not an attrs class; put @attrs.frozen above it"
    ]


def test_a_validator_that_looks_at_a_field_left_out_sees_its_default() -> None:
    text = GOOD.replace("iterations: 10", "type: Fussy, high: -2")
    assert problems_of(text, file="run.yaml") == ["run.yaml: trainer.high: must be above low = 0, got -2"]


@attrs.frozen
class Steps:
    """Its validator looks at each entry."""

    sizes: tuple[int, ...] = attrs.field()

    @sizes.validator
    def _even(self, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
        odd = {index: f"must be even, got {size}" for index, size in enumerate(value) if size % 2}
        if odd:
            raise EntryErrors(odd)


def test_a_validator_can_name_the_entries() -> None:
    Path("steps.yaml").write_text("sizes: [1, 2, 3]\n")
    with pytest.raises(ConfigError) as caught:
        load("steps.yaml", Steps)
    assert caught.value.problems == (
        "steps.yaml: sizes.0: must be even, got 1",
        "steps.yaml: sizes.2: must be even, got 3",
    )
    with pytest.raises(ConfigError) as caught:
        load("steps.yaml", Steps, ["sizes=[2, 5]"])
    assert caught.value.problems == ("--set: sizes.1: must be even, got 5",)
    with pytest.raises(ValueError, match=r"^must be even, got 1\nmust be even, got 3$"):
        Steps((1, 2, 3))
