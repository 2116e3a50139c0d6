"""Every run and study file of `experiments/` loads, and scripts make the data that some of them need."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dacapo_hd.phantom import write_scheme
from dacapo_hd.sweep import load_runs

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
FILES = sorted([*EXPERIMENTS.glob("runs/*.yaml"), *EXPERIMENTS.glob("studies/*.yaml"), EXPERIMENTS / "demo/sweep.yaml"])


def write_nuclei(path: Path) -> None:
    """Write what `dsb2018_nuclei.py` reads: 13 small images with two nuclei each, of different brightness."""
    arrays = {}
    for number in range(13):
        ids = np.zeros((30, 34 + number), np.uint16)
        ids[3:9, 3:9], ids[15:25, 12:30] = 4, 9
        arrays[f"img_{number:02}"] = (10 + (number + 1) * (ids > 0)).astype(np.uint8)
        arrays[f"lab_{number:02}"] = ids
    np.savez(path, **arrays)


def import_nuclei(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    write_nuclei(folder / "images.npz")
    script = EXPERIMENTS / "dsb2018_nuclei.py"
    command = [sys.executable, str(script), str(folder / "images.npz"), str(folder / "dsb2018.zarr"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_loads(file, monkeypatch, tmp_path):
    monkeypatch.setenv("DACAPO_HD_DATA", "/somewhere")
    monkeypatch.chdir(tmp_path)
    # the demo makes its data, the scheme among them, before it loads its sweep
    write_scheme(tmp_path / "demo" / "data.zarr")
    if "embeddings" in file.stem and file.parent.name == "studies":
        assert import_nuclei(tmp_path, "--validate", "2").returncode == 0
    runs = load_runs(file)
    assert len({run.name for run in runs}) == len(runs) > 0
    assert all(run.datasplit.crops("train") for run in runs if file.parent.name != "demo")


def test_an_unset_variable_is_named(monkeypatch):
    from dacapo_hd.errors import UserError

    monkeypatch.delenv("DACAPO_HD_DATA", raising=False)
    with pytest.raises(UserError, match="DACAPO_HD_DATA"):
        load_runs(EXPERIMENTS / "runs" / "epfl_hot_distance.yaml")


def test_nuclei_are_split_and_stretched(tmp_path, monkeypatch):
    from dacapo_hd.config import load
    from dacapo_hd.datasplits import Datasplit

    monkeypatch.chdir(tmp_path)
    made = import_nuclei(tmp_path, "--validate", "3")
    assert made.stdout == "train: 8 images, 16 nuclei\nvalidate: 3 images, 6 nuclei\ntest: 2 images, 4 nuclei\n"
    split = load(EXPERIMENTS / "datasplits" / "dsb2018.yaml", Datasplit)
    names = {part: [crop.name for crop in split.crops(part)] for part in ("train", "validate", "test")}
    assert names["test"] == ["00", "10"]
    assert sorted(name for part in names.values() for name in part) == [f"{number:02}" for number in range(13)]
    for crop in split.open("validate", ["nucleus"]):
        raw, labels = crop.read_raw(crop.raw_grid.roi), crop.read_labels(crop.label_grid.roi)
        assert set(np.unique(labels.instances["nucleus"])) == {0, 4, 9}
        assert labels.known.all()
        assert set(np.unique(raw[0][labels.present[0]])) == {1}
        assert set(np.unique(raw[0][labels.absent[0]])) == {-1}
    again = import_nuclei(tmp_path)
    assert again.returncode == 2
    assert "dsb2018.zarr exists; remove it, or choose another folder" in again.stderr
