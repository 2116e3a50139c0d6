"""A run that was stopped goes on as if it had not been."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dacapo_hd import session
from dacapo_hd.manager import record_of
from dacapo_hd.stores import FileStore
from dacapo_hd.stores.file_lease import FileLease
from dacapo_hd.stores.layout import LEASE
from dacapo_hd.stores.lease import Holder
from dacapo_hd.sweep import load_runs
from dacapo_hd.training.checkpoint import Checkpoints

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def frequent(config):
    """Let every iteration have a checkpoint, of which some are kept."""
    config["trainer"] |= {"checkpoint_interval": 1, "retention": {"last": 3}}
    return config


@pytest.fixture
def config(make_config):
    return frequent(make_config())


@pytest.fixture
def store(here):
    return FileStore("runs")


@pytest.fixture
def checkpoints(store):
    return Checkpoints(store, "tiny")


@pytest.fixture(scope="session")
def calm_folder(make_config, train_once):
    return train_once(frequent(make_config()))


@pytest.fixture
def calm(calm_folder):
    """What an undisturbed training leaves."""
    return content(FileStore(calm_folder))


@pytest.fixture
def trained(calm_folder, store, write, config):
    """The same run in the store of the tests; training it is `dacapo_hd train run.yaml`."""
    shutil.copytree(calm_folder, store.folder)
    return write(config)


def content(store):
    """What must be the same, whatever happened on the way."""
    last = Checkpoints(store, "tiny").load_latest()[1]
    state = {key: value for key, value in last.items() if key != "seconds"}
    stats = [(row.iteration, row.name, row.value) for row in store.stats("tiny")]
    return state, stats, sorted(map(repr, store.scores("tiny")))


def rows(store):
    return sorted(map(repr, (*store.stats("tiny"), *store.scores("tiny"))))


def assert_same(first, second):
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


def wait_until(happened, seconds=120):
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert happened()


@pytest.mark.parametrize("kind", ["files", "mongodb"])
def test_trainings_killed_at_random_moments_end_as_an_undisturbed_one(kind, request, tmp_path, monkeypatch):
    """The short version of benchmarks/kill_and_resume.py."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from kill_and_resume import Stress

    if kind == "files":
        place = {"address": str(tmp_path / "runs"), "seed": 1}
    else:
        place = {"address": request.getfixturevalue("mongodb"), "weights": str(tmp_path / "weights"), "seed": 2}
    report = Stress(tmp_path, **place, iterations=20, fork=True).run(kills=5)
    assert report.problems == []
    assert report.kills == 5


@pytest.fixture
def long_training(config, write, here, checkpoints):
    """A training with a data worker that would go on for hours, in a process group of its own."""
    config["trainer"] |= {"iterations": 100_000, "validation_interval": 100_000, "workers": 1}
    command = [sys.executable, "-m", "dacapo_hd", "train", write(config), "--quiet"]
    environment = {**os.environ, "DACAPO_HD_TEST_MARK": str(here)}
    process = subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or list(checkpoints.folder.glob("*.pt")))
        assert process.poll() is None, process.stderr.read()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def marked(here):
    """Return the processes whose environment holds the mark of a test."""
    mark = f"DACAPO_HD_TEST_MARK={here}".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes():
                found.append(environment.parent.name)
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


@needs_proc
def test_killing_a_training_leaves_no_data_worker_behind(long_training, here):
    assert len(marked(here)) > 1
    long_training.send_signal(signal.SIGKILL)
    long_training.wait()
    wait_until(lambda: not marked(here))


@needs_proc
@pytest.mark.parametrize(("number", "name", "code"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 130)])
def test_a_signal_to_the_whole_group_ends_a_training_with_a_checkpoint(
    long_training, store, checkpoints, here, number, name, code
):
    os.killpg(long_training.pid, number)
    err = long_training.stderr.read().decode()
    assert long_training.wait() == code
    reached = max(row.iteration for row in store.stats("tiny"))
    assert checkpoints.load_latest()[0] == reached
    message = f"stopped by {name} at iteration {reached} of 100000; the checkpoint is written; the same command goes on"
    assert err == f"error: {message}\n"
    wait_until(lambda: not marked(here))
    with store.lock("tiny"):
        pass


def test_a_damaged_checkpoint_is_named_and_what_came_after_is_made_again(calm, trained, checkpoints, store, dacapo_hd):
    path = checkpoints.path(6)
    path.write_bytes(path.read_bytes()[:1000])
    code, _, err = dacapo_hd("train", trained)
    assert code == 0
    assert err.startswith(f"warning: {path}: damaged checkpoint: it has 1000 bytes instead of ")
    assert "iteration 5 is used instead, the file is kept as 00000006.pt.damaged\n" in err
    assert "tiny: continues from iteration 5" in err
    assert_same(content(store), calm)


def test_several_damaged_and_missing_checkpoints_are_all_named(calm, trained, checkpoints, store, dacapo_hd):
    checkpoints.path(6).unlink()
    checkpoints.path(5).write_bytes(b"")
    code, _, err = dacapo_hd("train", trained, "--quiet")
    assert code == 0
    assert [line.partition(": ")[2].partition(": ")[0] for line in err.splitlines()] == [
        str(checkpoints.path(iteration)) for iteration in (5, 6)
    ]
    assert_same(content(store), calm)


def test_without_a_sound_checkpoint_nothing_is_trained_from_zero(trained, checkpoints, store, dacapo_hd):
    for iteration in checkpoints.iterations():
        checkpoints.path(iteration).write_bytes(b"")
    before = rows(store)
    code, _, err = dacapo_hd("train", trained, "--quiet")
    assert code == 1
    assert err.splitlines()[-1] == (
        "error: run 'tiny' has no sound checkpoint; restore one, or remove the run with `dacapo-hd runs rm tiny` to "
        "train it from the start"
    )
    assert rows(store) == before


def test_a_run_that_has_lost_all_its_checkpoints_is_not_trained_from_zero(trained, checkpoints, store, dacapo_hd):
    for iteration in checkpoints.iterations():
        checkpoints.path(iteration).unlink()
    store.remove_checkpoints("tiny", checkpoints.iterations())
    before = rows(store)
    code, _, err = dacapo_hd("train", trained, "--quiet")
    assert code == 1
    assert err == (
        "error: run 'tiny' has statistics up to iteration 6 but no checkpoint; restore runs/tiny/checkpoints, or "
        "remove the run with `dacapo-hd runs rm tiny` to train it from the start\n"
    )
    assert rows(store) == before


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again_and_says_so(
    calm, trained, checkpoints, store, dacapo_hd
):
    for iteration in checkpoints.iterations():
        checkpoints.path(iteration).unlink()
    store.remove_checkpoints("tiny", checkpoints.iterations())
    store.truncate("tiny", 1)
    code, _, err = dacapo_hd("train", trained, "--quiet")
    assert code == 0
    assert err == (
        "warning: run 'tiny' was stopped at iteration 1, before its first checkpoint; it starts from iteration 0 "
        "again\n"
    )
    assert_same(content(store), calm)


def test_damaged_rows_of_statistics_do_not_stop_a_resume(trained, store, dacapo_hd):
    path = store.folder / "tiny" / "stats.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], b"x" + lines[-1]]))
    code, _, err = dacapo_hd("train", trained, "--quiet")
    assert code == 0
    assert f"runs/tiny/stats.jsonl:{len(lines)}" in err
    assert len(store.stats("tiny")) == len(lines) - 1


@pytest.mark.parametrize("lines", [None, 4])
def test_statistics_that_are_lost_up_to_the_checkpoint_are_named(trained, store, dacapo_hd, lines):
    path = store.folder / "tiny" / "stats.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)[:lines]
    path.write_bytes(b"".join(kept)) if lines else path.unlink()
    first = max((row.iteration for row in store.stats("tiny")), default=0) + 1
    code, _, err = dacapo_hd("train", trained, "--quiet")
    assert (code, err) == (0, f"warning: runs: run 'tiny' has no statistics of iterations {first} to 6\n")


def test_a_validation_that_was_killed_is_made_up_for_and_one_before_is_named(calm, trained, store, dacapo_hd):
    (store.folder / "tiny" / "scores.jsonl").unlink()
    code, _, err = dacapo_hd("train", trained, "--quiet")
    named = "runs: run 'tiny' has no scores of 1 of its validations, the first of iteration 3"
    assert (code, err) == (0, f"warning: {named}\n")
    assert sorted(map(repr, store.scores("tiny"))) == [row for row in calm[2] if "iteration=6," in row]


def test_training_stops_when_the_score_does_not_improve(config, write, dacapo_hd, store):
    config["trainer"] |= {"iterations": 1000, "validation_interval": 1, "stop_patience": 2, "learning_rate": 1e-9}
    assert dacapo_hd("train", write(config), "--quiet")[0] == 0
    iterations = {row.iteration for row in store.scores("tiny")}
    assert 3 <= max(iterations) < 20


def test_only_the_checkpoints_that_are_wanted_are_kept(config, write, dacapo_hd, store, dataset):
    config["trainer"] |= {
        "iterations": 9,
        "validation_interval": 2,
        "checkpoint_interval": 1,
        "retention": {"last": 1, "every": 5, "best": False},
    }
    assert dacapo_hd("train", write(config), "--quiet")[0] == 0
    found = [row.iteration for row in store.checkpoints("tiny")]
    assert {5, 9} <= set(found) and len(found) <= 3
    raw = dataset / "validate" / "crop_0" / "raw"
    code, _, err = dacapo_hd("apply", "tiny", raw, "out.zarr", "--iteration", "best", "--quiet")
    assert code == 0, err


def test_a_damaged_checkpoint_that_was_asked_for_is_an_error(trained, checkpoints, dacapo_hd):
    path = checkpoints.path(6)
    path.write_bytes(b"")
    size = next(row.bytes for row in checkpoints.store.checkpoints("tiny") if row.iteration == 6)
    code, _, err = dacapo_hd("validate", "tiny", "--iteration", "6", "--quiet")
    others = ", ".join(str(other) for other in checkpoints.iterations() if other != 6)
    assert (code, err) == (
        1,
        f"error: runs/tiny/checkpoints/00000006.pt: damaged checkpoint: it has 0 bytes instead of {size}; other "
        f"checkpoints: {others}\n",
    )
    code, _, err = dacapo_hd("validate", "tiny", "--quiet")
    assert code == 0
    assert "iteration 5 is used instead" in err


def test_a_run_that_another_process_trains_is_refused_with_its_holder(trained, store, dacapo_hd):
    with store.lock("tiny"):
        code, _, err = dacapo_hd("train", trained, "--quiet")
    assert code == 3
    assert f"is being trained by pid {os.getpid()} on" in err and len(err.splitlines()) == 1


@pytest.fixture
def sweep(config, write):
    """Two runs that differ in their seed, with one checkpoint each."""
    config["trainer"] |= {"iterations": 3, "checkpoint_interval": 3}
    study = {
        "name": "study",
        **{f"{part}s": [config[part]] for part in ("task", "architecture", "datasplit", "trainer")},
    }
    return write({**study, "seeds": [0, 1]})


def test_a_sweep_leaves_out_the_runs_that_other_processes_train(sweep, dacapo_hd, store):
    run, other = load_runs(sweep)
    store.add_run(record_of(run))
    with store.lock(run.name):
        code, _, err = dacapo_hd("train", sweep, "--quiet")
    assert code == 3
    assert err.startswith(f"error: run {run.name!r} is being trained by") and len(err.splitlines()) == 1
    assert store.checkpoints(run.name) == []
    assert store.checkpoints(other.name)[-1].iteration == 3
    # something else that is wrong is worse
    Checkpoints(store, other.name).path(3).write_bytes(b"")
    with store.lock(run.name):
        code, _, err = dacapo_hd("train", sweep, "--quiet")
    assert code == 1
    assert f"error: run {run.name!r} is being trained by" in err
    assert f"error: run {other.name!r}: run {other.name!r} has no sound checkpoint" in err


def test_a_signal_ends_a_whole_sweep_and_a_validation_at_once(sweep, dacapo_hd, store, monkeypatch):
    def stopped(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on")

    score_network = session.score_network
    monkeypatch.setattr(session, "score_network", stopped)
    code, _, err = dacapo_hd("train", sweep, "--quiet")
    message = "stopped by SIGTERM at iteration 3 of 3; the checkpoint is written; the same command goes on"
    assert (code, err) == (143, f"error: {message}\n")
    (record,) = store.runs()
    assert store.scores(record.name) == []
    monkeypatch.setattr(session, "score_network", score_network)
    assert dacapo_hd("train", sweep, "--quiet")[0] == 0
    assert len(store.runs()) == 2
    assert all(store.scores(record.name) for record in store.runs())


def test_a_run_that_was_taken_over_is_not_written_to(config, write, dacapo_hd, store, monkeypatch):
    """As after a suspension during which another machine saw no heartbeat."""
    score_network = session.score_network

    def slow(*arguments, **options):
        lease = FileLease(store.folder / "tiny" / LEASE)
        assert lease.take(lease.read(), Holder("token", "elsewhere", "machine", 7, "", "now"))
        return score_network(*arguments, **options)

    monkeypatch.setattr(session, "score_network", slow)
    code, _, err = dacapo_hd("train", write(config), "--quiet")
    assert code == 3
    assert "run 'tiny' was taken over by pid 7 on elsewhere since now" in err
    assert store.scores("tiny") == []
    assert [row.iteration for row in store.checkpoints("tiny")] == [1, 2, 3]
