"""How many parameters a network has and how much memory it takes, without running it."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.architectures.network import MakesHead, Network

BYTES_PER_PARAMETER = 16  # float32 weight, gradient and the two moments of Adam


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
    kept = _kept_bytes(architecture, batch_size, task)
    return BYTES_PER_PARAMETER * parameter_count(architecture, task) + sum(kept) + sum(sorted(kept)[-2:])


def bytes_per_input_voxel(architecture: Architecture, task: MakesHead | None = None) -> float:
    """Estimate the memory of inference per input voxel, a little generously.

    = 1.5 times what autograd would keep of a forward pass; measured on a CPU: 0.9 to 1.2 times, for the convolutions'
    workspaces.
    """
    return 1.5 * sum(_kept_bytes(architecture, 1, task)) / prod(architecture.input_shape_vx)


def _on_meta(architecture: Architecture, task: MakesHead | None) -> nn.Module:
    with torch.device("meta"):
        return architecture.build() if task is None else Network(architecture, task)


def _kept_bytes(architecture: Architecture, batch_size: int, task: MakesHead | None) -> list[int]:
    """Return the size of each tensor that autograd keeps of a forward pass, parameters aside."""
    model = _on_meta(architecture, task)
    shape = (batch_size, architecture.in_channels, *architecture.input_shape_vx)
    parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in parameters:
            kept[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # the result must live until all is counted, or storages are freed and their addresses used again
        result = model(torch.empty(shape, device="meta"))
    sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
    del result
    return sizes
