"""The training loop: batches in; statistics, checkpoints and validations out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import StatRow
from dacapo_hd.training.device import use_bfloat16
from dacapo_hd.training.optimization import make_optimizer, make_schedule
from dacapo_hd.training.progress import TrainingProgress
from dacapo_hd.training.trainer import Trainer

if TYPE_CHECKING:
    from dacapo_hd.sampling.loader import Batch
    from dacapo_hd.tasks.base import Task

SECONDS_BETWEEN_FLUSHES = 5.0


@attrs.define
class TrainingState:
    """All that training changes, and so all that a checkpoint holds."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    iteration: int = 0

    @classmethod
    def start(cls, trainer: Trainer, network: nn.Module) -> TrainingState:
        """Begin training a freshly made network."""
        optimizer = make_optimizer(trainer, network.parameters())
        return cls(network, optimizer, make_schedule(trainer, optimizer))

    def to_dict(self) -> dict[str, Any]:
        """Return what `torch.save` writes: tensors and plain values only."""
        return {
            "iteration": self.iteration,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from what `to_dict` returned."""
        self.iteration = saved["iteration"]
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        torch.set_rng_state(saved["torch_rng"].cpu())
        if torch.cuda.is_available() and len(saved["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in saved["cuda_rng"]])


@attrs.frozen
class Callbacks:
    """What the loop calls; `validate` returns whether training should stop."""

    record: Callable[[Sequence[StatRow]], None]
    checkpoint: Callable[[TrainingState], None]
    validate: Callable[[TrainingState], bool]


class _Statistics:
    """Collects losses without waiting for the device at each iteration."""

    def __init__(self, record: Callable[[Sequence[StatRow]], None], progress: TrainingProgress) -> None:
        self.record, self.progress = record, progress
        self.waiting: list[tuple[int, dict[str, Tensor], float, float]] = []
        self.started = self.flushed = time.monotonic()

    def add(self, iteration: int, losses: dict[str, Tensor], learning_rate: float) -> None:
        now = time.monotonic()
        detached = {name: loss.detach() for name, loss in losses.items()}
        self.waiting.append((iteration, detached, learning_rate, now - self.started))
        if now - self.flushed > SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def flush(self) -> None:
        rows = []
        for iteration, tensors, learning_rate, seconds in self.waiting:
            losses = {name: float(loss) for name, loss in tensors.items()}
            _require_finite(iteration, losses)
            values = {**{f"loss/{name}": value for name, value in losses.items()}, "learning_rate": learning_rate}
            rows += [StatRow(iteration, name, value, round(seconds, 3)) for name, value in values.items()]
            self.progress.update(iteration, losses)
        self.waiting = []
        self.flushed = time.monotonic()
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
    with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(trainer.precision, device)):
        predictions = state.network(raw)
    losses = task.loss({name: value.float() for name, value in predictions.items()}, targets)
    total = torch.stack(list(losses.values())).sum()
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if trainer.clip_gradient_norm is not None:
        nn.utils.clip_grad_norm_(state.network.parameters(), trainer.clip_gradient_norm)
    state.optimizer.step()
    state.schedule.step()
    state.iteration += 1
    return losses


def fit(
    trainer: Trainer,
    task: Task,
    state: TrainingState,
    batches: Iterable[Batch],
    callbacks: Callbacks,
    progress: TrainingProgress,
) -> None:
    """Train until `trainer.iterations` or a validation says stop; raises UserError on a loss that is not finite."""
    statistics = _Statistics(callbacks.record, progress)
    state.network.train()
    source = iter(batches)
    while state.iteration < trainer.iterations:
        learning_rate = float(state.schedule.get_last_lr()[0])
        losses = training_step(trainer, task, state, next(source))
        statistics.add(state.iteration, losses, learning_rate)
        last = state.iteration == trainer.iterations
        validation = last or state.iteration % trainer.validation_interval == 0
        if validation or state.iteration % trainer.checkpoint_interval == 0:
            # flushed first, so that a checkpoint never lies beyond the statistics that lead to it
            statistics.flush()
            callbacks.checkpoint(state)
        if validation:
            stop = callbacks.validate(state)
            state.network.train()
            if stop:
                return
