"""A MongoDB server that is killed and started again while a store is at work."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import uuid

import attrs
import pymongo
import pytest
from mongodb import serve
from pymongo.errors import AutoReconnect
from store_rows import checkpoint, record, score, stat

from dacapo_hd.errors import UserError
from dacapo_hd.stores import CheckpointRow, Heartbeat, HeldError, mongo_lease
from dacapo_hd.stores.mongo import MongoStore


@pytest.fixture(scope="module")
def running():
    yield from serve(["--setParameter", "enableTestCommands=1"])


@pytest.fixture
def mortal(running):
    """A server that may be killed; it runs again when the test is over."""
    yield running
    running.start()


@pytest.fixture
def store(mortal, tmp_path, request):
    store = MongoStore.open(f"{mortal.address}/{request.node.name[:60]}", tmp_path / "weights")
    store.add_run(record())
    return store


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_was_acknowledged_outlives_the_server_and_waiting_writes_go_on(store, mortal, caplog):
    """Three times, at whatever moment of a write the server is killed: nothing is lost, and nothing is there twice."""
    written, over = [], threading.Event()

    def work():
        iteration = 0
        while not over.is_set():
            iteration += 1
            store.append_stats("run", [stat(iteration)])
            store.write_scores("run", [score(iteration % 7, crop, float(iteration)) for crop in "ab"])
            store.add_checkpoint("run", CheckpointRow(iteration % 5, "0" * 64, iteration, "now"))
            written.append(iteration)

    def work_and_report():
        try:
            work()
        except BaseException as error:
            problems.append(error)

    problems = []
    worker = threading.Thread(target=work_and_report)
    worker.start()
    try:
        for _ in range(3):
            before = len(written)
            wait_for(lambda before=before: len(written) > before + 20)
            mortal.kill()
            mortal.start()
    finally:
        over.set()
        worker.join(120)
    assert not problems
    last = written[-1]
    assert written == list(range(1, last + 1))
    assert [row.iteration for row in store.stats("run")] == written
    newest = {iteration % 7: float(iteration) for iteration in written}
    assert sorted((row.iteration, row.crop, row.value) for row in store.scores("run")) == [
        (iteration, crop, newest[iteration]) for iteration in sorted(newest) for crop in "ab"
    ]
    assert [(row.iteration, row.bytes) for row in store.checkpoints("run")] == sorted(
        {iteration % 5: iteration for iteration in written}.items()
    )
    warnings = [found.getMessage() for found in caplog.records if found.name.startswith("dacapo_hd")]
    left = [re.search(r"no answer \(.+\); trying again for (\d+) s$", warning) for warning in warnings]
    assert any(found and 0 < int(found[1]) <= 300 for found in left)
    assert any("answers again" in warning for warning in warnings)


def test_a_write_that_the_server_never_answers_is_an_error_that_says_so(store, mortal):
    impatient = MongoStore.open(store.connection.address.uri, patience_seconds=0.5)
    mortal.kill()
    with pytest.raises(UserError, match=r"no answer within 0 s \(127\.0\.0\.1:\d+: .*\); start the server, or correct"):
        impatient.append_stats("run", [stat(1)])


def test_a_lease_lasts_through_an_outage(store, mortal, caplog, monkeypatch):
    monkeypatch.setattr(mongo_lease, "BEAT_PATIENCE_SECONDS", 0.1)
    caplog.set_level(logging.WARNING)
    with store.lock("run", Heartbeat(seconds=0.1, patience_seconds=3)) as lease:
        mortal.kill()
        wait_for(lambda: "no heartbeat for run 'run'" in caplog.text)
        mortal.start()
        lease.require_held()
        with pytest.raises(HeldError):
            store.lock("run").__enter__()
    with store.lock("run") as lease:
        lease.require_held()


def hold_and_release(store):
    with store.lock("run") as lease:
        lease.require_held()


OPERATIONS = [
    lambda store: store.add_run(record()),
    lambda store: store.add_run(record("other")),
    lambda store: store.append_stats("run", [stat(1), stat(2)]),
    lambda store: store.append_stats("run", [stat(3), stat(4)]),
    lambda store: store.write_scores("run", [score(2, crop) for crop in "ab"]),
    lambda store: store.write_scores("run", [score(2, crop, 0.7) for crop in "bc"]),
    lambda store: store.write_scores("run", [score(4, crop) for crop in "ab"]),
    lambda store: store.add_checkpoint("run", checkpoint(2)),
    lambda store: store.add_checkpoint("run", checkpoint(2, "1")),
    lambda store: store.add_checkpoint("run", checkpoint(4)),
    lambda store: store.add_checkpoint("run", checkpoint(1)),
    lambda store: store.remove_checkpoints("run", [1]),
    lambda store: store.truncate("run", 3),
    lambda store: store.append_stats("run", [stat(4)]),
    hold_and_release,
    lambda store: store.rename_run("run", attrs.evolve(record("old"), archived="now")),
    lambda store: store.add_run(record()),
    lambda store: store.append_stats("run", [stat(7)]),
    lambda store: store.remove_run("other"),
    lambda store: list(store.damage()),
]
WRITES = ["insert", "update", "findAndModify", "delete"]
READS = ["find", "aggregate"]
FAULTS = {
    "the connection breaks": ({"closeConnection": True}, ["update"]),
    "a router does not reach the server": ({"errorCode": 6}, [*WRITES, *READS]),
    "the others do not get it in time": ({"writeConcernError": {"code": 64, "errmsg": "timed out"}}, WRITES),
}


def content(store):
    """All that a store has."""
    names = [found.name for found in store.runs()]
    rows = [(store.stats(name), store.scores(name), store.checkpoints(name)) for name in names]
    return store.runs(), rows, list(store.damage())


@pytest.fixture(scope="module")
def undisturbed(running, tmp_path_factory):
    store = MongoStore.open(f"{running.address}/undisturbed", tmp_path_factory.mktemp("weights"))
    for operation in OPERATIONS:
        operation(store)
    return content(store)


@pytest.mark.parametrize(
    ("fault", "command"),
    [
        pytest.param(fault, command, id=f"{name}: {command}")
        for name, (fault, commands) in FAULTS.items()
        for command in commands
    ],
)
def test_operations_that_are_repeated_do_nothing_twice(running, undisturbed, tmp_path, fault, command):
    """In each operation the server fails once at a command, before or after it did what it was told."""
    data = {"failCommands": [command], "appName": "dacapo_hd", **fault}
    failed = 0
    store = MongoStore.open(f"{running.address}/{uuid.uuid4().hex}", tmp_path / "weights")
    with pymongo.MongoClient(running.address) as client:
        for operation in OPERATIONS:
            client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=data)
            operation(store)
            failed += client.admin.command("configureFailPoint", "failCommand", mode="off")["count"]
    assert failed > 0
    assert content(store) == undisturbed


def test_a_cluster_that_elects_another_primary_is_waited_for(tmp_path):
    for server in serve(["--replSet", "tests"]):
        with pymongo.MongoClient(server.address, directConnection=True) as client:
            host = {"_id": 0, "host": f"127.0.0.1:{server.port}"}
            client.admin.command("replSetInitiate", {"_id": "tests", "members": [host]})
            store = MongoStore.open(f"{server.address}/em?replicaSet=tests", tmp_path, first_contact_seconds=60)
            store.add_run(record())
            for iteration in range(1, 41):
                if iteration % 15 == 0:
                    with contextlib.suppress(AutoReconnect):
                        client.admin.command("replSetStepDown", 1, force=True)
                store.append_stats("run", [stat(iteration)])
                store.write_scores("run", [score(iteration % 3, value=float(iteration))])
        assert store.stats("run") == [stat(iteration) for iteration in range(1, 41)]
        assert [row.value for row in store.scores("run")] == [39.0, 40.0, 38.0]
        assert list(store.damage()) == []
