"""One process at a time holds a run: a living one is respected, a dead one is replaced."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import attrs
import pytest
from holders import Holders, ask

from dacapo_hd.errors import UserError
from dacapo_hd.stores import FileStore, Heartbeat, HeldError, RunRecord, lease
from dacapo_hd.stores.file_lease import FileLease
from dacapo_hd.stores.lease import Holder, hold

QUICK = Heartbeat(seconds=0.05, patience_seconds=0.5)
PATIENT = Heartbeat(seconds=0.05, patience_seconds=3600.0)


@pytest.fixture
def store(tmp_path):
    store = FileStore(tmp_path / "runs")
    store.add_run(RunRecord("run", {"seed": 0}, "aaaa", "bbbb", 0, "2026-01-01T00:00:00", "abc"))
    return store


@pytest.fixture
def holders(store):
    holders = Holders(store.folder)
    yield holders
    holders.end()


@pytest.fixture
def backend(store):
    return FileLease(store.folder / "run" / ".lease")


def wait_until(happened, seconds=60):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refusal(store, heartbeat=PATIENT):
    with pytest.raises(HeldError) as error, store.lock("run", heartbeat):
        pass
    assert error.value.exit_code == 3
    return str(error.value)


def test_a_living_holder_on_this_machine_is_named_at_once(store, holders, backend):
    process = holders.holding()
    since = backend.read().since
    assert refusal(store) == (
        f"run 'run' is being trained by pid {process.pid} on {socket.gethostname()} since {since}; "
        "wait for it or stop it"
    )


def test_this_process_does_not_hold_a_run_twice(store):
    with store.lock("run"):
        assert f"is being trained by pid {os.getpid()} on " in refusal(store)


def test_a_run_that_was_let_go_is_free(store, holders, backend):
    for _ in range(3):
        process = holders.holding()
        process.stdin.close()
        assert process.wait() == 0
        assert backend.read() is None
    with store.lock("run", PATIENT) as held:
        held.require_held()


def test_an_error_lets_the_run_go(store, backend):
    with pytest.raises(ZeroDivisionError), store.lock("run"):
        raise ZeroDivisionError
    assert backend.read() is None


def test_a_killed_holder_on_this_machine_is_replaced_at_once(store, holders):
    process = holders.holding()
    process.send_signal(signal.SIGKILL)
    process.wait()
    with store.lock("run", PATIENT) as held:
        held.require_held()


def test_a_killed_holder_that_nobody_has_waited_for_is_dead(store, holders):
    process = holders.holding()
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: not lease.is_alive(process.pid, lease.process_start(process.pid)))
    with store.lock("run", PATIENT) as held:
        held.require_held()


def test_a_stopped_holder_on_this_machine_is_respected(store, holders):
    process = holders.holding()
    process.send_signal(signal.SIGSTOP)
    assert f"pid {process.pid}" in refusal(store)


def test_the_pid_of_a_dead_holder_that_another_process_has_now_is_no_holder(store, backend):
    assert backend.take(None, attrs.evolve(Holder.here(), process_start="1"))
    with store.lock("run", PATIENT) as held:
        held.require_held()


def test_a_living_holder_elsewhere_is_respected_after_its_next_heartbeat(store, holders, caplog):
    process = holders.holding(machine="elsewhere")
    assert f"is being trained by pid {process.pid} on " in refusal(store)
    assert [record.getMessage().partition(" by ")[0] for record in caplog.records] == ["run 'run' was being trained"]


def test_a_dead_holder_elsewhere_is_replaced_after_the_patience(store, holders):
    process = holders.holding(machine="elsewhere")
    process.send_signal(signal.SIGKILL)
    process.wait()
    started = time.monotonic()
    with store.lock("run", QUICK) as held:
        held.require_held()
    assert time.monotonic() - started >= QUICK.patience_seconds * 0.99


def test_a_holder_elsewhere_that_lets_go_while_it_is_watched_is_replaced_at_once(store, holders, backend):
    process = holders.holding(machine="elsewhere", seconds=3600)
    watcher = holders.start(patience=3600)
    process.stdin.close()
    assert process.wait() == 0
    assert watcher.stdout.readline() == "held\n"
    assert backend.read().pid == watcher.pid


@pytest.mark.parametrize("machine", ["", "elsewhere"])
def test_one_of_ten_contenders_replaces_a_dead_holder(store, holders, backend, tmp_path, machine):
    dead = holders.holding(machine=machine)
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    contenders = [holders.start(patience=0.5, start=tmp_path / "start") for _ in range(10)]
    (tmp_path / "start").touch()
    said = [process.stdout.readline() for process in contenders]
    assert said.count("held\n") == 1
    winner = contenders[said.index("held\n")]
    assert backend.read().pid == winner.pid
    for process, text in zip(contenders, said, strict=True):
        if process is not winner:
            assert text.startswith(f"run 'run' is being trained by pid {winner.pid} on ")
            assert process.wait() == 3
    assert ask(winner) == "still held"


def test_contenders_on_ten_machines_agree_on_one(store, holders, tmp_path):
    contenders = [holders.start(machine=f"machine {n}", start=tmp_path / "start") for n in range(10)]
    (tmp_path / "start").touch()
    said = [process.stdout.readline() for process in contenders]
    assert said.count("held\n") == 1


def test_a_holder_that_was_stopped_and_replaced_is_told_so(store, holders):
    stopped = holders.holding()
    assert ask(stopped) == "still held"
    stopped.send_signal(signal.SIGSTOP)
    other = holders.holding(machine="elsewhere", patience=0.5)
    stopped.send_signal(signal.SIGCONT)
    host = socket.gethostname()
    assert ask(stopped).startswith(f"run 'run' was taken over by pid {other.pid} on {host} since ")
    assert ask(stopped).endswith(
        f"while this process (pid {stopped.pid} on {host}) stood still; it stops here and writes nothing more"
    )
    stopped.stdin.close()
    assert stopped.wait() == 0
    # the one that lost it neither released it nor beat for it
    assert ask(other) == "still held"


def test_a_run_that_was_removed_is_held_no_more(store):
    with store.lock("run") as held:
        store.remove_run("run")
        with pytest.raises(HeldError, match="run 'run' is not held any more: it was taken over, removed or renamed"):
            held.require_held()
    assert not (store.folder / "run").exists()


class Flaky(FileLease):
    """Fails in two of three calls, as a network folder may for a while."""

    calls = 0

    def _fail(self):
        Flaky.calls += 1
        if Flaky.calls % 3:
            raise UserError("cannot read: Stale file handle")

    def beat(self, holder):
        self._fail()
        return super().beat(holder)


def test_a_heartbeat_that_fails_now_and_then_goes_on(backend, caplog):
    backend.folder.parent.mkdir(exist_ok=True)
    with hold("run", Flaky(backend.folder), Heartbeat(0.01, 10.0)) as held:
        first = backend.read().beat
        wait_until(lambda: backend.read().beat != first)
        second = backend.read().beat
        wait_until(lambda: backend.read().beat != second)
        held.require_held()
    warnings = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert warnings == {"no heartbeat for run 'run': cannot read: Stale file handle"}


class Away(FileLease):
    """Can be cut off from its folder."""

    away = False

    def read(self):
        if Away.away:
            raise UserError("cannot read: Stale file handle")
        return super().read()

    def beat(self, holder):
        self.read()
        return super().beat(holder)


@pytest.mark.parametrize(("patience", "stays"), [(3600.0, True), (0.0, False)])
def test_a_lease_that_cannot_be_read_counts_while_nobody_can_have_taken_it(backend, monkeypatch, patience, stays):
    with hold("run", Away(backend.folder), Heartbeat(3600.0, patience)) as held:
        monkeypatch.setattr(Away, "away", True)
        if stays:
            held.require_held()
        else:
            with pytest.raises(UserError, match="Stale file handle"):
                held.require_held()
        monkeypatch.setattr(Away, "away", False)


def test_a_generation_that_a_crash_left_empty_is_replaced_after_the_patience(store, backend):
    backend.folder.mkdir()
    (backend.folder / "7").touch()
    with store.lock("run", QUICK) as held:
        held.require_held()
        assert [path.name for path in backend.folder.iterdir()] == ["8"]
    assert [path.name for path in backend.folder.iterdir()] == ["9"]


def test_two_takers_of_the_same_holder_do_not_both_succeed(backend, store):
    first, second = Holder.here(), Holder.here()
    assert backend.take(None, first)
    assert not backend.take(None, second)
    assert backend.read().token == first.token


def test_a_holder_that_has_beaten_since_it_was_seen_is_not_replaced(backend, store):
    backend.take(None, Holder.here())
    seen = backend.read()
    wait_until(lambda: backend.beat(seen) and backend.read().beat != seen.beat)
    assert not backend.take(seen, Holder.here())


def test_a_holder_in_an_old_listing_of_a_network_folder_is_not_replaced(backend, store, monkeypatch):
    """Such a listing shows generation 1, which a stalled holder left, though generation 3 holds the run."""
    old, current = Holder.here(), Holder.here()
    backend.take(None, old)
    (backend.folder / "3").write_text((backend.folder / "1").read_text().replace(old.token, current.token))
    true_list, listings = FileLease._generations, [[1], [1]]
    monkeypatch.setattr(FileLease, "_generations", lambda self: listings.pop() if listings else true_list(self))
    assert not backend.take(backend.read(), Holder.here())
    assert backend.read().token == current.token


def test_a_lock_in_a_folder_that_takes_no_files_names_the_path(store, tmp_path):
    (store.folder / "run" / ".lease").write_text("in the way")
    with pytest.raises(UserError, match=f"cannot write {store.folder}/run/.lease: File exists"), store.lock("run"):
        pass


AS_NOBODY = """
    import os, sys
    from dacapo_hd.stores import FileStore
    os.setgid(65534)
    os.setuid(65534)
    with FileStore(sys.argv[1]).lock("run") as held:
        held.require_held()
        print(sorted(os.listdir(sys.argv[1] + "/run/.lease")))
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs another user")
def test_the_lock_of_a_dead_process_of_another_user_is_taken_over_though_its_file_stays():
    # other users may not enter the folder of pytest
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        store = FileStore(Path(place) / "runs")
        store.add_run(RunRecord("run", {"seed": 0}, "aaaa", "bbbb", 0, "2026-01-01T00:00:00", "abc"))
        backend = FileLease(store.folder / "run" / ".lease")
        assert backend.take(None, attrs.evolve(Holder.here(), process_start="1"))
        backend.folder.chmod(0o1777)
        command = [sys.executable, "-c", textwrap.dedent(AS_NOBODY), str(store.folder)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.stdout == "['1', '2']\n", found.stderr
        assert backend.read() is None


def test_an_unknown_run_cannot_be_held(store):
    with pytest.raises(UserError, match=r"no run 'ran' in .*; did you mean 'run'"), store.lock("ran"):
        pass
    assert not (store.folder / "ran").exists()
