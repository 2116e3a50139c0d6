"""Servers that are not there or refuse, and passwords that nobody gets to see."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import warnings
from contextlib import closing

import pymongo
import pytest
from mongodb import free_port, serve
from store_rows import checkpoint, record, score, stat

from dacapo_hd.errors import UserError
from dacapo_hd.stores import open_store
from dacapo_hd.stores.address import parse_mongodb
from dacapo_hd.stores.migrations import SCHEMA
from dacapo_hd.stores.mongo import MongoStore
from dacapo_hd.stores.mongo_connection import Connection

PASSWORD = "s3cr@t/:?#%ü"
ENCODED = "s3cr%40t%2F%3A%3F%23%25%C3%BC"
PARTS = ("s3cr", "t/:?#%", "s3cr%40t", "writer")
START = "start the server, or correct the address"


@pytest.fixture(scope="module")
def guarded():
    """The host of a server that asks for a user and a password: `writer` and `reader` of the database `em`."""
    for server in serve(["--auth"]):
        with pymongo.MongoClient(server.address) as client:
            # the first user may be made without one
            client.admin.command("createUser", "root", pwd="root", roles=["root"])
        with pymongo.MongoClient(server.address, username="root", password="root") as client:
            client.em.command("createUser", "writer", pwd=PASSWORD, roles=["readWrite"])
            client.em.command("createUser", "reader", pwd=PASSWORD, roles=["read"])
        yield f"127.0.0.1:{server.port}"


def refused(address, seconds=0.3):
    """Open a store that cannot be opened; returns the message."""
    with pytest.raises(UserError) as error:
        MongoStore.open(address, first_contact_seconds=seconds)
    assert len(error.value.problems) == 1
    assert not any(part in "".join(traceback.format_exception(error.value)) for part in PARTS)
    return str(error.value)


def test_a_port_where_nobody_listens():
    host = f"127.0.0.1:{free_port()}"
    assert refused(f"mongodb://writer:{ENCODED}@{host}/em") == (
        f"mongodb://{host}/em: no answer within 0 s ({host}: [Errno 111] Connection refused); {START}"
    )


def test_a_host_that_does_not_exist():
    message = refused(f"mongodb://writer:{ENCODED}@no-such-host.invalid/em")
    assert message.startswith(
        "mongodb://no-such-host.invalid/em: no answer within 0 s (no-such-host.invalid:27017: [Errno "
    )


def test_a_cluster_that_does_not_exist():
    message = refused(f"mongodb+srv://writer:{ENCODED}@no-such-host.invalid/em")
    assert message.startswith("mongodb+srv://no-such-host.invalid/em: ")


def test_a_server_that_is_not_mongodb():
    """It takes the connection, and hangs up."""

    def hang_up():
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        assert refused(f"mongodb://{host}").startswith(f"mongodb://{host}/dacapo_hd: no answer within 0 s ({host}: ")
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_encryption_that_the_server_does_not_know(guarded):
    message = refused(f"mongodb://writer:{ENCODED}@{guarded}/em?tls=true")
    assert message.startswith(f"mongodb://{guarded}/em: no answer within 0 s (SSL handshake failed: {guarded}: ")


@pytest.mark.parametrize("user", [f"writer:{ENCODED}x", f"nobody:{ENCODED}"])
def test_a_wrong_user_or_password(guarded, user):
    assert refused(f"mongodb://{user}@{guarded}/em") == (
        f"mongodb://{guarded}/em: the server knows no such user and password; correct them, or add ?authSource=admin "
        "to the address if the user is one of the database `admin`"
    )


def test_a_server_that_asks_for_a_user(guarded):
    assert refused(f"mongodb://{guarded}/em") == (
        f"mongodb://{guarded}/em: the server asks who you are; write mongodb://USER:PASSWORD@HOST/DATABASE"
    )


def test_a_user_who_may_only_read_can_read_and_learns_why_writing_fails(guarded, tmp_path):
    writer = open_store(f"mongodb://writer:{ENCODED}@{guarded}/em", tmp_path)
    writer.add_run(record("reading"))
    writer.append_stats("reading", [stat(1)])
    writer.write_scores("reading", [score()])
    reader = open_store(f"mongodb://reader:{ENCODED}@{guarded}/em")
    assert reader.run("reading") == record("reading")
    assert len(reader.stats("reading")) == len(reader.scores("reading")) == 1
    assert list(reader.damage()) == list(writer.damage())
    for command, write in {
        "insert": lambda: reader.append_stats("reading", [stat(2)]),
        "update": lambda: reader.add_checkpoint("reading", checkpoint(1)),
        "delete": lambda: reader.remove_checkpoints("reading", [1]),
    }.items():
        with pytest.raises(UserError) as error:
            write()
        assert str(error.value) == (
            f"mongodb://{guarded}/em: this user may not `{command}` there; ask for the role readWrite, or give another "
            "user"
        )
    assert len(writer.stats("reading")) == 1


def test_a_user_who_may_only_read_cannot_begin_a_store(guarded, tmp_path):
    with pymongo.MongoClient(f"mongodb://{guarded}", username="root", password="root") as client:
        client.fresh.command("createUser", "reader", pwd="pw", roles=["read"])
    store = open_store(f"mongodb://reader:pw@{guarded}/fresh", tmp_path / "weights")
    assert store.runs() == ()
    with pytest.raises(UserError, match="this user may not `createIndexes` there; ask for the role readWrite"):
        store.add_run(record())
    assert not (tmp_path / "weights").exists()


def test_a_database_of_another_program_is_left_alone(mongodb, tmp_path):
    with pymongo.MongoClient(mongodb) as client:
        client.get_default_database().runs.insert_one({"experiment": 1})
    store = open_store(mongodb, tmp_path / "weights")
    with pytest.raises(UserError) as error:
        store.add_run(record())
    assert str(error.value) == (
        f"{store}: another program keeps its runs in this database; give a database of another name"
    )


def test_a_database_of_a_newer_version_is_not_opened(mongodb, tmp_path):
    with pymongo.MongoClient(mongodb) as client:
        client.get_default_database().meta.insert_one({"_id": "store", "schema": SCHEMA + 1, "weights": str(tmp_path)})
    with pytest.raises(UserError) as error:
        open_store(mongodb)
    assert str(error.value) == (
        f"{mongodb}: written by a newer dacapo_hd (schema {SCHEMA + 1}, this one knows {SCHEMA}); update this one"
    )


def test_clients_are_closed_when_nothing_refers_to_a_store(mongodb):
    def connections():
        with pymongo.MongoClient(mongodb) as client:
            found = client.admin.aggregate([{"$currentOp": {"idleConnections": True, "allUsers": True}}])
            return sum(operation.get("appName") == "dacapo_hd" for operation in found)

    gc.collect()
    before = connections()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stores = [open_store(mongodb) for _ in range(5)]
        assert connections() >= before + 5
        stores[0].close()
        del stores
        gc.collect()
    deadline = time.monotonic() + 60
    while connections() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert connections() <= before


EVERYTHING = """
    import logging, sys
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    from dacapo_hd.stores import *
    store = open_store(sys.argv[1], sys.argv[2])
    print(store, repr(store), [store], f"{store!r}")
    store.add_run(RunRecord("logged", {"name": "logged"}, "aaaa", "bbbb", 0, "now", "abc"))
    store.append_stats("logged", [StatRow(1, "loss", 0.5, 0.0)])
    store.write_scores("logged", [ScoreRow("run", "aaaa", "bbbb", 0, 10, "a", "{}", "mito", "dice", 0.5, "abc")])
    with store.lock("logged") as lease:
        lease.require_held()
    store.truncate("logged", 0)
    for damage in store.damage():
        print(damage)
    try:
        store.run("nothing")
    except Exception as error:
        logging.exception("an error")
"""


def test_no_log_and_no_document_holds_the_password(guarded, tmp_path):
    address = f"mongodb://writer:{ENCODED}@{guarded}/em"
    command = [sys.executable, "-c", textwrap.dedent(EVERYTHING), address, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert "pymongo" in found.stderr  # whose own log says what it sends
    assert f"mongodb://{guarded}/em" in found.stdout
    stored = []
    with pymongo.MongoClient(f"mongodb://{guarded}", username="root", password="root") as client:
        for name in client.em.list_collection_names():
            stored += [json.dumps(document, default=str) for document in client.em[name].find()]
    assert any('"logged"' in document for document in stored)
    for text in (found.stdout, found.stderr, *stored):
        assert not [part for part in (*PARTS, PASSWORD, ENCODED) if part in text.replace("sys.argv", "")]


@pytest.mark.parametrize(
    ("user", "command"),
    [
        (f"writer:{ENCODED}x", ["runs"]),
        (f"writer:{ENCODED}x", ["--debug", "runs"]),
        ("writer:s3cr@t/x", ["--debug", "compare"]),
        ("writer:s3crt", ["--debug", "store", "check"]),
        ("writer:s3cr@t", ["--debug", "runs", "--store"]),
    ],
)
def test_no_command_shows_the_password(guarded, user, command, tmp_path):
    address = f"mongodb://{user}@{guarded}/em"
    if command[-1] == "--store":
        command = [*command, address]
    found = subprocess.run(
        [sys.executable, "-m", "dacapo_hd", *command],
        env={**os.environ, "DACAPO_HD_STORE": address},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 1
    assert guarded in found.stderr
    assert not [part for part in PARTS if part in found.stdout + found.stderr]


def test_a_lost_server_is_warned_of_once_and_without_the_password(caplog):
    caplog.set_level(logging.DEBUG)
    host = f"127.0.0.1:{free_port()}"
    store = MongoStore(Connection(parse_mongodb(f"mongodb://writer:{ENCODED}@{host}/em"), patience_seconds=4))
    with pytest.raises(UserError, match="no answer within 4 s"):
        store.runs()
    warnings = [found.getMessage() for found in caplog.records if found.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"mongodb://{host}/em: no answer ({host}: [Errno 111] Connection refused); trying")
    assert not [part for part in PARTS if part in caplog.text]
