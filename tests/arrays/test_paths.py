"""Paths as people type them: `..`, `~`, links and spaces mean what they mean to the file system."""

import os
import pwd
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from test_n5 import write_n5
from zarr_files import multiscale, numbers, scale, write_array, write_group

from dacapo_hd.arrays import ArrayRef, create_volume, local_folder, open_volume
from dacapo_hd.arrays.places import local_path, parse_place
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = numbers(4, 5, 6)
GRID = Grid.from_nm((4, 5, 6), (8, 8, 8))
FORMATS = ["a.zarr/raw", "b.zarr/raw", "pyramid.zarr", "c.n5/raw", "d.h5/raw", "e.tif", "sections"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory `deep/down/here`, a folder `my data` with an array of each format, and links to it."""
    data = tmp_path / "my data"
    size = {"voxel_size": [8, 8, 8]}
    write_array(data / "a.zarr/raw", DATA, size)
    write_array(data / "b.zarr/raw", DATA, size, 3)
    write_array(write_group(data / "pyramid.zarr", multiscale({"s0": [scale(8, 8, 8)]})) / "s0", DATA)
    write_n5(data / "c.n5/raw", DATA, {"resolution": [8, 8, 8]})
    with h5py.File(data / "d.h5", "w") as file:
        file.create_dataset("raw", data=DATA).attrs["voxel_size"] = [8, 8, 8]
    tifffile.imwrite(data / "e.tif", DATA, photometric="minisblack")
    (data / "sections").mkdir()
    for number, section in enumerate(DATA):
        tifffile.imwrite(data / f"sections/{number}.tif", section)
    (tmp_path / "deep/down/here").mkdir(parents=True)
    # in the file system `link/..` is `my data`, and not the folder in which the link lies
    (data / "inside").mkdir()
    (tmp_path / "deep/down/link").symlink_to(data / "inside")
    (tmp_path / "deep/down/here/data").symlink_to(Path("../../../my data"))
    monkeypatch.chdir(tmp_path / "deep/down/here")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def check(path):
    volume = ArrayRef(path, voxel_size_nm=(8, 8, 8), offset_nm=(0, 0, 0)).open()
    assert volume.grid == GRID
    np.testing.assert_array_equal(volume.read(), DATA)
    assert ".." not in Path(volume.path).parts


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "folder",
    [
        "../../../my data",
        "./../here/../../..//my data/.",
        "../link/..",
        "../link/../../my data",
        "data",
        "data/inside/..",
        "~/my data",
        "~/deep/down/link/..",
        "{}/my data",
        "{}/deep/down/here/../link/..",
        "../missing/../../../my data",
    ],
)
def test_reading(place, name, folder):
    check(f"{folder.format(place)}/{name}")


def test_what_follows_the_last_step_up_stays_as_written(place):
    assert local_path("../here/data/a.zarr") == place / "deep/down/here/data/a.zarr"
    assert local_path("data/../x") == place / "x"
    assert local_path("data/a.zarr") == place / "deep/down/here/data/a.zarr"
    assert local_path(place / "deep/down/link/../a.zarr") == place / "my data/a.zarr"
    assert local_path("/../..") == Path("/")
    assert local_path("") == local_path(".") == Path.cwd()
    assert parse_place("~/x y") == local_path("~/x y") == place / "x y"


def test_homes(place):
    user = pwd.getpwuid(os.getuid())
    assert local_path(f"~{user.pw_name}/x") == Path(user.pw_dir) / "x"
    assert local_path("~") == place
    assert local_path("~/../x") == place.parent / "x"
    # neither is at the beginning of the path, or the name of anybody
    for name in ("./~/x", "a/~", "~nobody has this name/x", "x~"):
        assert local_path(name) == Path.cwd() / name


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("../../../new one", "{}/new one"),
        ("../link/../new", "{}/my data/new"),
        ("~/new", "{}/new"),
        ("data/new", "{}/my data/new"),
        ("not there/../../new", "{}/deep/down/new"),
    ],
)
def test_writing(place, folder, expected):
    path = local_folder(f"{folder}/out.zarr")
    create_volume(path, GRID, DATA.dtype).write(GRID.roi, DATA)
    assert path.parent.samefile(expected.format(place))
    check(f"{folder}/out.zarr")


def test_links_that_form_a_loop(place):
    (place / "loop").symlink_to(place / "loop")
    for path in ("../../../loop/a.zarr", "../../../loop/../loop/a.zarr"):
        with pytest.raises(UserError, match=r"^no array at .*loop/a\.zarr: "):
            open_volume(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_level_that_is_reached_by_a_link(place, zarr_format):
    group = write_group(
        place / "em.zarr/em", multiscale({"s0": [scale(8, 8, 8)], "s1": [scale(16, 16, 16)]}), zarr_format
    )
    for name in ("s0", "s1"):
        write_array(group / name, DATA, {"voxel_size": [1, 1, 1]}, zarr_format)
    write_group(place / "crop.zarr", zarr_format=zarr_format)
    for link in ("crop.zarr/raw", "deep/raw"):
        (place / link).symlink_to(group / "s1")
        volume = open_volume(place / link)
        assert volume.grid.voxel_size_nm == (16, 16, 16)
        assert volume.path == str(place / link)


@pytest.mark.parametrize(
    "name", ["a..b", "...", " a ", "100%", "a%20b", "a#b?c&d", "ä", "a:b", "a@b", "[a]{b}", "'a'", "-"]
)
def test_names_of_folders(tmp_path, name):
    volume = create_volume(tmp_path / name / "a.zarr", GRID, DATA.dtype)
    volume.write(GRID.roi, DATA)
    check(f"{tmp_path}/{name}/a.zarr")


def test_a_backslash_is_refused(tmp_path):
    # tensorstore takes it for a / and would find no chunks
    write_array(tmp_path / "raw", DATA, {"voxel_size": [8, 8, 8]}).rename(tmp_path / "a\\b")
    with pytest.raises(UserError) as error:
        open_volume(f"{tmp_path}/a\\b")
    assert str(error.value).endswith(
        ": cannot open: there is a \\ in its path; rename the folder, or link to it by another name"
    )
