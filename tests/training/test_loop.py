"""The loop on a tiny network and random batches: what it resumes from is all that there is."""

import io
import itertools
import os
import random
import signal

import numpy as np
import pytest
import torch
from torch import nn

from dacapo_hd.errors import UserError
from dacapo_hd.sampling.loader import Batch
from dacapo_hd.training.interruption import Interrupted, Signals
from dacapo_hd.training.loop import Callbacks, TrainingState, fit
from dacapo_hd.training.progress import TrainingProgress
from dacapo_hd.training.randomness import random_states, restore_random_states, seed_everything
from dacapo_hd.training.trainer import Trainer


class Noisy(nn.Module):
    """A network whose forward pass draws from every global generator."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv3d(1, 4, 3, padding=1)
        self.normalization = nn.BatchNorm3d(4)
        self.last = nn.Conv3d(4, 1, 1)

    def forward(self, raw):
        shift = random.gauss(0, 0.1) + np.random.normal(0, 0.1)
        features = nn.functional.dropout(torch.relu(self.normalization(self.convolution(raw + shift))), 0.3)
        return {"value": self.last(features)}


class MeanSquare:
    """A task as far as the loop knows one."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def loss(self, predictions, targets):
        value, weight = targets["value"]
        return {"square": self.scale * ((predictions["value"] - value) ** 2 * weight).mean()}


def batches(first=0):
    for number in itertools.count(first):
        generator = torch.Generator().manual_seed(number)
        raw = torch.randn(2, 1, 4, 8, 8, generator=generator)
        yield Batch(raw, {"value": (raw.roll(1, -1), torch.ones_like(raw))})


class Recorder:
    """Keeps what the loop calls back; checkpoints as the bytes that would be in a file."""

    def __init__(self, stop_at=None, during_validation=lambda: None):
        self.rows, self.saved, self.validated = [], {}, []
        self.stop_at, self.during_validation = stop_at, during_validation

    def save(self, state):
        assert state.iteration not in self.saved
        buffer = io.BytesIO()
        torch.save(state.to_dict(), buffer)
        self.saved[state.iteration] = buffer.getvalue()

    def validate(self, state):
        self.during_validation()
        state.network.eval()
        self.validated.append(state.iteration)
        return state.iteration == self.stop_at

    @property
    def callbacks(self):
        return Callbacks(self.rows.extend, self.save, self.validate)


def load(saved):
    return torch.load(io.BytesIO(saved), weights_only=True)


def train(trainer, recorder, saved=None, source=batches, scale=1.0, clock=None):
    seed_everything(5)
    state = TrainingState.start(trainer, Noisy())
    if saved is not None:
        state.restore(load(saved))
    bar = TrainingProgress("run", trainer.iterations, state.iteration, visible=False)
    options = {} if clock is None else {"clock": clock}
    with Signals() as signals:
        fit(trainer, MeanSquare(scale), state, source(state.iteration), recorder.callbacks, bar, signals, **options)
    return state


def assert_equal(first, second):
    """Compare nested plain values and tensors bit by bit."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second


def without_seconds(saved):
    return {key: value for key, value in load(saved).items() if key != "seconds"}


def values(rows):
    return [(row.iteration, row.name, row.value) for row in rows]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("optimizer", ["adamw", "radam"])
def test_a_resumed_training_is_the_same_bit_by_bit(precision, optimizer):
    trainer = Trainer(
        iterations=14,
        checkpoint_interval=3,
        validation_interval=5,
        precision=precision,
        optimizer=optimizer,
        clip_gradient_norm=1.0,
        learning_rate=0.01,
        warmup_iterations=4,
    )
    calm = Recorder()
    train(trainer, calm)
    assert list(calm.saved) == [3, 5, 6, 9, 10, 12, 14]
    assert calm.validated == [5, 10, 14]
    for iteration in (3, 5, 9):
        resumed = Recorder()
        train(trainer, resumed, calm.saved[iteration])
        assert list(resumed.saved) == [other for other in calm.saved if other > iteration]
        for other, saved in resumed.saved.items():
            assert_equal(without_seconds(saved), without_seconds(calm.saved[other]))
        assert values(resumed.rows) == [value for value in values(calm.rows) if value[0] > iteration]


def test_float16_skips_steps_that_overflow_and_lowers_the_scale(recwarn):
    trainer = Trainer(iterations=12, checkpoint_interval=1, validation_interval=100, precision="float16")
    recorder = Recorder()
    # the loss times the scaler's first scale is beyond float16, so that the gradients are infinite
    train(trainer, recorder, scale=1e2)
    scales = [load(saved)["scaler"]["scale"] for saved in recorder.saved.values()]
    skipped = [before > after for before, after in zip([2.0**16, *scales], scales, strict=False)]
    assert skipped[0] and not skipped[-1]
    weights = [load(saved)["network"]["last.weight"] for saved in recorder.saved.values()]
    for skip, before, after in zip(skipped[1:], weights, weights[1:], strict=False):
        assert torch.equal(before, after) == skip
    # the learning rate follows the iterations, also over skipped ones
    rates = [row.value for row in recorder.rows if row.name == "learning_rate"]
    calm = Recorder()
    train(Trainer(iterations=12, validation_interval=100, precision="float32"), calm)
    assert rates == [row.value for row in calm.rows if row.name == "learning_rate"]
    assert not [warning for warning in recwarn if "lr_scheduler" in str(warning.message)]


def test_float16_clips_the_gradients_of_the_loss_not_of_the_scaled_loss():
    plain, half = Recorder(), Recorder()
    common = {"iterations": 1, "checkpoint_interval": 1, "clip_gradient_norm": 1e-3, "weight_decay": 0.0}
    for precision, recorder in (("float32", plain), ("float16", half)):
        train(Trainer(precision=precision, **common), recorder)
    moments = [load(recorder.saved[1])["optimizer"]["state"][0]["exp_avg"] for recorder in (plain, half)]
    assert moments[0].abs().max() > 0
    assert torch.allclose(*moments, rtol=0.05, atol=1e-6)


def test_only_float16_has_a_scaler():
    for precision in ("auto", "float32", "bfloat16"):
        assert not TrainingState.start(Trainer(precision=precision), Noisy()).scaler.is_enabled()


def test_weights_or_gradients_that_are_not_finite_are_an_error():
    state = TrainingState.start(Trainer(precision="float16"), Noisy())
    state.require_finite()
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0**-11})
    with pytest.raises(UserError, match="iteration 0: the gradients are not finite at any loss scale; lower"):
        state.require_finite()
    with torch.no_grad():
        state.network.last.bias.fill_(torch.nan)
    with pytest.raises(UserError, match="iteration 0: the weights are not finite; lower"):
        state.require_finite()


class Clock:
    """Goes on by a fixed time whenever a batch is made."""

    def __init__(self, seconds):
        self.now, self.seconds = 1000.0, seconds

    def __call__(self):
        return self.now

    def batches(self, first):
        for batch in batches(first):
            self.now += self.seconds
            yield batch


def test_a_checkpoint_is_written_when_the_minutes_are_over_and_changes_nothing():
    trainer = Trainer(iterations=11, checkpoint_interval=8, validation_interval=100, checkpoint_minutes=2.0)
    slow, fast = Clock(50), Clock(1)
    often, seldom = Recorder(), Recorder()
    train(trainer, often, source=slow.batches, clock=slow)
    train(trainer, seldom, source=fast.batches, clock=fast)
    assert list(often.saved) == [3, 6, 8, 11]
    assert list(seldom.saved) == [8, 11]
    assert_equal(without_seconds(often.saved[11]), without_seconds(seldom.saved[11]))
    assert values(often.rows) == values(seldom.rows)


def test_a_long_validation_is_no_reason_for_a_checkpoint():
    clock = Clock(1)

    def wait():
        clock.now += 10_000

    recorder = Recorder(during_validation=wait)
    trainer = Trainer(iterations=9, checkpoint_interval=100, validation_interval=3)
    train(trainer, recorder, source=clock.batches, clock=clock)
    assert list(recorder.saved) == [3, 6, 9]


def test_the_seconds_of_statistics_go_on_after_a_resume():
    trainer = Trainer(iterations=6, checkpoint_interval=3, validation_interval=100)
    clock, later = Clock(2), Clock(2)
    first, second = Recorder(), Recorder()
    train(trainer, first, source=clock.batches, clock=clock)
    later.now = 99_999.0
    train(trainer, second, first.saved[3], later.batches, clock=later)
    assert [row.seconds for row in first.rows if row.name == "learning_rate"] == [2, 4, 6, 8, 10, 12]
    assert [row.seconds for row in second.rows if row.name == "learning_rate"] == [8, 10, 12]


def test_a_validation_can_end_the_training():
    recorder = Recorder(stop_at=4)
    trainer = Trainer(iterations=8, checkpoint_interval=3, validation_interval=2)
    assert train(trainer, recorder).iteration == 4
    assert recorder.validated == [2, 4]


def test_a_loss_that_is_not_finite_is_an_error_and_no_checkpoint():
    recorder = Recorder()
    with pytest.raises(UserError, match="iteration 1: the loss is not finite"):
        train(Trainer(iterations=4, checkpoint_interval=1), recorder, scale=float("nan"))
    assert recorder.saved == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", ["waiting", "step", "statistics", "checkpoint"])
def test_a_signal_ends_the_training_with_a_checkpoint_that_is_gone_on_from(number, where):
    trainer = Trainer(iterations=8, checkpoint_interval=4, validation_interval=100)
    calm, stopped, resumed = Recorder(), Recorder(), Recorder()
    train(trainer, calm)

    def send(wanted):
        if where == wanted and len(sent) == 0:
            sent.append(os.kill(os.getpid(), number))

    def source(first):
        for count, batch in enumerate(batches(first)):
            if count == 5:
                send("waiting")
                pytest.fail("went on") if where == "waiting" else None
            yield batch

    class Task(MeanSquare):
        def loss(self, predictions, targets):
            self.scale += 0
            counted.append(1)
            if len(counted) == 6:
                send("step")
            return super().loss(predictions, targets)

    def save(state):
        send("checkpoint")
        stopped.save(state)

    def record(rows):
        stopped.rows.extend(rows)
        send("statistics")

    sent, counted = [], []
    seed_everything(5)
    state = TrainingState.start(trainer, Noisy())
    bar = TrainingProgress("run", 8, 0, visible=False)
    callbacks = Callbacks(record, save, stopped.validate)
    with pytest.raises(Interrupted) as caught, Signals() as signals:
        fit(trainer, Task(), state, source(0), callbacks, bar, signals)
    assert caught.value.exit_code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    reached = {"waiting": 5, "step": 6, "statistics": 4, "checkpoint": 4}[where]
    assert max(stopped.saved) == reached == max(row.iteration for row in stopped.rows)
    train(trainer, resumed, stopped.saved[reached])
    assert_equal(without_seconds(resumed.saved[8]), without_seconds(calm.saved[8]))
    assert values(stopped.rows + resumed.rows) == values(calm.rows)


def test_a_signal_before_the_first_iteration_writes_nothing():
    recorder = Recorder()

    def source(first):
        os.kill(os.getpid(), signal.SIGTERM)
        yield from batches(first)

    with pytest.raises(Interrupted, match=r"^stopped by SIGTERM before training began; the same command goes on$"):
        train(Trainer(iterations=4), recorder, source=source)
    assert recorder.saved == {} and recorder.rows == []


def test_every_generator_continues():
    seed_everything(11)
    random.gauss(0, 1), np.random.normal()
    buffer = io.BytesIO()
    torch.save(random_states(), buffer)

    def draw():
        return [random.gauss(0, 1), random.random(), np.random.normal(), np.random.randint(1000), float(torch.rand(()))]

    expected = [draw(), draw()]
    restore_random_states(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert [draw(), draw()] == expected


def test_seeding_reaches_every_generator():
    def draw(seed):
        seed_everything(seed)
        return [random.random(), float(np.random.random()), float(torch.rand(()))]

    assert draw(3) == draw(3)
    assert all(a != b for a, b in zip(draw(3), draw(4), strict=True))
    draw(-1), draw(2**40)


def test_a_state_of_schema_1_is_gone_on_from():
    trainer = Trainer(iterations=4, checkpoint_interval=2, validation_interval=100)
    calm, resumed = Recorder(), Recorder()
    train(trainer, calm)
    old = load(calm.saved[2])
    states = old.pop("random")
    for key in ("seconds", "scaler"):
        del old[key]
    old |= {"torch_rng": states["torch"], "cuda_rng": states["cuda"]}
    buffer = io.BytesIO()
    torch.save(old, buffer)
    state = train(trainer, resumed, buffer.getvalue())
    assert state.iteration == 4
    assert_equal(load(calm.saved[2])["schedule"], old["schedule"])
