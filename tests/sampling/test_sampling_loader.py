import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch

from dacapo_hd.errors import UserError
from dacapo_hd.sampling import Defects, Elastic, Gamma, Noise, Rotate, Sampling, WorkerError, make_loader
from dacapo_hd.sampling.nodes import SampleRequest

EVERYTHING = Sampling(
    locations="balanced",
    augments=(*Sampling().augments, Rotate(), Elastic(spacing_vx=8, sigma_vx=1), Noise(), Gamma(), Defects()),
)


def equal(first, second):
    assert torch.equal(first.raw, second.raw)
    assert first.targets.keys() == second.targets.keys()
    for name, tensors in first.targets.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, second.targets[name], strict=True))


def gone(pid):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def pids(loader):
    return [worker.pid for worker in loader._workers._workers]


@pytest.fixture
def loader(make_crop, window, codes):
    crops = [make_crop(name="a"), make_crop((25, 25, 25), (3, 3, 3), (17, 18, 19), name="b", seed=1)]

    def make(workers=0, first_batch=0, seed=7, sampling=EVERYTHING, crops=crops):
        return make_loader(crops, codes(), window(), sampling, 2, seed, workers, first_batch)

    return make


def test_a_batch_depends_on_its_number_alone(loader):
    expected = [batch for batch, _ in zip(loader(), range(6), strict=False)]
    assert expected[0].raw.shape == (2, 1, 12, 12, 12) and expected[0].raw.dtype == torch.float32
    value, weight = expected[0].targets["ids"]
    assert value.shape == (2, 2, 8, 8, 8) and weight.shape == (2, 1, 8, 8, 8)
    equal(next(loader(first_batch=4)), expected[4])
    for workers in (1, 2):
        with loader(workers, first_batch=1) as batches:
            for batch, number in zip(batches, range(1, 6), strict=False):
                equal(batch, expected[number])


def test_samples_of_a_batch_and_of_seeds_differ(loader):
    with loader() as batches, loader(seed=8) as others:
        batch = next(batches)
        assert not torch.equal(batch.raw[0], batch.raw[1])
        assert not torch.equal(batch.raw, next(others).raw)


def test_an_augmentation_does_not_change_where_samples_are_taken(loader):
    plain, noisy = (next(loader(sampling=Sampling(augments=a))) for a in ((), (Noise(sigma=(0.01, 0.01)),)))
    assert torch.allclose(plain.raw, noisy.raw, atol=0.1) and not torch.equal(plain.raw, noisy.raw)
    assert torch.equal(plain.targets["code"][0], noisy.targets["code"][0])


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_generators_are_left_alone(loader, workers):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    with loader(workers) as batches:
        next(batches)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_requests_keep_their_entropy_through_copies():
    """gunpowder's own requests end with the same seed after some twenty copies."""
    numbers = set()
    for index in range(20):
        request = SampleRequest(1, index)
        for _ in range(60):
            request = request.copy()
        numbers.add(int(request.generator(0).integers(2**62)))
    assert len(numbers) == 20


def test_closing_leaves_no_workers_and_ends_the_iteration(loader):
    with closing(loader(2)) as batches:
        next(batches)
        started = pids(batches)
    assert len(started) == 2 and all(map(gone, started))
    assert list(batches) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_what_the_user_can_mend_arrives_as_one_line(loader, make_crop, workers):
    batches = loader(workers, crops=[make_crop(broken="user")])
    with pytest.raises(UserError) as caught:
        next(batches)
    assert str(caught.value) == "crop 'a': raw is NaN at voxel (0, 0, 0)"
    assert "in read_raw" in str(caught.value.__cause__)


@pytest.mark.parametrize("workers", [0, 1])
def test_any_other_error_arrives_with_the_traceback_of_the_worker(loader, make_crop, workers):
    batches = loader(workers, crops=[make_crop(broken="told you")])
    started = pids(batches) if workers else []
    with pytest.raises(WorkerError) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith("a data worker failed:\nTraceback (most recent call last):\n")
    assert "in read_raw" in text and text.endswith("ZeroDivisionError: told you\n")
    assert all(map(gone, started))


def test_a_killed_worker_stops_the_run(loader):
    batches = loader(2)
    next(batches)
    started = pids(batches)
    os.kill(started[0], signal.SIGKILL)
    with pytest.raises(WorkerError) as caught:
        for _ in range(50):
            next(batches)
    assert str(caught.value) == (
        f"data worker {started[0]} died (exit code -9); on -9 the machine was probably out of memory: "
        "use fewer workers or smaller batches"
    )
    assert all(map(gone, started))


def test_a_worker_killed_while_it_is_waited_for(loader):
    batches = loader(1)
    next(batches)
    worker = pids(batches)[0]
    os.kill(worker, signal.SIGSTOP)
    threading.Timer(1.0, os.kill, (worker, signal.SIGKILL)).start()
    with pytest.raises(WorkerError, match="died"):
        for _ in range(50):
            next(batches)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_go_on_when_a_signal_is_sent_to_the_whole_process_group(loader, number):
    with loader(2) as batches:
        next(batches)
        for worker in pids(batches):
            os.kill(worker, number)
        for _ in range(10):
            next(batches)


def test_a_stuck_worker_does_not_stop_the_end(loader):
    batches = loader(2)
    next(batches)
    started = pids(batches)
    os.kill(started[0], signal.SIGSTOP)
    batches.close()
    assert all(map(gone, started))


def test_a_loader_that_nobody_closes_does_not_stop_the_end_of_its_process(tmp_path):
    """A stuck worker must be killed: the end of a process waits for the processes that it has started."""
    script = tmp_path / "forgetful.py"
    script.write_text(
        textwrap.dedent("""
            import os, signal
            from dacapo_hd.sampling.loader import BatchLoader
            from forgetful_source import Source

            if __name__ == "__main__":
                loader = BatchLoader(Source(), 1, 2, 0)
                assert next(loader) == 0
                (worker,) = loader._workers._workers
                print(worker.pid, flush=True)
                os.kill(worker.pid, signal.SIGSTOP)
        """)
    )
    (tmp_path / "forgetful_source.py").write_text("class Source:\n    def __getitem__(self, n):\n        return n\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(int(done.stdout))


def test_no_crops(loader):
    with pytest.raises(UserError, match=r"^datasplit: the list of training crops is empty; give at least one crop$"):
        loader(crops=[])


def test_crops_that_do_not_go_together(loader, make_crop):
    odd = make_crop(name="b", voxel_size_nm=(8.0, 4.6, 4.6), data=np.zeros((3, 20, 24, 28), np.float32))
    with pytest.raises(UserError) as caught:
        loader(crops=[make_crop(), odd])
    assert caught.value.problems == (
        "crop 'b': voxel size (8.0, 4.6, 4.6) nm differs from (8.0, 8.0, 8.0) nm of crop 'a'; "
        "set datasplit.voxel_size_nm",
        "crop 'b': raw has 3 channels, the architecture takes 1; set architecture.in_channels",
    )


def test_what_is_wrong_with_many_crops_is_said_once(loader, make_crop):
    flat = [make_crop((1, 24, 28), name=name) for name in "abc"]
    with pytest.raises(UserError) as caught:
        loader(crops=flat)
    assert caught.value.problems == (
        "crop 'a' and 2 more: raw is a single section, but the network sees 2 more on either side, which would be "
        "copies of it; set architecture.dims: 2",
    )
