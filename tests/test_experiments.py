"""Every run and study file of `experiments/` loads."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dacapo_hd.datasplits import Folder
from dacapo_hd.datasplits.base import PARTS
from dacapo_hd.phantom import write_scheme
from dacapo_hd.sweep import load_runs

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
FILES = sorted([*EXPERIMENTS.glob("runs/*.yaml"), *EXPERIMENTS.glob("studies/*.yaml"), EXPERIMENTS / "demo/sweep.yaml"])


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """What `hippocampus_slices.py` makes of ten small volumes, the last half of each of them empty."""
    folder = tmp_path_factory.mktemp("hippocampus")
    rng, arrays = np.random.default_rng(0), {}
    for number in range(10):
        shape = (36 - number, 47 + number, 6)
        labels = np.zeros(shape, np.uint8)
        labels[8:22, 10:30, :3] = 1 + number % 2
        arrays |= {f"img_{number:03}": rng.integers(0, 255, shape, np.uint8), f"lab_{number:03}": labels}
    np.savez(folder / "volumes.npz", **arrays)
    command = [EXPERIMENTS / "hippocampus_slices.py", folder / "volumes.npz", folder / "slices.zarr"]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return folder / "slices.zarr"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_loads(file, monkeypatch, tmp_path, slices):
    monkeypatch.setenv("DACAPO_HD_DATA", "/somewhere")
    monkeypatch.setenv("HIPPOCAMPUS_SLICES", str(slices))
    monkeypatch.chdir(tmp_path)
    # the demo makes its data, the scheme among them, before it loads its sweep
    write_scheme(tmp_path / "demo" / "data.zarr")
    runs = load_runs(file)
    assert len({run.name for run in runs}) == len(runs) > 0
    assert all(run.datasplit.crops("train") for run in runs if file.parent.name != "demo")


def test_slices_of_the_hippocampus_are_split_by_volume(slices):
    masks, sizes = (Folder(path=str(slices / kind)) for kind in ("masks", "sizes"))
    opened = {part: masks.open(part, ("hippocampus",)) for part in PARTS}
    # three sections of each volume have an object
    assert {part: len(crops) for part, crops in opened.items()} == {"train": 21, "validate": 3, "test": 6}
    assert {crop.label_grid.shape_vx for crops in opened.values() for crop in crops} == {(1, 48, 32)}
    for crop in opened["train"]:
        present = crop.read_labels(crop.label_grid.roi).present
        # 14 x 20 pixels, both classes in one
        assert present.sum() == 14 * 20
    sized = sizes.open("train", ("hippocampus",))
    assert [dict(crop.annotations) for crop in sized] == [{"object_size_vx": 14}] * 21
    assert not any(crop.labelled for crop in sized)
    for one, other in zip(opened["train"], sized, strict=True):
        assert (one.read_raw(one.label_grid.roi) == other.read_raw(other.label_grid.roi)).all()
    assert all(crop.labelled for part in ("validate", "test") for crop in sizes.open(part, ("hippocampus",)))


def test_an_unset_variable_is_named(monkeypatch):
    from dacapo_hd.errors import UserError

    monkeypatch.delenv("DACAPO_HD_DATA", raising=False)
    with pytest.raises(UserError, match="DACAPO_HD_DATA"):
        load_runs(EXPERIMENTS / "runs" / "epfl_hot_distance.yaml")
