"""Processes that are killed or interrupted, and the same call after it."""

import os
import queue
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drive import GRID

from dacapo_hd.blockwise import Local, run_blocks

DRIVE = Path(__file__).with_name("drive.py")
each_compute = pytest.mark.parametrize("compute", ["Local(1)", "Local(2)"])


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def processes(text):
    listed = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in listed.splitlines() if text in line]
    return {int(line.split()[0]): line for line in lines if int(line.split()[0]) != os.getpid()}


@pytest.fixture
def make_run(tmp_path):
    """Start a run in a process of its own."""
    started = []

    def make(work, compute, seconds=0.05):
        command = [sys.executable, DRIVE, work.folder, tmp_path / "record", compute, str(seconds)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


@each_compute
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_same_call_finishes_what_a_signal_has_interrupted(compute, number, make_run, make_work, tmp_path):
    work = make_work(seconds=0.05)
    process = make_run(work, compute)
    wait_for(lambda: len(work.lines("done")) >= 5)
    process.send_signal(number)
    assert process.wait(60) == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    wait_for(lambda: not processes(str(tmp_path)))
    before = work.lines("done")
    assert 5 <= len(before) < len(GRID)
    run_blocks(work, GRID, tmp_path / "record", Local(1))
    np.testing.assert_array_equal(work.result(), work.expected())
    # done again are at most those in flight, of which each worker has three
    again = set(before) & set(work.lines("done")[len(before) :])
    assert len(again) <= 6


def test_a_killed_worker_does_not_stop_the_run(make_run, make_work, tmp_path):
    work = make_work(seconds=0.05)
    process = make_run(work, "Local(2)")
    for killed in range(3):
        wait_for(lambda killed=killed: len(work.lines("done")) >= 4 * (killed + 1))
        worker = next(iter(processes("blockwise.worker " + str(tmp_path))))
        os.kill(worker, signal.SIGKILL)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 0
    np.testing.assert_array_equal(work.result(), work.expected())
    assert printed.count("was killed by SIGKILL; it may have needed more memory than there is; its log is") == 3


def test_a_killed_scheduler_ends_the_run_and_the_same_call_finishes(make_run, make_work, tmp_path):
    work = make_work(seconds=0.05)
    process = make_run(work, "Local(2)")
    wait_for(lambda: len(work.lines("done")) >= 5)
    os.kill(next(iter(processes("blockwise.server " + str(tmp_path)))), signal.SIGKILL)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the scheduler was killed by SIGKILL" in printed
    run_blocks(work, GRID, tmp_path / "record", Local(2))
    np.testing.assert_array_equal(work.result(), work.expected())


def test_a_local_run_listens_on_loopback_only(make_run, make_work, tmp_path):
    work = make_work(seconds=0.05)
    process = make_run(work, "Local(2)")
    wait_for(lambda: work.lines("done"))
    address = next((tmp_path / "record").glob("session-*/address")).read_text()
    port = int(re.search(r"port=(\d+)", address)[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]
    assert listening == [f"0100007F:{port:04X}"]
    assert process.wait(60) == 0


def test_an_interrupt_between_two_computations_leaves_no_lane_waiting(make_work, grid, tmp_path):
    from dacapo_hd.blockwise.inside import InsideSource
    from dacapo_hd.blockwise.lanes import Lanes
    from dacapo_hd.blockwise.record import Record

    class Interrupted(queue.SimpleQueue):
        def get(self):
            super().get()
            raise KeyboardInterrupt

    with Record.prepare(tmp_path / "record", make_work(), grid, fresh=False) as record:
        with InsideSource(grid, record.done(), 3, lambda done: None) as source:
            lanes = Lanes(make_work().open(), grid, record, [source] * 3)
            lanes._requests = Interrupted()
            with pytest.raises(KeyboardInterrupt):
                lanes.run()
        assert record.done().sum() == 0


def test_a_worker_that_outlives_its_session_writes_nothing(make_work, grid, tmp_path):
    from dacapo_hd.blockwise.inside import InsideSource
    from dacapo_hd.blockwise.lanes import Lanes
    from dacapo_hd.blockwise.record import Record

    work = make_work()
    with Record.prepare(tmp_path / "record", work, grid, fresh=False) as record:
        with InsideSource(grid, record.done(), 3, lambda done: None) as source:
            Lanes(work.open(), grid, record, [source], current=lambda: False).run()
        assert record.done().sum() == 0
    assert not work.lines("done")
