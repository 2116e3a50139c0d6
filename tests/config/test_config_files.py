"""Files that name files, the command line, and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from toyfamily.base import Experiment, Loop, Place
from toyfamily.tasks import Distance, HotDistance, Nested, ToyUNet

from dacapo_hd.config import ConfigError, expand_env, load, structure, unstructure
from dacapo_hd.errors import UserError


@pytest.fixture(autouse=True)
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("experiments/tasks/hot.yaml", "type: HotDistance\nclasses: [mito]\n")
    write("experiments/tasks/plain.yaml", "type: Distance\nclasses: [er, mito]\n")
    return write(
        "experiments/runs/mito.yaml",
        "task: ../tasks/hot.yaml\narchitecture: {}\ndatasplit:\n  train: [{raw: a.zarr}, {raw: b.zarr, weight: 3}]\n",
    )


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def problems_of(path: Path | str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, Experiment, overrides)
    return list(caught.value.problems)


def test_a_part_in_its_own_file(run_file: Path) -> None:
    experiment = load(run_file, Experiment)
    assert experiment.task == HotDistance(classes=("mito",))
    assert experiment.architecture == ToyUNet()
    assert experiment.datasplit.train[0].raw == Place("a.zarr")


def test_files_in_lists_and_in_files(run_file: Path) -> None:
    write("experiments/tasks/nested.yaml", "type: Nested\ninner: plain.yaml\n")
    run_file.write_text("task: ../tasks/hot.yaml\narchitecture: {}\nothers: [../tasks/nested.yaml]\n")
    assert load(run_file, Experiment).others == (Nested(inner=Distance(classes=("er", "mito"))),)


def test_problems_name_the_file_in_which_they_are(run_file: Path) -> None:
    write("experiments/tasks/hot.yaml", "type: HotDistance\nclasses: [1]\nscal_nm: 2\n")
    run_file.write_text("task: ../tasks/hot.yaml\narchitecture: {num_fmaps: 0}\n")
    assert problems_of(run_file) == [
        "experiments/tasks/hot.yaml: scal_nm: unknown field; did you mean 'scale_nm'?",
        "experiments/tasks/hot.yaml: classes.0: expected a string, got 1; put it in quotes",
        "experiments/runs/mito.yaml: architecture.num_fmaps: must be > 0, got 0",
    ]


def test_a_named_file_that_is_not_yaml(run_file: Path) -> None:
    write("experiments/tasks/hot.yaml", "type: [\n")
    assert problems_of(run_file) == [
        "experiments/tasks/hot.yaml: line 2, column 1: not YAML: expected the node content, but found '<stream end>'"
    ]


def test_a_named_file_that_is_missing(run_file: Path) -> None:
    run_file.write_text("task: ../tasks/hott.yaml\narchitecture: ToyUNet\n")
    assert problems_of(run_file) == [
        "experiments/runs/mito.yaml: task: no such file 'experiments/tasks/hott.yaml'; did you mean 'hot.yaml'?",
        "experiments/runs/mito.yaml: architecture: no such file 'experiments/runs/ToyUNet'; "
        "for the built-in write {type: ToyUNet}",
    ]


def test_files_in_a_circle(run_file: Path) -> None:
    write("experiments/tasks/a.yaml", "type: Nested\ninner: b.yaml\n")
    write("experiments/tasks/b.yaml", "type: Nested\ninner: a.yaml\n")
    run_file.write_text("task: ../tasks/a.yaml\narchitecture: {}\n")
    assert problems_of(run_file) == [
        "experiments/tasks/b.yaml: inner: the files name each other in a circle: "
        "experiments/runs/mito.yaml -> experiments/tasks/a.yaml -> experiments/tasks/b.yaml -> experiments/tasks/a.yaml"
    ]


def test_an_own_class_in_the_working_directory(run_file: Path) -> None:
    write(
        "my_lab/tasks.py",
        "import attrs\nfrom toyfamily.tasks import Distance\n\n"
        "@attrs.frozen(kw_only=True)\nclass Mine(Distance):\n    extra: float = 1.0\n",
    )
    experiment = load(run_file, Experiment, ["task.type=my_lab.tasks:Mine", "task.extra=2"])
    assert experiment.task.extra == 2.0
    stored = unstructure(experiment)
    assert stored["task"]["type"] == "my_lab.tasks:Mine"
    assert structure(stored, Experiment) == experiment


def test_only_the_module_with_the_class_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("lazyfamily/__init__.py", "")
    write(
        "lazyfamily/base.py", "from dacapo_hd.config import Component\nclass Root(Component):\n    kind = 'segmenter'\n"
    )
    write("lazyfamily/light.py", "import attrs\nfrom .base import Root\n@attrs.frozen\nclass Light(Root): pass\n")
    write("lazyfamily/heavy.py", "raise ImportError('not to be imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from lazyfamily.base import Root

    assert type(structure({"type": "Light"}, Root)).__name__ == "Light"


class TestOverrides:
    def test_values_are_yaml(self, run_file: Path) -> None:
        overrides = ["trainer.learning_rate=1e-4", "trainer.amp=true", "mode=interval", "task.classes=[er, mito]"]
        experiment = load(run_file, Experiment, overrides)
        assert experiment.trainer == Loop(learning_rate=1e-4, amp=True)
        assert (experiment.mode, experiment.task.classes) == ("interval", ("er", "mito"))

    def test_entries_of_lists(self, run_file: Path) -> None:
        experiment = load(run_file, Experiment, ["datasplit.train.0.weight=2", "datasplit.train.1.raw=c.zarr"])
        assert [(crop.raw.path, crop.weight) for crop in experiment.datasplit.train] == [("a.zarr", 2), ("c.zarr", 3)]

    def test_inside_a_file_and_inside_a_string(self, run_file: Path) -> None:
        experiment = load(run_file, Experiment, ["task.scale_nm=40", "datasplit.train.0.raw.level=s1"])
        assert experiment.task == HotDistance(classes=("mito",), scale_nm=40)
        assert experiment.datasplit.train[0].raw == Place("a.zarr", "s1")

    def test_a_file_that_is_replaced_and_changed(self, run_file: Path) -> None:
        expected = Distance(classes=("er", "mito"), scale_nm=40)
        for file in ("../tasks/plain.yaml", "experiments/tasks/plain.yaml"):
            experiment = load(run_file, Experiment, [f"task={file}", "task.scale_nm=40"])
            assert experiment.task == expected

    def test_inside_a_default(self) -> None:
        from toyfamily.base import ToyData

        made = structure({"task": "experiments/tasks/hot.yaml", "architecture": {}}, Experiment)
        assert made.datasplit == ToyData()
        overrides = ["datasplit.voxel_size_nm=[4, 4, 4]", "architecture.num_fmaps=3"]
        made = structure({"task": "experiments/tasks/hot.yaml"}, Experiment, "", overrides)
        assert (made.datasplit, made.architecture) == (ToyData(voxel_size_nm=(4, 4, 4)), ToyUNet(num_fmaps=3))

    def test_the_original_data_stay_as_they_are(self) -> None:
        data = {"task": {"type": "Distance", "classes": ["a"]}, "architecture": {}}
        structure(data, Experiment, "", ["task.classes.0=b", "trainer.iterations=3"])
        assert data == {"task": {"type": "Distance", "classes": ["a"]}, "architecture": {}}

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("task.scal_nm=80", "--set: task.scal_nm: unknown field; did you mean 'scale_nm'?"),
            ("taks.scale_nm=80", "--set: taks: unknown field; did you mean 'task'?"),
            ("task.scale_nm=-80", "--set: task.scale_nm: must be > 0, got -80.0"),
            ("task.scale_nm.x=1", "--set: task.scale_nm.x: unknown field; its parent is a single value"),
            ("task.classes.0.x=1", "--set: task.classes.0.x: unknown field; its parent is a single value"),
            ("others=[x.yaml]", "--set: others.0: no such file 'experiments/runs/x.yaml'"),
            ("trainer.iterations=ten", "--set: trainer.iterations: expected an integer, got 'ten'"),
            ("trainer.iterations.x=1", "--set: trainer.iterations.x: unknown field; its parent is a single value"),
            ("datasplit.train.2.weight=2", "--set: datasplit.train.2: no such entry; the list has 2, counted from 0"),
            ("datasplit.train.-1.weight=2", "--set: datasplit.train.-1: no such entry; the list has 2, counted from 0"),
            ("task=tasks/no.yaml", "--set: task: no such file 'experiments/runs/tasks/no.yaml'"),
            ("task.scale_nm", "--set: 'task.scale_nm': expected path.to.field=value"),
            ("task..x=1", "--set: 'task..x=1': expected path.to.field=value"),
            (
                "task.classes=[a",
                "--set: task.classes: line 1, column 3: not YAML: expected ',' or ']', but got '<stream end>'",
            ),
        ],
    )
    def test_mistakes(self, run_file: Path, override: str, message: str) -> None:
        assert problems_of(run_file, override) == [message]

    def test_a_text_where_a_list_should_be(self, run_file: Path) -> None:
        run_file.write_text("task: ../tasks/hot.yaml\narchitecture: {}\nothers: x.yaml\n")
        assert problems_of(run_file, "others.0.scale_nm=3") == [
            "--set: others.0: unknown field; its parent is a single value"
        ]

    def test_a_mistake_in_a_file_that_the_command_line_names(self, run_file: Path) -> None:
        write("bad.yaml", "type: Distance\nclases: [a]\n")
        assert problems_of(run_file, "task=bad.yaml") == ["bad.yaml: clases: unknown field; did you mean 'classes'?"]


class TestEnvironment:
    TEXT = "task: {type: Distance, classes: [a]}\narchitecture: {}\ndatasplit: {train: [{raw: '${TOY_DATA}/a.zarr'}]}\n"

    def test_unset_is_an_error_when_a_file_is_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TOY_DATA", raising=False)
        assert problems_of(write("run.yaml", self.TEXT)) == [
            "run.yaml: datasplit.train.0.raw: environment variable TOY_DATA is not set; "
            "set it with 'export TOY_DATA=...'"
        ]

    def test_stored_as_it_was_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOY_DATA", "/data")
        experiment = load(write("run.yaml", self.TEXT), Experiment)
        assert experiment.datasplit.train[0].raw.path == "${TOY_DATA}/a.zarr"
        stored = unstructure(experiment)
        monkeypatch.delenv("TOY_DATA")
        assert structure(stored, Experiment) == experiment

    def test_in_the_name_of_a_part(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TOY_PARTS", str(tmp_path / "experiments"))
        path = write("run.yaml", "task: ${TOY_PARTS}/tasks/hot.yaml\narchitecture: {}\n")
        assert load(path, Experiment).task == HotDistance(classes=("mito",))
        monkeypatch.delenv("TOY_PARTS")
        assert problems_of(path) == [
            "run.yaml: task: ${TOY_PARTS}/tasks/hot.yaml: environment variable TOY_PARTS is not set; "
            "set it with 'export TOY_PARTS=...'"
        ]

    def test_expand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOY_A", "1")
        monkeypatch.delenv("TOY_B", raising=False)
        assert expand_env("${TOY_A}/$HOME/${TOY_A}") == "1/$HOME/1"
        with pytest.raises(UserError) as caught:
            expand_env("x/${TOY_B}")
        assert str(caught.value) == (
            "x/${TOY_B}: environment variable TOY_B is not set; set it with 'export TOY_B=...'"
        )
