"""Every run and study file of `experiments/` loads."""

from pathlib import Path

import pytest

from dacapo_hd.phantom import write_scheme
from dacapo_hd.sweep import load_runs

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
FILES = sorted([*EXPERIMENTS.glob("runs/*.yaml"), *EXPERIMENTS.glob("studies/*.yaml"), EXPERIMENTS / "demo/sweep.yaml"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_loads(file, monkeypatch, tmp_path):
    monkeypatch.setenv("DACAPO_HD_DATA", "/somewhere")
    monkeypatch.chdir(tmp_path)
    # the demo makes its data, the scheme among them, before it loads its sweep
    write_scheme(tmp_path / "demo" / "data.zarr")
    runs = load_runs(file)
    assert len({run.name for run in runs}) == len(runs) > 0
    assert all(run.datasplit.crops("train") for run in runs if file.parent.name != "demo")


def test_an_unset_variable_is_named(monkeypatch):
    from dacapo_hd.errors import UserError

    monkeypatch.delenv("DACAPO_HD_DATA", raising=False)
    with pytest.raises(UserError, match="DACAPO_HD_DATA"):
        load_runs(EXPERIMENTS / "runs" / "epfl_hot_distance.yaml")
