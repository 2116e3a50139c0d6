"""Apply that is interrupted, changed, or fails in some blocks, and the same command again."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from apply_parts import files

from dacapo_hd.arrays import open_volume
from dacapo_hd.blockwise import BlocksFailedError
from dacapo_hd.errors import UserError
from dacapo_hd.manager import RunManager
from dacapo_hd.stores import FileStore


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.002)


def done_blocks(record):
    path = Path("out.zarr/.dacapo_hd", record, "done")
    return np.fromfile(path, np.uint8).sum() if path.exists() else 0


STAGES = {
    "predict": lambda: done_blocks("predict") >= 3,
    "segment": lambda: Path("out.zarr/.dacapo_hd/segment/passes").exists(),
    "pyramids": lambda: Path("out.zarr/.dacapo_hd/pyramids").exists(),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_same_command_finishes_what_a_signal_has_interrupted(stage, number, start, apply, calm):
    process = start()
    wait_for(STAGES[stage], process)
    process.send_signal(number)
    process.wait(60)
    assert Path("out.zarr/.dacapo_hd/apply.json").exists(), "finished before the signal"
    before = done_blocks("predict")
    apply()
    assert files("out.zarr") == files(calm)
    assert before >= 3


def test_two_workers_finish_what_one_has_begun(start, apply, calm):
    process = start()
    wait_for(STAGES["predict"], process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    apply(workers=2, memory="4GB")
    assert files("out.zarr") == files(calm)


def workers_in(folder):
    listed = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "blockwise.worker" in line and str(folder) in line]


def test_a_killed_worker_changes_nothing(start, here, calm):
    process = start(workers=2)
    wait_for(lambda: workers_in(here), process)
    worker = workers_in(here)[0]
    wait_for(lambda: any(Path("out.zarr/.dacapo_hd/predict").glob("session-*/opened-*")), process)
    os.kill(worker, signal.SIGKILL)
    assert process.wait(300) == 0
    assert files("out.zarr") == files(calm)


@pytest.fixture
def unfinished(start):
    """An output in which some blocks are predicted."""
    process = start()
    wait_for(STAGES["predict"], process)
    process.kill()
    process.wait(60)


def test_a_changed_command_is_refused_on_an_unfinished_output(unfinished, apply):
    with pytest.raises(UserError) as raised:
        apply(roi="0:10,:,:", flips=True)
    assert str(raised.value) == (
        'out.zarr is not finished and was begun with other settings: roi was null, is "0:10,:,:", flips was false, is '
        "true; repeat the command that began it, or give --overwrite to begin anew"
    )
    apply(roi="0:10,:,:", flips=True, overwrite=True)
    assert open_volume("out.zarr/prediction").grid.shape_vx == (10, 90, 110)


def test_later_scores_do_not_change_what_was_begun(unfinished, made, apply, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(made / "runs", runs)
    store = FileStore(runs)
    import attrs

    rows = [attrs.evolve(row, value=5.0) for row in store.scores("tiny") if row.iteration == 2]
    store.write_scores("tiny", rows)
    manager = RunManager(store)
    assert manager.best("tiny").iteration == 2
    manager.apply("tiny", str(made / "raw.zarr"), "out.zarr", progress=False)
    assert open_volume("out.zarr/prediction").attributes["iteration"] == 1


def test_two_commands_cannot_write_to_one_output(apply):
    import filelock

    Path("out.zarr/.dacapo_hd").mkdir(parents=True)
    with filelock.FileLock("out.zarr/.dacapo_hd/lock"), pytest.raises(UserError) as raised:
        apply()
    assert str(raised.value) == "out.zarr: another process writes here; wait for it, or stop it"


def test_damaged_chunks_fail_their_blocks_and_the_rest_is_done(raw, apply, calm, tmp_path):
    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(raw, damaged)
    chunk = damaged / "s0" / "1" / "2" / "3"
    content = chunk.read_bytes()
    chunk.write_bytes(b"nonsense")
    with pytest.raises(BlocksFailedError) as raised:
        apply(source=damaged)
    first, *others = raised.value.problems
    assert raised.value.exit_code == 4
    assert first.endswith("the others are done; the same command tries these again")
    assert others and all("cannot read" in line and "traceback in" in line for line in others)
    assert not Path("out.zarr/segmentation").exists()
    chunk.write_bytes(content)
    apply(source=damaged)
    for part in ("prediction", "segmentation/mito"):
        ours, theirs = (open_volume(f"{folder}/{part}").read() for folder in ("out.zarr", calm))
        np.testing.assert_array_equal(ours, theirs)
