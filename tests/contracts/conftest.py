"""Stores of both kinds, for what every store must keep to."""

import pytest
from store_rows import record

from dacapo_hd.stores import open_store


@pytest.fixture(params=["files", "mongodb"])
def place(request, tmp_path):
    """What `open_store` takes."""
    if request.param == "files":
        return str(tmp_path / "runs"), None
    return request.getfixturevalue("mongodb"), str(tmp_path / "weights")


@pytest.fixture
def store(place):
    return open_store(*place)


@pytest.fixture
def stored(store):
    """A store with one run."""
    store.add_run(record())
    return store
