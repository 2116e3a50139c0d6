"""A run that was stopped goes on as if it had not been."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dacapo_hd.stores import FileStore
from dacapo_hd.training.checkpoint import Checkpoints


def weights(folder, name):
    return Checkpoints(FileStore(folder).checkpoint_folder(name)).load_latest()[1]["network"]


def test_a_killed_run_ends_with_the_weights_statistics_and_scores_of_an_undisturbed_one(config, write, dacapo_hd, here):
    config["trainer"] |= {"iterations": 16, "validation_interval": 8, "checkpoint_interval": 2}
    run = write(config)
    assert dacapo_hd("train", run, "--store", "calm", "--quiet")[0] == 0

    command = [sys.executable, "-m", "dacapo_hd", "train", run, "--store", "killed", "--quiet"]
    process = subprocess.Popen(command, cwd=here)
    checkpoints = Checkpoints(here / "killed" / "tiny" / "checkpoints")
    deadline = time.monotonic() + 120
    while not checkpoints.iterations() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = max(checkpoints.iterations())
    if reached == 16:
        pytest.fail("the run had ended before it was killed")
    assert dacapo_hd("train", run, "--store", "killed", "--quiet")[0] == 0

    calm, killed = weights("calm", "tiny"), weights("killed", "tiny")
    assert calm.keys() == killed.keys()
    assert all(torch.equal(calm[key], killed[key]) for key in calm)
    values = [
        [(row.iteration, row.name, row.value) for row in FileStore(folder).stats("tiny")]
        for folder in ("calm", "killed")
    ]
    assert values[0] == values[1]
    scores = [sorted(map(repr, FileStore(folder).scores("tiny"))) for folder in ("calm", "killed")]
    assert scores[0] == scores[1]


def test_a_validation_that_was_killed_is_made_up_for(config, write, dacapo_hd, here):
    run = write(config)
    assert dacapo_hd("train", run, "--quiet")[0] == 0
    store = FileStore(here / "runs")
    before = sorted(map(repr, store.scores("tiny")))
    (here / "runs" / "tiny" / "scores.jsonl").unlink()
    assert dacapo_hd("train", run, "--quiet")[0] == 0
    last = [row for row in before if "iteration=6," in row]
    assert sorted(map(repr, store.scores("tiny"))) == last


def test_training_stops_when_the_score_does_not_improve(config, write, dacapo_hd, here):
    config["trainer"] |= {"iterations": 1000, "validation_interval": 1, "stop_patience": 2, "learning_rate": 1e-9}
    assert dacapo_hd("train", write(config), "--quiet")[0] == 0
    iterations = {row.iteration for row in FileStore(here / "runs").scores("tiny")}
    assert 3 <= max(iterations) < 20


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_killing_a_training_leaves_no_data_worker_behind(config, write, here):
    config["trainer"] |= {"iterations": 100_000, "validation_interval": 100_000, "workers": 1}
    mark = f"DACAPO_HD_TEST_MARK={here}"
    environment = {**os.environ, "DACAPO_HD_TEST_MARK": str(here)}
    command = [sys.executable, "-m", "dacapo_hd", "train", write(config), "--quiet"]
    process = subprocess.Popen(command, cwd=here, env=environment)
    checkpoints = Checkpoints(here / "runs" / "tiny" / "checkpoints")
    wait_until(lambda: checkpoints.iterations() or process.poll() is not None)
    assert process.poll() is None and len(marked(mark)) > 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not marked(mark))
    assert not marked(mark)


def wait_until(happened, seconds=60):
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)


def marked(mark):
    """Return the processes whose environment holds a text."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in environment.read_bytes():
                found.append(environment.parent.name)
    return found
