"""What tests of several rooms share: databases on a real MongoDB server."""

import os
import uuid

import pymongo
import pytest
from mongodb import serve


@pytest.fixture(scope="session")
def own_mongod():
    """A server that is started when the first test asks for it, and stopped at the end, also after Ctrl-C."""
    yield from serve()


@pytest.fixture(scope="session")
def mongodb_server(request):
    """The address of a server without a database: DACAPO_HD_TEST_MONGODB, or one that is started."""
    given = os.environ.get("DACAPO_HD_TEST_MONGODB")
    return given.rstrip("/") if given else request.getfixturevalue("own_mongod").address


@pytest.fixture
def mongodb(mongodb_server):
    """The address of a database that no other test uses."""
    name = f"dacapo_hd_test_{uuid.uuid4().hex[:12]}"
    host, question, options = mongodb_server.partition("?")
    yield f"{host.rstrip('/')}/{name}{question}{options}"
    with pymongo.MongoClient(mongodb_server) as client:
        client.drop_database(name)
