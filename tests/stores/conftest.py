"""Stores that several files of tests use: `store` is in a folder."""

import pytest
from stored_runs import record

from dacapo_hd.stores import FileStore, open_store


@pytest.fixture
def store(tmp_path):
    """A store with one run."""
    store = FileStore(tmp_path / "runs")
    store.add_run(record())
    return store


@pytest.fixture(params=["files to files", "files to mongodb", "mongodb to files"])
def kinds(request):
    return request.param.split(" to ")


def make_store(kind, folder, request):
    if kind == "files":
        return FileStore(folder)
    return open_store(request.getfixturevalue("mongodb"), folder)


@pytest.fixture
def source(kinds, tmp_path, request):
    return make_store(kinds[0], tmp_path / "from", request)


@pytest.fixture
def target(kinds, tmp_path, request):
    return make_store(kinds[1], tmp_path / "to", request)
