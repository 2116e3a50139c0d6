"""What a killed process leaves in a MongoDB store."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import pytest
from store_rows import by_text, fill, record, score, stat

from dacapo_hd.errors import UserError
from dacapo_hd.stores.mongo_batches import Batches
from dacapo_hd.stores.mongo_stats import ROWS_PER_DOCUMENT


def kill_at(store, place, number, code):
    """Run code in another process, which kills itself when it comes to call `MODULE:FUNCTION` for the n-th time."""
    script = f"""
        import os, pkgutil, signal, sys
        from dacapo_hd.stores import *
        from store_rows import *
        store = open_store(sys.argv[1], sys.argv[2])
        module, _, path = {place!r}.partition(":")
        *owners, name = path.split(".")
        owner = pkgutil.resolve_name(f"{{module}}:{{'.'.join(owners)}}")
        original, calls = getattr(owner, name), []
        def killing(*arguments, **options):
            calls.append(1)
            if len(calls) == {number}:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)
        setattr(owner, name, killing)
        {code}
    """
    command = [sys.executable, "-c", textwrap.dedent(script), store.connection.address.uri, str(store.weights)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert found.returncode == -9, found.stderr


OLD = [score(10, crop, 0.1) for crop in "abc"]
NEW = [score(10, crop, 0.9) for crop in "ab"]


@pytest.mark.parametrize(
    ("place", "number", "expected", "orphans"),
    [
        ("mongo_connection:Connection.insert", 1, OLD, False),
        ("mongo_batches:Batches.add", 1, OLD, True),
        ("mongo_scores:Scores._remove_replaced", 1, [*NEW, OLD[2]], True),
    ],
)
def test_a_write_of_scores_that_is_killed_leaves_the_old_or_the_new_rows(
    store, database, place, number, expected, orphans
):
    store.write_scores("run", OLD)
    code = "store.write_scores('run', [score(10, crop, 0.9) for crop in 'ab'])"
    kill_at(store, f"dacapo_hd.stores.{place}", number, code)
    assert by_text(store.scores("run")) == by_text(expected)
    damages = list(store.damage())
    assert len(damages) == orphans
    for damage in damages:
        assert damage.run == "run"
        assert damage.where.startswith(f"{store}: scores of batch ")
        assert damage.what == "orphan rows, which are not read: of a write that was cut off, or is going on"
        assert damage.advice == "`dacapo-hd train run` drops it and goes on"
    store.truncate("run", 10)
    assert list(store.damage()) == []
    assert by_text(store.scores("run")) == by_text(expected)
    assert database.scores.count_documents({}) == len(expected)


def test_a_write_that_a_resumed_training_took_for_a_dead_one_is_done_again(store, monkeypatch):
    """Between the rows and the pointer to them, where `truncate` cannot tell it from a killed process."""
    original, attempts = Batches.add, []

    def late(self, run_id, batch_id, counts):
        if counts:
            attempts.append(batch_id)
            if len(attempts) == 1:
                store.truncate("run", 100)
        return original(self, run_id, batch_id, counts)

    monkeypatch.setattr(Batches, "add", late)
    store.write_scores("run", OLD)
    assert len(attempts) == 2
    assert by_text(store.scores("run")) == by_text(OLD)
    assert list(store.damage()) == []


def test_truncation_waits_for_writes_of_earlier_iterations(store):
    """`validate` may score an old checkpoint while training is resumed: its rows are all kept."""
    over = threading.Event()

    def validate():
        for number in range(30):
            store.write_scores("run", [score(10, crop, float(number)) for crop in "abc"])
        over.set()

    writer = threading.Thread(target=validate)
    writer.start()
    while not over.is_set():
        store.write_scores("run", [score(20)])
        store.truncate("run", 15)
    writer.join()
    store.truncate("run", 15)
    assert by_text(store.scores("run")) == by_text(score(10, crop, 29.0) for crop in "abc")
    assert list(store.damage()) == []


def test_an_append_of_several_documents_that_is_killed_is_not_there(store, database):
    store.append_stats("run", [stat(1)])
    rows = f"[stat(i) for i in range({ROWS_PER_DOCUMENT + 1})]"
    insert = "from pymongo.collection import Collection as C; C.insert_many = lambda c, d, **o: [*map(c.insert_one, d)]"
    kill_at(store, "pymongo.collection:Collection.insert_one", 2, f"{insert}; store.append_stats('run', {rows})")
    assert database.stats.count_documents({}) == 2
    assert store.stats("run") == [stat(1)]
    (damage,) = store.damage()
    assert damage.what == "belongs to an append that was cut off and is not read"
    store.append_stats("run", [stat(2)])
    assert store.stats("run") == [stat(1), stat(2)]
    store.truncate("run", 2)
    assert list(store.damage()) == []
    assert database.stats.count_documents({}) == 2


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("dacapo_hd.stores.mongo_runs:_remove_folder", 1),
        ("pymongo.collection:Collection.delete_many", 1),
        ("pymongo.collection:Collection.delete_many", 3),
        ("pymongo.collection:Collection.delete_one", 1),
    ],
)
def test_a_removal_that_is_killed_is_finished_by_the_next(store, database, place, number):
    """At its weights, at its rows, and at its document."""
    fill(store)
    kill_at(store, place, number, "store.remove_run('run')")
    assert store.runs() == store.names() == ()
    with pytest.raises(UserError) as error:
        store.stats("run")
    assert str(error.value) == f"{store}: run 'run' is half removed; finish it with `dacapo-hd runs rm run`"
    assert [(damage.run, damage.advice) for damage in store.damage()] == [
        ("run", "finish it with `dacapo-hd runs rm run`")
    ]
    with store.lock("run"):
        store.remove_run("run")
    assert list(store.damage()) == []
    for name in ("runs", "stats", "scores", "score_batches", "checkpoints", "locks"):
        assert database[name].count_documents({}) == 0


def test_a_run_that_is_half_removed_can_be_added_anew(store, database):
    fill(store)
    folder = store.checkpoint_folder("run")
    database.runs.update_one({}, {"$set": {"removing": True}})
    store.add_run(record(seed=7))
    assert store.runs() == (record(seed=7),)
    assert store.stats("run") == store.scores("run") == store.checkpoints("run") == []
    assert store.checkpoint_folder("run") == folder
    assert list(folder.iterdir()) == []


def test_a_renaming_that_is_killed_has_the_new_name(store):
    store.write_scores("run", [score()])
    kill_at(store, "pymongo.collection:Collection.update_many", 1, "store.rename_run('run', record('old'))")
    assert store.names() == ("old",)
    assert store.scores("old") == [score(run="old")]
    assert list(store.damage()) == []
