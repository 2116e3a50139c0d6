"""Relative paths of data begin at the folder of the file that names them."""

import shutil

import attrs
import numpy as np
import pytest
import yaml

from dacapo_hd.arrays import create_volume
from dacapo_hd.config import ConfigError, canonical_hash, load, structure, unstructure
from dacapo_hd.datasplits import Datasplit
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def write_array(path):
    grid = Grid.from_nm(DATA.shape, (8, 8, 8))
    create_volume(path, grid, np.uint8).write(grid.roi, DATA)
    return path


def write_split(path, raw="data/raw.zarr", **more):
    crop = {"name": "a", "raw": raw, "labels": [{"type": "ClassArrays", "arrays": {"mito": "data/mito.zarr"}}]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"type": "Crops", "train": [crop], **more}))
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose configs lie in a folder of their own, with the data beside them; called from elsewhere."""
    for name in ("raw", "mito"):
        write_array(tmp_path / "project" / "configs" / "data" / f"{name}.zarr")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def opened(split):
    (crop,) = split.open("train", ("mito",))
    return crop.raw.path


@pytest.mark.parametrize(
    "spelled", ["data/raw.zarr", {"path": "data/raw.zarr", "level": "s0"}, "../configs/data/raw.zarr"]
)
def test_paths_begin_at_the_file(project, spelled):
    split = load(write_split(project / "configs" / "split.yaml", spelled), Datasplit)
    assert opened(split) == f"{project}/configs/data/raw.zarr/s0"


def test_paths_of_a_part_begin_at_its_own_file(project):
    write_split(project / "configs" / "split.yaml")
    (project / "runs").mkdir()
    (project / "runs" / "run.yaml").write_text("split: ../configs/split.yaml")

    @attrs.frozen
    class Part:
        split: Datasplit

    assert opened(load(project / "runs" / "run.yaml", Part).split) == f"{project}/configs/data/raw.zarr/s0"


def test_what_only_the_working_directory_has_is_an_error_that_names_both(project, monkeypatch):
    monkeypatch.chdir(project / "configs")
    split = load(write_split(project / "split.yaml"), Datasplit)
    with pytest.raises(UserError) as error:
        split.open("train", ("mito",))
    assert error.value.problems[0] == (
        f"crop 'a': data/raw.zarr: not at {project}/data/raw.zarr, only at {project}/configs/data/raw.zarr; paths "
        f"begin at the folder of the file that names them, {project}: write configs/data/raw.zarr"
    )
    advised = write_split(project / "split.yaml", "configs/data/raw.zarr")
    advised.write_text(advised.read_text().replace(" data/mito", " configs/data/mito"))
    assert opened(load(advised, Datasplit)) == f"{project}/configs/data/raw.zarr/s0"


def test_the_command_line_names_paths_as_seen_from_there(project, monkeypatch):
    file = write_split(project / "configs" / "split.yaml")
    write_array("here.zarr")
    for override in ("train.0.raw=here.zarr", "train.0.raw.path=here.zarr"):
        assert opened(load(file, Datasplit, [override])).endswith("elsewhere/here.zarr/s0")


@pytest.mark.parametrize("kind", ["absolute", "home", "variable"])
def test_other_paths_do_not_depend_on_the_file(project, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(project / "configs"))
    monkeypatch.setenv("MY_DATA", f"{project}/configs/data")
    text = {"absolute": f"{project}/configs/data", "home": "~/data", "variable": "${MY_DATA}"}[kind]
    file = write_split(project / "other" / "split.yaml", f"{text}/raw.zarr")
    file.write_text(file.read_text().replace(" data/mito", f" {text}/mito"))
    assert opened(load(file, Datasplit)) == f"{project}/configs/data/raw.zarr/s0"


def test_a_stored_config_keeps_the_text_and_the_folder(project, tmp_path):
    split = load(write_split(project / "configs" / "split.yaml"), Datasplit)
    stored = unstructure(split)
    assert stored["train"][0]["raw"]["path"] == "data/raw.zarr"
    assert stored["train"][0]["raw"]["folder"] == f"{project}/configs"
    again = structure(stored, Datasplit, source="run a")
    assert again == split and opened(again) == f"{project}/configs/data/raw.zarr/s0"
    # where the data lie is no part of what a run is
    shutil.copytree(project, tmp_path / "copy")
    copy = load(tmp_path / "copy" / "configs" / "split.yaml", Datasplit)
    assert copy != split and canonical_hash(copy) == canonical_hash(split)
    assert canonical_hash(structure({**stored, "cache_mb": 1}, Datasplit)) != canonical_hash(split)


def test_folders_and_schemes_begin_at_the_file_too(project, monkeypatch):
    for part in ("raw", "labels/mito"):
        write_array(project / "crops" / "train" / "c" / part)
    file = project / "configs" / "folder.yaml"
    (project / "configs" / "scheme.yaml").write_text("classes: {mito: []}")
    file.write_text("{type: Folder, path: ../crops, scheme: scheme.yaml}")
    assert opened(load(file, Datasplit)) == f"{project}/crops/train/c/raw/s0"
    (project / "configs" / "scheme.yaml").rename("scheme.yaml")
    with pytest.raises(ConfigError) as error:
        load(file, Datasplit)
    assert error.value.problems == (
        f"{file}: scheme: no such file '{project}/configs/scheme.yaml'; there is {project.parent}/elsewhere/scheme.yaml"
        ", but names are relative to the file in which they stand: write ../../elsewhere/scheme.yaml",
    )
    monkeypatch.chdir(project)
    file.write_text("{type: Folder, path: crops}")
    with pytest.raises(UserError, match=f"crops: not at {project}/configs/crops, only at {project}/crops"):
        load(file, Datasplit).crops("train")
