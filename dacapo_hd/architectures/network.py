"""Backbone and head as one module, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dacapo_hd.architectures.base import Architecture, FeatureMap

BYTES_PER_PARAMETER = 16  # float32 weight, gradient and the two moments of Adam


class MakesHead(Protocol):
    """The part of a task that a network needs (tasks come after architectures)."""

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module: ...


class Network(nn.Module):
    """An architecture's module and a task's head: image (b, c, z, y, x) -> `{name: prediction (b, c, z, y, x)}`."""

    def __init__(self, architecture: Architecture, task: MakesHead) -> None:
        super().__init__()
        self.backbone = architecture.build()
        self.head = task.head(architecture.stages())

    def forward(self, raw: Tensor) -> dict[str, Tensor]:
        predictions: dict[str, Tensor] = self.head(self.backbone(raw))
        return predictions


def parameter_count(architecture: Architecture, task: MakesHead | None = None) -> int:
    """Return the number of trainable parameters, with the task's head if a task is given."""
    return sum(parameter.numel() for parameter in _on_meta(architecture, task).parameters())


def memory_estimate_bytes(architecture: Architecture, batch_size: int, task: MakesHead | None = None) -> int:
    """Estimate the memory of a training step in float32.

    = 16 bytes per parameter (weight, gradient, two moments of Adam)
    + what autograd keeps of a forward pass for the backward pass (counted on a forward pass without data)
    + the two largest kept tensors once more (a gradient and the one made from it).
    Workspaces of the convolution library and the loss come on top.
    """
    model = _on_meta(architecture, task)
    kept = _kept_bytes(model, (batch_size, architecture.in_channels, *architecture.input_shape_vx))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return BYTES_PER_PARAMETER * parameters + sum(kept) + sum(sorted(kept)[-2:])


def _on_meta(architecture: Architecture, task: MakesHead | None) -> nn.Module:
    with torch.device("meta"):
        return architecture.build() if task is None else Network(architecture, task)


def _kept_bytes(model: nn.Module, shape: Sequence[int]) -> list[int]:
    parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in parameters:
            kept[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # the result must live until all is counted, or storages are freed and their addresses used again
        result = model(torch.empty(tuple(shape), device="meta"))
    sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
    del result
    return sizes
