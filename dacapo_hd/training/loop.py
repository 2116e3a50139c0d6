"""The training loop: batches in; statistics, checkpoints and validations out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn

from dacapo_hd.architectures.network import in_float32
from dacapo_hd.errors import UserError
from dacapo_hd.stores.rows import StatRow
from dacapo_hd.training.device import autocast, make_scaler
from dacapo_hd.training.interruption import SignalledError, Signals
from dacapo_hd.training.optimization import make_optimizer, make_schedule, step_schedule
from dacapo_hd.training.progress import TrainingProgress
from dacapo_hd.training.randomness import random_states, restore_random_states
from dacapo_hd.training.trainer import Trainer

if TYPE_CHECKING:
    from dacapo_hd.sampling.loader import Batch
    from dacapo_hd.tasks.base import Task

SECONDS_BETWEEN_FLUSHES = 5.0
SMALLEST_LOSS_SCALE = 2.0**-10


@attrs.define
class TrainingState:
    """All that training changes, and so all that a checkpoint holds; `seconds` is how long it took so far."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    scaler: torch.amp.GradScaler
    iteration: int = 0
    seconds: float = 0.0

    @classmethod
    def start(cls, trainer: Trainer, network: nn.Module) -> TrainingState:
        """Begin training a freshly made network that lies on its device."""
        optimizer = make_optimizer(trainer, network.parameters())
        scaler = make_scaler(trainer.precision, next(network.parameters()).device)
        return cls(network, optimizer, make_schedule(trainer, optimizer), scaler)

    def to_dict(self) -> dict[str, Any]:
        """Return what `torch.save` writes: tensors and plain values only."""
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_states(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from what `to_dict` returned, also from what schema 1 wrote."""
        self.iteration = saved["iteration"]
        self.seconds = saved.get("seconds", 0.0)
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        if "random" in saved:
            self.scaler.load_state_dict(saved["scaler"])
            restore_random_states(saved["random"])
        else:
            torch.set_rng_state(saved["torch_rng"])
            for index, state in enumerate(saved["cuda_rng"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(state, index)

    def require_finite(self) -> None:
        """Raise UserError if the weights are of no use any more."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            what = "the weights are not finite"
        elif self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_LOSS_SCALE:
            what = "the gradients are not finite at any loss scale"
        else:
            return
        raise UserError(
            f"iteration {self.iteration}: {what}; lower trainer.learning_rate or set trainer.clip_gradient_norm; the "
            "same command goes on from the checkpoint before"
        )


@attrs.frozen
class Callbacks:
    """What the loop calls; `validate` returns whether training should stop, and may be unwound by a signal."""

    record: Callable[[Sequence[StatRow]], None]
    checkpoint: Callable[[TrainingState], None]
    validate: Callable[[TrainingState], bool]


class _Statistics:
    """Collects losses without waiting for the device at each iteration."""

    def __init__(self, record: Callable[[Sequence[StatRow]], None], progress: TrainingProgress, now: float) -> None:
        self.record, self.progress = record, progress
        self.waiting: list[tuple[int, dict[str, Tensor], float, float]] = []
        self.flushed = now

    def add(self, state: TrainingState, losses: dict[str, Tensor], learning_rate: float, now: float) -> None:
        detached = {name: loss.detach() for name, loss in losses.items()}
        self.waiting.append((state.iteration, detached, learning_rate, state.seconds))
        if now - self.flushed > SECONDS_BETWEEN_FLUSHES:
            self.flush(now)

    def flush(self, now: float) -> None:
        rows = []
        for iteration, tensors, learning_rate, seconds in self.waiting:
            losses = {name: float(loss) for name, loss in tensors.items()}
            _require_finite(iteration, losses)
            values = {**{f"loss/{name}": value for name, value in losses.items()}, "learning_rate": learning_rate}
            rows += [StatRow(iteration, name, value, round(seconds, 3)) for name, value in values.items()]
            self.progress.update(iteration, losses)
        self.waiting = []
        self.flushed = now
        if rows:
            self.record(rows)


def _require_finite(iteration: int, losses: Mapping[str, float]) -> None:
    broken = {name: value for name, value in losses.items() if not math.isfinite(value)}
    if broken:
        raise UserError(
            f"iteration {iteration}: the loss is not finite ({broken}); lower trainer.learning_rate, set "
            "trainer.clip_gradient_norm, or train with precision: float32"
        )


def training_step(trainer: Trainer, task: Task, state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    """Do one iteration; returns the named losses."""
    device = next(state.network.parameters()).device
    raw = batch.raw.to(device, non_blocking=True)
    targets = {
        name: (value.to(device, non_blocking=True), weight.to(device, non_blocking=True))
        for name, (value, weight) in batch.targets.items()
    }
    with autocast(trainer.precision, device):
        predictions = state.network(raw)
    losses = task.loss(in_float32(predictions), targets)
    total = torch.stack(list(losses.values())).sum()
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    if trainer.clip_gradient_norm is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.network.parameters(), trainer.clip_gradient_norm)
    # without float16 the scaler passes everything on; with it a step whose gradients overflow is skipped
    state.scaler.step(state.optimizer)
    state.scaler.update()
    step_schedule(state.schedule)
    state.iteration += 1
    return losses


def fit(
    trainer: Trainer,
    task: Task,
    state: TrainingState,
    batches: Iterable[Batch],
    callbacks: Callbacks,
    progress: TrainingProgress,
    signals: Signals,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train until `trainer.iterations` or a validation says stop; raises UserError on a loss that is not finite.

    A signal lets the iteration end, or waiting for data at once, and is raised when the checkpoint is written.
    """
    started = clock() - state.seconds
    statistics = _Statistics(callbacks.record, progress, clock())
    saved_iteration, saved_seconds = state.iteration, state.seconds
    state.network.train()
    source = iter(batches)
    with signals.deferred():
        while state.iteration < trainer.iterations:
            learning_rate = float(state.schedule.get_last_lr()[0])
            batch = _wait_for(source, signals)
            if batch is not None:
                losses = training_step(trainer, task, state, batch)
                state.seconds = clock() - started
                statistics.add(state, losses, learning_rate, clock())
            validation = validation_is_due(trainer, state.iteration)
            minutes = (state.seconds - saved_seconds) / 60
            due = state.iteration % trainer.checkpoint_interval == 0 or minutes >= trainer.checkpoint_minutes
            if (validation or due or signals.received) and state.iteration > saved_iteration:
                # flushed first, so that a checkpoint never lies beyond the statistics that lead to it
                statistics.flush(clock())
                callbacks.checkpoint(state)
                saved_iteration, saved_seconds = state.iteration, state.seconds
            signals.stop()
            if validation:
                stop = callbacks.validate(state)
                state.network.train()
                if stop:
                    return
                saved_seconds = clock() - started


def validation_is_due(trainer: Trainer, iteration: int) -> bool:
    """Tell whether an iteration ends with a validation."""
    return iteration == trainer.iterations or iteration % trainer.validation_interval == 0


def _wait_for(source: Iterator[Batch], signals: Signals) -> Batch | None:
    """Return the next batch, or None when a signal comes first."""
    try:
        with signals.at_once():
            return next(source)
    except SignalledError:
        return None
