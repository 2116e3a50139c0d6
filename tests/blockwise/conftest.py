import os
import subprocess

import pytest
from block_works import Sums

from dacapo_hd.blockwise import BlockGrid

SHAPE = (5, 7, 9)


@pytest.fixture
def grid():
    """3 x 3 x 3 blocks, those at the ends cut."""
    return BlockGrid((0, 0, 0), SHAPE, (2, 3, 4), (1, 0, 2))


@pytest.fixture
def make_work(tmp_path):
    """Make work whose result is to be `expected()`."""
    folder = tmp_path / "work"
    folder.mkdir()
    return lambda **faults: Sums(folder, SHAPE, **faults).create()


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """No process outlives a test, and no file lies where nobody asked for it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert list(here.iterdir()) == []
    listed = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if str(tmp_path) in line and str(os.getpid()) != line.split()[0]]
