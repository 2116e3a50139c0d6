"""A run, a volume, and what applies the one to the other in small blocks."""

import json
import subprocess
import sys

import apply_parts
import pytest
import torch
from apply_parts import SMALL, make_raw, make_store

from dacapo_hd.manager import RunManager
from dacapo_hd.stores import FileStore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store and a volume that nobody changes."""
    folder = tmp_path_factory.mktemp("made")
    make_raw(folder / "raw.zarr")
    make_store(folder / "runs", str(folder / "raw.zarr"))
    return folder


@pytest.fixture(scope="module")
def calm(made):
    """The output of a command that nothing has disturbed."""
    options = {"memory": SMALL, "progress": False}
    RunManager(FileStore(made / "runs")).apply("tiny", str(made / "raw.zarr"), str(made / "calm.zarr"), **options)
    return made / "calm.zarr"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def raw(made):
    return str(made / "raw.zarr")


@pytest.fixture
def apply(made, raw):
    """Apply the run to the volume, in small blocks."""

    def run(output="out.zarr", source=raw, **options):
        manager = RunManager(FileStore(made / "runs"))
        return manager.apply("tiny", str(source), output, progress=False, **{"memory": SMALL, **options})

    return run


@pytest.fixture
def start(made, raw):
    """Do the same in a process of its own."""
    started = []

    def run(output="out.zarr", **options):
        given = json.dumps({"source": raw, "output": output, "memory": SMALL, **options})
        command = [sys.executable, apply_parts.__file__, str(made / "runs"), given]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
