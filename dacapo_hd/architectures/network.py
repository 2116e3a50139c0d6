"""Backbone and head as one module."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from dacapo_hd.architectures.base import Architecture, FeatureMap


class MakesHead(Protocol):
    """The part of a task that a network needs (tasks come after architectures)."""

    @property
    def frozen(self) -> tuple[str, ...]: ...

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module: ...


def in_float32(predictions: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same mapping, with what its class carries beside, in float32."""
    converted = copy.copy(predictions)
    converted.update((name, prediction.float()) for name, prediction in predictions.items())
    return converted


class Network(nn.Module):
    """An architecture's module and a task's head: image (b, c, z, y, x) -> `{name: prediction (b, c, z, y, x)}`.

    The modules that the task names `frozen` keep their weights and the statistics of their normalisation.
    """

    def __init__(self, architecture: Architecture, task: MakesHead) -> None:
        super().__init__()
        self.backbone = architecture.build()
        self.head = task.head(architecture.stages())
        self.frozen = task.frozen
        for name in self.frozen:
            self.get_submodule(name).requires_grad_(False)

    def train(self, mode: bool = True) -> Network:
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def forward(self, raw: Tensor) -> dict[str, Tensor]:
        predictions: dict[str, Tensor] = self.head(self.backbone(raw))
        return predictions
