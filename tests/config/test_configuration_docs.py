"""The examples of docs/configuration.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dacapo_hd.sweep import load_runs

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


@pytest.fixture(autouse=True)
def _files_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DACAPO_HD_DATA", "/data")
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def test_the_run() -> None:
    (run,) = load_runs("experiments/runs/mito.yaml")
    assert (run.name, run.seed, run.trainer.learning_rate) == ("mito", 1, 1e-4)


def test_the_sweep_has_the_names_that_the_page_tells() -> None:
    runs = load_runs("experiments/studies/study.yaml")
    assert len(runs) == 4
    assert all(f"`{run.name}`" in PAGE for run in runs)


def test_the_command_lines() -> None:
    Path("experiments/tasks/one_hot_mito.yaml").write_text("type: OneHot\nclasses: [mito]\n")
    commands = re.findall(r"^    dacapo-hd train (\S+) (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for file, options in commands:
        (run,) = load_runs(file, re.findall(r"--set (\S+)", options))
        assert run.trainer.iterations == 5000
    assert (run.name, type(run.task).__name__) == ("mito-one-hot", "OneHot")


def test_the_python_example() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["run"].task.scale_nm == 40  # type: ignore[attr-defined]
