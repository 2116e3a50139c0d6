"""The run files for the EPFL hippocampus, on the real data (DACAPO_HD_DATA)."""

import os
from pathlib import Path

import numpy as np
import pytest

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.cli import main
from dacapo_hd.stores import FileStore

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RUN = EXPERIMENTS / "runs" / "epfl_hot_distance.yaml"
DATA = os.environ.get("DACAPO_HD_DATA", "")

pytestmark = pytest.mark.skipif(
    not (Path(DATA) / "epfl_10nm.zarr").is_dir() or not DATA,
    reason="needs the EPFL data: set DACAPO_HD_DATA to the folder of epfl_10nm.zarr",
)


def command(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


def mean_score(rows, iteration, class_name, score):
    """Return the best value over the segmenters."""
    return max(r.value for r in rows if (r.iteration, r.class_name, r.score) == (iteration, class_name, score))


def test_a_short_training_learns_and_applies(tmp_path):
    store = tmp_path / "runs"
    small = [
        "architecture.input_shape_vx=[1, 128, 128]",
        "architecture.num_fmaps=8",
        "trainer.iterations=30",
        "trainer.validation_interval=30",
        "trainer.checkpoint_interval=30",
        "trainer.workers=0",
        "trainer.schedule=constant",
        "trainer.learning_rate=0.003",
        "task.grid=[{type: Threshold, quantity: probability, threshold: 0.5}]",
        "datasplit.validate.0.roi_vx=[[0, 10], [288, 384], [0, 128]]",
    ]
    options = [word for override in small for word in ("--set", override)]
    command("train", RUN, "--store", store, "--quiet", *options)

    found = FileStore(store)
    loss = [row.value for row in found.stats("epfl_hot_distance") if row.name == "loss/one_hot"]
    assert np.mean(loss[-5:]) < 0.95 * np.mean(loss[:5])
    assert {row.class_name for row in found.scores("epfl_hot_distance")} == {"mito", "membrane", "psd", "vesicle"}

    test = Path(DATA) / "epfl_10nm.zarr" / "test" / "raw"
    roi = ["--roi", "0:2,100:200,100:220"]
    command("apply", "epfl_hot_distance", test, tmp_path / "out.zarr", "--store", store, "--quiet", *roi)
    applied = ArrayRef(path=str(tmp_path / "out.zarr" / "segmentation" / "mito")).open()
    assert applied.grid.shape_vx == (2, 100, 120)
    assert tuple(applied.grid.offset_nm) == (2.5, 1002.5, 1002.5)


@pytest.mark.slow
def test_a_longer_training_finds_mitochondria_and_membranes(tmp_path):
    store = tmp_path / "runs"
    options = ["--set", "trainer.iterations=400", "--set", "trainer.validation_interval=400"]
    command("train", RUN, "--store", store, "--quiet", *options)
    rows = FileStore(store).scores("epfl_hot_distance")
    assert mean_score(rows, 400, "mito", "dice") > 0.6
    assert mean_score(rows, 400, "membrane", "dice") > 0.5
