"""A tiny dataset and the command line, run in this process."""

import subprocess
import sys

import pytest
import yaml
from kept_runs import Kept

from dacapo_hd.cli import main
from dacapo_hd.phantom.options import write_phantoms


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A phantom dataset for the folder convention: two training crops, partly annotated, and one to validate on."""
    folder = tmp_path_factory.mktemp("data") / "phantom.zarr"
    write_phantoms(folder, (8, 96, 96), (8.0, 8.0, 8.0), seed=6, crops=["train", "train/every=4", "validate"])
    return folder


@pytest.fixture(scope="session")
def make_config(dataset):
    """Make the config of a run that trains in seconds."""

    def make():
        return {
            "name": "tiny",
            "task": {"type": "HotDistance", "classes": ["mito", "pm"], "scale_nm": 40, "distance_axes": "yx"},
            "architecture": {
                "type": "UNet",
                "dims": 2,
                "input_shape_vx": [1, 48, 48],
                "num_fmaps": 4,
                "padding": "same",
                "downsample_factors": [[1, 2, 2]],
            },
            "datasplit": {"type": "Folder", "path": str(dataset), "scheme": str(dataset / "scheme.yaml")},
            "trainer": {
                "iterations": 6,
                "batch_size": 2,
                "workers": 0,
                "validation_interval": 3,
                "checkpoint_interval": 2,
                "learning_rate": 0.01,
            },
        }

    return make


@pytest.fixture(scope="session")
def train_once(tmp_path_factory):
    """Train a config in a process of its own; returns the store's folder, which nobody may change."""

    def train(config):
        folder = tmp_path_factory.mktemp("trained")
        (folder / "run.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "dacapo_hd", "train", "run.yaml", "--store", "runs", "--quiet"]
        subprocess.run(command, cwd=folder, check=True)
        return folder / "runs"

    return train


@pytest.fixture(scope="session")
def trained_folder(make_config, train_once):
    """A file store with the run `tiny`, trained with checkpoints 1 to 6 kept."""
    config = make_config()
    config["trainer"] |= {"checkpoint_interval": 1, "retention": {"last": 6}}
    return train_once(config)


@pytest.fixture
def config(make_config):
    """A run that trains in seconds."""
    return make_config()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DACAPO_HD_STORE", raising=False)
    return tmp_path


@pytest.fixture
def write(here):
    """Write a config file and return its name."""

    def write_config(config, name="run.yaml"):
        (here / name).write_text(yaml.safe_dump(config))
        return name

    return write_config


@pytest.fixture
def dacapo_hd(capsys, here):
    """Run a command; returns exit code, stdout and stderr."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return stop.value.code, found.out, found.err

    return run


@pytest.fixture(params=["files", "mongodb"])
def kept(request, here):
    """An empty store."""
    if request.param == "files":
        return Kept(here / "kept")
    return Kept(request.getfixturevalue("mongodb"), here / "weights")


@pytest.fixture
def tiny(kept, trained_folder, dacapo_hd):
    """A store that holds the trained run `tiny`."""
    weights = ["--to-weights", kept.weights] if kept.weights else []
    code, _, err = dacapo_hd("store", "copy", trained_folder, kept.address, *weights, "--quiet")
    assert (code, err) == (0, "")
    return kept
