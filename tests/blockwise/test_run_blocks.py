"""Work on blocks with faults: in this process, and in worker processes that really die."""

import numpy as np
import pytest

from dacapo_hd.blockwise import BlocksFailedError, BrokenWorkerError, Local, run_blocks
from dacapo_hd.errors import UserError

inside_and_outside = pytest.mark.parametrize("workers", [1, 2], ids=["inside", "processes"])


def run(work, grid, tmp_path, workers=1, **options):
    run_blocks(work, grid, tmp_path / "record", Local(workers), **options)


@inside_and_outside
def test_every_block_is_done_once(workers, make_work, grid, tmp_path):
    work = make_work()
    run(work, grid, tmp_path, workers)
    np.testing.assert_array_equal(work.result(), work.expected())
    assert sorted(map(int, work.lines("done"))) == list(range(len(grid)))
    run(work, grid, tmp_path, workers)
    assert len(work.lines("done")) == len(grid)


@inside_and_outside
def test_a_block_that_fails_for_a_while_is_tried_again(workers, make_work, grid, tmp_path):
    work = make_work(faults={4: ("raise", 3), 9: ("user error", 1)})
    run(work, grid, tmp_path, workers)
    np.testing.assert_array_equal(work.result(), work.expected())
    assert not list((tmp_path / "record" / "errors").iterdir())


@inside_and_outside
def test_blocks_that_fail_are_listed_and_the_others_are_done(workers, make_work, grid, tmp_path):
    work = make_work(faults={4: ("raise", 99), 9: ("user error", 99)})
    with pytest.raises(BlocksFailedError) as raised:
        run(work, grid, tmp_path, workers)
    errors = tmp_path / "record" / "errors"
    assert raised.value.exit_code == 4
    assert raised.value.problems == (
        "2 of 27 blocks failed, each 4 times; the others are done; the same command tries these again",
        f"block 4 (voxels 0:1,3:6,2:6): ValueError: this block is odd; traceback in {errors / 'block-4.txt'}",
        "block 9 (voxels 1:3,0:3,0:2): raw.zarr: cannot read: chunk 3 is damaged; "
        f"traceback in {errors / 'block-9.txt'}",
    )
    assert "in happen\n" in (errors / "block-4.txt").read_text()
    assert len(work.lines("tries-4")) == 4
    assert len(set(work.lines("done"))) == len(grid) - 2
    repaired = make_work()
    run(repaired, grid, tmp_path, workers)
    assert len(set(work.lines("done"))) == len(grid)
    assert not list(errors.iterdir())


@inside_and_outside
def test_a_systematic_error_shows_after_three_blocks(workers, make_work, grid, tmp_path):
    work = make_work(faults=dict.fromkeys(range(27), ("raise", 99)))
    with pytest.raises(BlocksFailedError) as raised:
        run(work, grid, tmp_path, workers)
    assert raised.value.problems[0] == "stopped because the first blocks failed one after the other"
    assert len(raised.value.problems) == 4
    assert sum(len(work.lines(f"tries-{number}")) for number in range(27)) == 3


@inside_and_outside
def test_blocks_that_failed_before_do_not_stop_the_others(workers, make_work, grid, tmp_path):
    faults = dict.fromkeys((1, 2, 3, 4), ("raise", 99))
    with pytest.raises(BlocksFailedError):
        run(make_work(faults=faults), grid, tmp_path, workers)
    work = make_work(faults={**faults, 0: ("raise", 99)}, version=1)
    np.memmap(tmp_path / "record" / "done", np.uint8, "r+")[[0, 5, 6]] = 0
    with pytest.raises(BlocksFailedError) as raised:
        run(work, grid, tmp_path, workers)
    assert raised.value.problems[0].startswith("5 of 27 blocks failed")


@inside_and_outside
def test_an_error_while_opening_stops_at_once(workers, make_work, grid, tmp_path):
    work = make_work(open_fault="user error")
    with pytest.raises(UserError) as raised:
        run(work, grid, tmp_path, workers)
    assert raised.value.problems == ("raw.zarr: cannot read: chunk 3 is damaged",)
    assert len(work.lines("opened")) == 1
    assert not work.lines("done")


@inside_and_outside
def test_blocks_with_nothing_to_do_are_done(workers, make_work, grid, tmp_path):
    work = make_work(faults=dict.fromkeys(range(20), ("skip", 1)))
    run(work, grid, tmp_path, workers)
    assert sorted(map(int, work.lines("done"))) == list(range(20, 27))


@pytest.mark.parametrize("fault", ["kill", "exit"])
def test_a_block_that_kills_its_worker_for_a_while_is_tried_again(fault, make_work, grid, tmp_path):
    work = make_work(faults={4: (fault, 1), 20: (fault, 2)})
    run(work, grid, tmp_path, workers=2)
    np.testing.assert_array_equal(work.result(), work.expected())


def test_a_block_that_always_kills_its_worker_is_listed_and_takes_no_other_with_it(make_work, grid, tmp_path):
    work = make_work(faults={4: ("kill", 99)})
    with pytest.raises(BlocksFailedError) as raised:
        run(work, grid, tmp_path, workers=2)
    assert raised.value.problems[1] == (
        "block 4 (voxels 0:1,3:6,2:6): the worker died each time, and also when it had this block alone; "
        f"the logs are in {tmp_path / 'record' / 'logs'}"
    )
    assert len(raised.value.problems) == 2
    assert len(work.lines("tries-4")) == 5
    assert len(set(work.lines("done"))) == len(grid) - 1


def test_several_such_blocks_among_four_workers_take_no_other_with_them(make_work, grid, tmp_path):
    deadly = (3, 4, 11, 12)
    work = make_work(faults={**dict.fromkeys(deadly, ("kill", 99)), 20: ("raise", 99)})
    with pytest.raises(BlocksFailedError) as raised:
        run(work, grid, tmp_path, workers=4)
    assert [problem.split(" (")[0] for problem in raised.value.problems[1:]] == [
        f"block {number}" for number in (*deadly, 20)
    ]
    assert set(map(int, work.lines("done"))) == set(range(len(grid))) - {*deadly, 20}


@pytest.mark.parametrize("fault", ["kill", "exit"])
def test_workers_that_die_at_the_first_blocks_are_not_replaced_for_ever(fault, make_work, grid, tmp_path):
    work = make_work(faults=dict.fromkeys(range(27), (fault, 99)))
    with pytest.raises(BlocksFailedError) as raised:
        run(work, grid, tmp_path, workers=2)
    how = {
        "kill": "was killed by SIGKILL; it may have needed more memory than there is",
        "exit": "ended with exit code 7",
    }
    log = tmp_path / "record" / "logs" / "worker-2.log"
    assert raised.value.problems == (
        f"3 workers ended one after the other, the last one like this: worker 2 {how[fault]}; its log is {log}; "
        "the same command goes on",
    )
    assert len(work.lines("opened")) == 3


def test_workers_that_die_while_opening_are_not_replaced_for_ever(make_work, grid, tmp_path):
    work = make_work(open_fault="kill")
    with pytest.raises(BlocksFailedError, match="3 workers ended one after the other"):
        run(work, grid, tmp_path, workers=3)
    assert len(work.lines("opened")) == 3


def test_a_worker_that_breaks_is_replaced(make_work, grid, tmp_path):
    work = make_work(faults={4: ("broken", 1)})
    run(work, grid, tmp_path, workers=2)
    np.testing.assert_array_equal(work.result(), work.expected())
    assert len(set(work.lines("opened"))) == len(work.lines("opened")) >= 2


def test_inside_this_process_a_broken_worker_stops_the_work(make_work, grid, tmp_path):
    work = make_work(faults={4: ("broken", 1)})
    with pytest.raises(BrokenWorkerError):
        run(work, grid, tmp_path)
    run(work, grid, tmp_path)
    np.testing.assert_array_equal(work.result(), work.expected())


def test_another_identity_is_refused_unless_it_begins_anew(make_work, grid, tmp_path):
    run(make_work(), grid, tmp_path)
    other = make_work(version=2)
    with pytest.raises(UserError) as raised:
        run(other, grid, tmp_path)
    assert str(raised.value) == (
        f"{tmp_path / 'record'} was begun with other settings: version was 1, is 2; repeat the command that began "
        "it, or give --overwrite to begin anew"
    )
    run(other, grid, tmp_path, fresh=True)
    assert len(other.lines("done")) == 2 * len(grid)


def test_two_processes_cannot_work_on_one_record(make_work, grid, tmp_path):
    import filelock

    (tmp_path / "record").mkdir()
    with filelock.FileLock(tmp_path / "record" / "lock"), pytest.raises(UserError, match="another process works here"):
        run(make_work(), grid, tmp_path)
