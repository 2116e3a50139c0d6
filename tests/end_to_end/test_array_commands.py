"""`convert` and `view` as a user calls them."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import h5py
import numpy as np
import pytest
import tifffile

from dacapo_hd.arrays import ArrayRef, open_volume
from dacapo_hd.geometry import Grid

DATA = np.random.default_rng(0).integers(0, 255, (20, 70, 90), dtype=np.uint8)


@pytest.fixture
def stack(here):
    tifffile.imwrite(here / "stack.tif", DATA)
    return "stack.tif"


def test_a_stack_becomes_ome_zarr(dacapo_hd, stack, here):
    given = ("convert", stack, "out.zarr", "--voxel-size", "40,4.5,4", "--offset", "80,-9,0", "--quiet")
    code, out, err = dacapo_hd(*given, "--chunks", "16,32,32", "--zarr-format", "3", "--shards", "32,64,64")
    assert (code, out, err) == (0, f"{here}/out.zarr\n", "")
    levels = ArrayRef(str(here / "out.zarr")).open_levels()
    assert levels["s0"].grid == Grid.from_nm(DATA.shape, (40, 4.5, 4), (80, -9, 0))
    np.testing.assert_array_equal(levels["s0"].read(), DATA)
    assert len(levels) > 1
    code, _, err = dacapo_hd(*given)
    assert (code, err) == (1, f"error: {here}/out.zarr exists; give --overwrite to replace it\n")
    assert dacapo_hd(*given, "--overwrite", "--workers", "2", "--memory", "1MB")[0] == 0
    np.testing.assert_array_equal(open_volume(here / "out.zarr").read(), DATA)


def test_labels_of_a_dataset(dacapo_hd, here):
    with h5py.File(here / "a.h5", "w") as file:
        file.create_dataset("labels/mito", data=DATA.astype(np.uint64) // 100).attrs["resolution"] = [8, 8, 8]
    code, _, err = dacapo_hd("convert", "a.h5", "out.zarr", "--dataset", "labels/mito")
    assert (code, err) == (
        1,
        f"error: {here}/a.h5/labels/mito: uint64 values may be ids, of which there is no mean; give --labels for ids "
        "or masks, or --intensities\n",
    )
    assert dacapo_hd("convert", "a.h5", "out.zarr", "--dataset", "labels/mito", "--labels", "--quiet")[0] == 0
    assert set(np.unique(open_volume(here / "out.zarr/s1").read())) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            (),
            1,
            "(TIFF of shape (20, 70, 90)): has no voxel size, neither in OME or ImageJ metadata nor in its resolution "
            "tags; give --assumed-voxel-size Z,Y,X in nm\n",
        ),
        (
            ("--voxel-size", "4,4,4,4"),
            2,
            "must be [z, y, x], or [y, x] for 2D, got '4,4,4,4'; see `dacapo-hd convert --help`\n",
        ),
        (("--offset", "4,4,x"), 2, "expected three numbers as Z,Y,X, got '4,4,x'; see `dacapo-hd convert --help`\n"),
        (
            ("--voxel-size", "4,4,4", "--memory", "much"),
            1,
            "--memory: expected a size such as 8GB or 500MB, got 'much'\n",
        ),
        (("--voxel-size", "4,4,4", "--shards", "64,64,64"), 1, "error: Zarr 2 has no shards; give --zarr-format 3\n"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(dacapo_hd, stack, here, options, code, message):
    found, out, err = dacapo_hd("convert", stack, "out.zarr", *options)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert err.endswith(message)
    assert sorted(path.name for path in here.iterdir()) == ["stack.tif"]


def test_view_serves_until_it_is_interrupted(dacapo_hd, stack, here):
    dacapo_hd("convert", stack, "out.zarr", "--voxel-size", "8,8,8", "--quiet")
    # a shell ignores Ctrl-C for what it starts in the background
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    heed += "; from dacapo_hd.cli import main; main()"
    command = [sys.executable, "-c", heed, "view", "out.zarr", "--no-open"]
    # no browser must open even where there is a screen
    environment = {**os.environ, "DISPLAY": ":99", "BROWSER": "false"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v/[0-9a-f]+/", address), process.stderr.read()
        assert process.stdout.readline().startswith("from another machine: ssh -L ")
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"<html" in answer.read().lower()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_view_knows_runs_and_paths(dacapo_hd, here):
    (here / "runs").mkdir()
    code, _, err = dacapo_hd("view", "tiny", "--no-open")
    assert (code, err.count("\n")) == (1, 1)
    assert "tiny" in err and "no run" in err
    code, _, err = dacapo_hd("view", "./tiny.zarr", "--no-open")
    assert (code, err) == (
        1,
        f"error: no array at {here}/tiny.zarr: the deepest existing folder, {here}, contains no arrays\n",
    )
    assert dacapo_hd("view")[2] == "error: nothing to view; name runs or arrays\n"
