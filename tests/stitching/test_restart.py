"""A process that is killed in any pass, or between them: the same call finishes with the same result."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import killed
import numpy as np
import pytest
from stitching_parts import prediction_of, smooth

from dacapo_hd.arrays import create_volume, open_volume
from dacapo_hd.segmentation.objects import unite
from dacapo_hd.segmentation.pieces import measure
from dacapo_hd.stitching.tables import BlockTables

# where one process after the other is killed, and at which call; each goes on where the one before ended
EVERYWHERE = [
    ("job.create_volume", 1),
    ("job.write", 1),
    ("work._Pieces.write", 5),
    ("tables.BlockTables.write_pieces", 3),
    ("tables.BlockTables.write_offsets", 1),
    ("work._Links.write", 4),
    ("segment.unite", 1),
    ("segment.write_table", 1),
    # the output was created, and nobody knows yet
    ("job.write", 2),
    ("work._Ids.write", 6),
    ("job._clear", 1),
]
SEEDED = [("work._Pieces.write", 3), ("work._Ids.write", 8), ("work._Pieces.write", 5), ("work._Ids.write", 6)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Return a folder with a prediction and its uninterrupted segmentation by each method."""
    folder = tmp_path_factory.mktemp("finished")
    made = prediction_of(smooth((40, 36, 30), 7, 2.0))
    volume = create_volume(folder / "prediction.zarr", made.grid, np.uint8, channels=1, attributes=made.attributes)
    volume.write(made.grid.roi, made.data)
    for method in killed.METHODS:
        killed.segment(folder, method)
    return folder


def killed_process(folder: Path, *arguments: str) -> int:
    return subprocess.run([sys.executable, killed.__file__, str(folder), *arguments], check=False).returncode


@pytest.mark.parametrize(
    ("method", "places"),
    [("threshold", [("work._Masks.write", 4)]), ("components", EVERYWHERE), ("watershed", SEEDED)],
    ids=["threshold", "components", "watershed"],
)
def test_the_same_call_finishes_what_killed_ones_have_begun(method, places, finished, tmp_path):
    shutil.copytree(finished / "prediction.zarr", tmp_path / "prediction.zarr")
    for place, count in places:
        assert killed_process(tmp_path, method, place, str(count)) == -signal.SIGKILL, place
    (path,) = killed.segment(tmp_path, method)
    expected = finished / method / "out"
    np.testing.assert_array_equal(open_volume(str(path)).read(), open_volume(str(expected / "mito")).read())
    if method != "threshold":
        assert path.with_name("mito.csv").read_bytes() == (expected / "mito.csv").read_bytes()


def test_blocks_that_were_done_before_are_not_done_again(finished, tmp_path, monkeypatch):
    shutil.copytree(finished / "prediction.zarr", tmp_path / "prediction.zarr")
    assert killed_process(tmp_path, "components", "work._Ids.write", "3") == -signal.SIGKILL
    from dacapo_hd.stitching import work

    def must_not_run(*arguments: object) -> None:
        raise AssertionError("a pass that was done is done again")

    monkeypatch.setattr(work._Pieces, "compute", must_not_run)
    monkeypatch.setattr(work._Links, "compute", must_not_run)
    killed.segment(tmp_path, "components")


def test_pieces_that_an_older_version_has_measured_are_read(tmp_path):
    """They say nothing of uncertainty."""
    labels = np.zeros((2, 3, 4), np.uint32)
    labels[..., 2:] = 1
    tables, measured = BlockTables(tmp_path, 1), measure(labels, 1, 1, (0, 0, 0), labels.shape)
    tables.write_pieces(0, measured, {})
    path = tmp_path / "pieces" / "0.npz"
    with np.load(path) as stored:
        older = {name: stored[name] for name in stored.files if name != "uncertainty"}
        assert len(older) == len(stored.files) - 1
    np.savez(path, **older)
    found = tables.read_pieces(0)
    assert found.voxels.tolist() == measured.voxels.tolist() == [12]
    assert unite([found], []).uncertainty.tolist() == [0]
