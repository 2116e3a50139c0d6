"""A process that dies, or a disk that fails, in the middle of any write leaves the old content or the new one."""

import errno
import os
import shutil
import sys
import traceback

import attrs
import pytest
from stored_runs import add_run, content, record, scores, stats

from dacapo_hd.errors import UserError
from dacapo_hd.stores import FileStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

DONE, BROKEN, REFUSED, ABSORBED, KILLED = range(5)
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def in_a_child(operation, store, fail_at, kill):
    """Run an operation in a process whose `fail_at`-th change of a file kills it, or fails as on a full disk.

    Returns how it ended: DONE if there were fewer changes, ABSORBED if it was done all the same.
    """
    child = os.fork()
    if child == 0:
        status, count = BROKEN, 0
        try:

            def happens(event, arguments):
                nonlocal count
                writes = event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & 3
                if writes or event in CHANGES:
                    count += 1
                    if count == fail_at:
                        if kill:
                            os._exit(KILLED)
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

            def synchronize(handle, sync=os.fsync):
                happens("os.truncate", ["a file"])
                sync(handle)

            os.fsync = synchronize
            sys.addaudithook(happens)
            operation(store)
            status = DONE if count < fail_at else ABSORBED
        except UserError:
            status = REFUSED
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def everything(store):
    """All that the store holds, as text: scores may be undefined, and then are not equal to themselves."""
    return {found.name: repr(content(store, found.name)) for found in store.runs()}


def by_text(rows):
    return sorted(map(repr, rows))


RENAMED = attrs.evolve(record("new"), archived="2026-02-01T00:00:00+00:00")

OPERATIONS = {
    "add": lambda store: store.add_run(record("new")),
    "append": lambda store: store.append_stats("run", stats(26, 30)),
    "score": lambda store: store.write_scores("run", scores(record(), 20, 0.75) + scores(record(), 25)),
    "unlist": lambda store: store.remove_checkpoints("run", [10]),
    "rename": lambda store: store.rename_run("run", RENAMED),
    "remove": lambda store: store.remove_run("run"),
}


@pytest.fixture
def make(tmp_path):
    """Make stores with the same content; gives a function that makes the next one."""
    numbers = iter(range(1000))
    add_run(FileStore(tmp_path / "first"))

    def make_store():
        folder = tmp_path / str(next(numbers))
        shutil.copytree(tmp_path / "first", folder)
        return FileStore(folder)

    return make_store


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "full disk"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_done_or_not_at_all_wherever_it_stops(make, name, kill):
    operation = OPERATIONS[name]
    before, after = make(), make()
    operation(after)
    old, new = everything(before), everything(after)
    states = []
    for fail_at in range(1, 1000):
        store = make()
        ended = in_a_child(operation, store, fail_at, kill)
        now = everything(store)
        if ended == DONE:
            assert now == new
            break
        assert ended in ([KILLED] if kill else [REFUSED, ABSORBED]), fail_at
        assert now in ((old, new) if ended != ABSORBED else (new,)), fail_at
        states.append(now == new)
        # what is left over is named, and no obstacle
        left = list(store.damage())
        assert all(damage.advice.startswith("remove it: rm ") for damage in left), fail_at
        if now == old:
            operation(store)
            assert everything(store) == new, fail_at
    # removing is done with a renaming, before which a full disk refuses the lock alone
    assert states.count(False) >= (2 if name == "remove" and not kill else 3)
    if kill:
        # it happens at one moment
        assert states == sorted(states)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "full disk"])
def test_a_truncation_that_stopped_anywhere_can_be_repeated(make, kill):
    def rows(store):
        return store.stats("run"), by_text(store.scores("run")), store.checkpoints("run")

    before, after = make(), make()
    after.truncate("run", 15)
    old, new = rows(before), rows(after)
    for fail_at in range(1, 1000):
        store = make()
        ended = in_a_child(lambda store: store.truncate("run", 15), store, fail_at, kill)
        assert all(now in states for now, *states in zip(rows(store), old, new, strict=True)), fail_at
        store.truncate("run", 15)
        assert rows(store) == new
        assert list(store.damage()) == []
        if ended == DONE:
            break
    assert fail_at > 9
