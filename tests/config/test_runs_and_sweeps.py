"""Run files and sweep files with the built-in parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dacapo_hd.config import ConfigError, structure, unstructure
from dacapo_hd.run import Run, load_run
from dacapo_hd.sweep import is_sweep, load_runs, load_sweep

NET = "type: UNet\ndims: 2\ninput_shape_vx: [1, 64, 64]\ndownsample_factors: [[1, 2, 2]]\npadding: same\n"
DATA = "type: Crops\ntrain:\n  - {name: a, raw: a.zarr}\n"
RUN = (
    "task: tasks/hot_distance_mito.yaml\narchitecture: unet_2d.yaml\ndatasplit: data.yaml\ntrainer: {iterations: 10}\n"
)
SWEEP = """
tasks: [tasks/hot_distance_mito.yaml, tasks/one_hot.yaml]
architectures:
  - unet_2d.yaml
  - {type: UNet, label: small, dims: 2, input_shape_vx: [1, 32, 32], downsample_factors: [[1, 2, 2]], padding: same}
datasplits: [data.yaml]
trainers: [{iterations: 10}]
seeds: [0, 1]
"""


@pytest.fixture(autouse=True)
def _parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tasks").mkdir()
    write("tasks/hot_distance_mito.yaml", "type: HotDistance\nclasses: [mito]\n")
    write("tasks/one_hot.yaml", "type: OneHot\nclasses: [mito]\n")
    write("unet_2d.yaml", NET)
    write("data.yaml", DATA)


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


def names(text: str, *overrides: str) -> list[str]:
    return [run.name for run in load_sweep(write("study.yaml", text), overrides)]


def problems_of(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_runs(write("study.yaml", text), overrides)
    return list(caught.value.problems)


class TestRun:
    def test_named_after_its_file_unless_it_says_otherwise(self) -> None:
        path = write("mito.yaml", RUN)
        assert load_run(path).name == "mito"
        assert load_run(path, ["name=other"]).name == "other"
        assert load_run(write("mito.yaml", RUN + "name: third\n")).name == "third"

    def test_round_trip(self) -> None:
        run = load_run(write("mito.yaml", RUN))
        assert structure(unstructure(run), Run) == run

    def test_hashes(self) -> None:
        path = write("mito.yaml", RUN)
        run, renamed, reseeded, changed = (
            load_run(path, [override]) for override in ("seed=0", "name=b", "seed=1", "task.scale_nm=33")
        )
        assert run.config_hash == renamed.config_hash
        assert run.config_hash != reseeded.config_hash
        assert run.group_hash == reseeded.group_hash != changed.group_hash

    @pytest.mark.parametrize("name", ["a b", "-a", ".a", "a/b", "''", "ä"])
    def test_names_that_are_no_file_names(self, name: str) -> None:
        problems = problems_of(RUN, f"name={name}")
        plain = name.strip("'")
        assert problems == [
            f"--set: name: must be letters, digits, '.', '_' and '-', not beginning with '.' or '-', got {plain!r}"
        ]

    def test_everything_missing(self) -> None:
        assert problems_of("seed: 1") == [
            f"study.yaml: {part}: missing" for part in ("task", "architecture", "datasplit", "trainer")
        ]


class TestSweep:
    def test_what_a_sweep_is(self) -> None:
        assert is_sweep(write("study.yaml", SWEEP))
        assert not is_sweep(write("run.yaml", RUN))
        assert [run.name for run in load_runs("run.yaml")] == ["run"]
        assert len(load_runs("study.yaml")) == 8

    def test_names_hold_what_varies(self) -> None:
        assert names(SWEEP) == [
            "study-hot_distance_mito-unet_2d-s0",
            "study-hot_distance_mito-unet_2d-s1",
            "study-hot_distance_mito-small-s0",
            "study-hot_distance_mito-small-s1",
            "study-one_hot-unet_2d-s0",
            "study-one_hot-unet_2d-s1",
            "study-one_hot-small-s0",
            "study-one_hot-small-s1",
        ]

    def test_the_runs_are_the_product(self) -> None:
        runs = load_sweep(write("study.yaml", SWEEP))
        assert len({run.config_hash for run in runs}) == 8
        assert len({run.group_hash for run in runs}) == 4
        run = runs[6]
        assert (type(run.task).__name__, run.architecture.input_shape_vx, run.seed) == ("OneHot", (1, 32, 32), 0)

    def test_nothing_varies(self) -> None:
        assert names(SWEEP, "tasks=[tasks/one_hot.yaml]", "architecture=unet_2d.yaml", "seed=3") == ["study"]

    def test_entries_without_a_name_are_named_by_what_differs(self) -> None:
        entries = (
            "[{type: HotDistance, classes: [a], scale_nm: 80}, {type: HotDistance, classes: [a, b], scale_nm: 40}]"
        )
        text = SWEEP.replace("[tasks/hot_distance_mito.yaml, tasks/one_hot.yaml]", entries)
        assert names(text, "architecture=unet_2d.yaml", "seed=0") == [
            "study-classes_a_scale_nm_80",
            "study-classes_a_b_scale_nm_40",
        ]
        entries = "[tasks/one_hot.yaml, {type: HotDistance, classes: [a]}, {type: OneHot, classes: [b]}]"
        text = SWEEP.replace("[tasks/hot_distance_mito.yaml, tasks/one_hot.yaml]", entries)
        assert names(text, "architecture=unet_2d.yaml", "seed=0") == [
            "study-one_hot",
            "study-hot_distance",
            "study-one_hot_2",
        ]

    def test_differences_that_make_no_name(self) -> None:
        entries = ", ".join(f"{{type: OneHot, classes: [{'abcdefghij' * 5}{n}]}}" for n in range(2))
        text = SWEEP.replace("[tasks/hot_distance_mito.yaml, tasks/one_hot.yaml]", f"[{entries}]")
        assert names(text, "architecture=unet_2d.yaml", "seed=0") == ["study-task0", "study-task1"]

    def test_labels(self) -> None:
        text = SWEEP.replace("[tasks/hot_distance_mito.yaml", "[{label: hot, file: tasks/hot_distance_mito.yaml}")
        assert names(text, "architecture=unet_2d.yaml", "seed=0") == ["study-hot", "study-one_hot"]

    def test_template(self) -> None:
        text = "name: '{task}_{seed}'\n" + SWEEP
        assert names(text, "architecture=unet_2d.yaml") == [
            "hot_distance_mito_0",
            "hot_distance_mito_1",
            "one_hot_0",
            "one_hot_1",
        ]
        text = "name: '{trainer}-{task}'\n" + SWEEP
        assert names(text, "seed=0") == [
            "trainer-hot_distance_mito",
            "trainer-hot_distance_mito-2",
            "trainer-one_hot",
            "trainer-one_hot-2",
        ]

    def test_equal_entries_count_once(self) -> None:
        assert names(SWEEP.replace("tasks/one_hot.yaml", "tasks/hot_distance_mito.yaml"), "seed=0") == [
            "study-unet_2d",
            "study-small",
        ]
        assert names(SWEEP.replace("[0, 1]", "[2, 2]"), "architecture=unet_2d.yaml", "task=tasks/one_hot.yaml") == [
            "study"
        ]

    def test_an_override_of_a_part_changes_every_run(self) -> None:
        path = write("study.yaml", SWEEP)
        runs = load_sweep(path, ["trainer.iterations=3", "task.classes=[er]", "tasks.0.scale_nm=40"])
        assert {run.trainer.iterations for run in runs} == {3}
        assert {run.task.classes for run in runs} == {("er",)}
        assert runs[0].task.scale_nm == 40
        assert runs[0].name == "study-hot_distance_mito-unet_2d-s0"

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("datasplits: [data.yaml]\n", "", "study.yaml: datasplits: missing"),
            ("[data.yaml]", "[]", "study.yaml: datasplits: must be a list with at least one entry, got ()"),
            ("[data.yaml]", "data.yaml", "study.yaml: datasplits: expected a list, got 'data.yaml'"),
            ("datasplits:", "datasplts:", "study.yaml: datasplts: unknown field; did you mean 'datasplits'?"),
            ("[0, 1]", "[0, x]", "study.yaml: seeds.1: expected an integer, got 'x'"),
            ("dims: 2", "dims: two", "study.yaml: architectures.1.dims: must be one of 2, 3, got 'two'"),
            ("tasks:", "name: '{tsk}'\ntasks:", "study.yaml: name: unknown part '{tsk}'; did you mean 'task'?"),
            (
                "tasks:",
                "name: '{x}'\ntasks:",
                "study.yaml: name: unknown part '{x}'; use {task}, {architecture}, {datasplit}, {trainer}, {start}, "
                "{seed}",
            ),
            (
                "[tasks/hot_distance_mito.yaml,",
                "[{file: tasks/one_hot.yaml, classes: [a]},",
                "study.yaml: tasks.0.classes: not possible beside 'file'; write it in that file",
            ),
            (
                "tasks/one_hot.yaml]",
                "tasks/onehot.yaml]",
                "study.yaml: tasks.1: no such file 'tasks/onehot.yaml'; did you mean 'one_hot.yaml'?",
            ),
        ],
    )
    def test_mistakes(self, old: str, new: str, message: str) -> None:
        assert old in SWEEP
        assert problems_of(SWEEP.replace(old, new, 1)) == [message]

    def test_mistakes_on_the_command_line(self) -> None:
        assert problems_of(SWEEP, "trainer.iteration=3") == [
            "--set: trainers.0.iteration: unknown field; did you mean 'iterations'?"
        ]
        assert problems_of(SWEEP.replace("trainers:", "trainer:"), "trainer.iterations=3") == [
            "--set: trainer.iterations: the sweep has no list 'trainers'"
        ]
