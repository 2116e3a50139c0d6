"""A store in MongoDB."""

import pymongo
import pytest
from store_rows import record

from dacapo_hd.stores import open_store


@pytest.fixture
def store(mongodb, tmp_path):
    """A store with one run."""
    store = open_store(mongodb, tmp_path / "weights")
    store.add_run(record())
    return store


@pytest.fixture
def database(mongodb):
    """The same database without the store."""
    with pymongo.MongoClient(mongodb) as client:
        yield client.get_default_database()
