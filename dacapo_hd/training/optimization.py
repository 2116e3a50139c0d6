"""Optimiser and learning-rate schedule of a trainer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

import torch
from torch import nn

from dacapo_hd.training.trainer import Trainer


def make_optimizer(trainer: Trainer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make AdamW or RAdam, both with decoupled weight decay."""
    if trainer.optimizer == "radam":
        return torch.optim.RAdam(
            parameters, lr=trainer.learning_rate, weight_decay=trainer.weight_decay, decoupled_weight_decay=True
        )
    return torch.optim.AdamW(parameters, lr=trainer.learning_rate, weight_decay=trainer.weight_decay)


def learning_rate_factor(trainer: Trainer, iteration: int) -> float:
    """Return the learning rate of an iteration (from 0) as a fraction of `learning_rate`.

    A linear warm-up, then constant, or down to `final_learning_rate_fraction` on a line or a half cosine.
    """
    if iteration < trainer.warmup_iterations:
        return (iteration + 1) / trainer.warmup_iterations
    if trainer.schedule == "constant":
        return 1.0
    span = max(1, trainer.iterations - trainer.warmup_iterations)
    progress = min(1.0, (iteration - trainer.warmup_iterations) / span)
    falling = 1 - progress if trainer.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    final = trainer.final_learning_rate_fraction
    return final + (1 - final) * falling


def make_schedule(trainer: Trainer, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
    """Make the scheduler, to be stepped once per iteration."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda iteration: learning_rate_factor(trainer, iteration))


def step_schedule(schedule: torch.optim.lr_scheduler.LambdaLR) -> None:
    """Go on to the next iteration's learning rate."""
    with warnings.catch_warnings():
        # of the first step, which float16 may skip: the schedule follows the iterations all the same
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        schedule.step()
