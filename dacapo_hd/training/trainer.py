"""What of training is neither data, task nor network."""

from __future__ import annotations

from typing import ClassVar

import attrs

from dacapo_hd.config import Component, fraction, non_negative, one_of, optional, positive
from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.training.retention import Retention


@attrs.frozen(kw_only=True)
class Trainer(Component):
    """Optimisation, schedule, precision, device, and how often to validate and to checkpoint.

    `precision: auto` is bfloat16 autocast on a GPU that has it and float32 elsewhere; float16 scales the loss, for
    GPUs without bfloat16. `device: auto` takes CUDA, then MPS, then the CPU. A checkpoint is written after
    `checkpoint_interval` iterations or `checkpoint_minutes`, whichever comes first, and before each validation.
    `stop_patience` ends the run after so many validations without a better score.
    """

    kind: ClassVar[str] = "trainer"
    default_type: ClassVar[str] = "Trainer"

    iterations: int = attrs.field(default=10_000, validator=positive)
    batch_size: int = attrs.field(default=2, validator=positive)
    optimizer: str = attrs.field(default="adamw", validator=one_of("adamw", "radam"))
    learning_rate: float = attrs.field(default=1e-3, validator=positive)
    weight_decay: float = attrs.field(default=1e-2, validator=non_negative)
    schedule: str = attrs.field(default="cosine", validator=one_of("constant", "cosine", "linear"))
    warmup_iterations: int = attrs.field(default=0, validator=non_negative)
    final_learning_rate_fraction: float = attrs.field(default=0.01, validator=fraction)
    clip_gradient_norm: float | None = attrs.field(default=None, validator=optional(positive))
    precision: str = attrs.field(default="auto", validator=one_of("auto", "float32", "bfloat16", "float16"))
    device: str = "auto"
    workers: int = attrs.field(default=1, validator=non_negative)
    sampling: Sampling = attrs.field(factory=Sampling)
    validation_interval: int = attrs.field(default=1000, validator=positive)
    checkpoint_interval: int = attrs.field(default=500, validator=positive)
    checkpoint_minutes: float = attrs.field(default=10.0, validator=positive)
    retention: Retention = attrs.field(factory=Retention)
    stop_patience: int | None = attrs.field(default=None, validator=optional(positive))
    tolerance_nm: float = attrs.field(default=20.0, validator=positive)
