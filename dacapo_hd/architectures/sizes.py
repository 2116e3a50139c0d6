"""How many parameters a network has and how much memory it takes, without running it."""

from __future__ import annotations

import weakref
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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

    = 1.5 times the most that tensors take at the same time (counted on a forward pass without data); measured on a CPU:
    1.0 to 1.3 times, for what convolutions and normalizations need beside, and some 50 MB whatever the input.
    """
    model, shape = _on_meta(architecture, task).eval(), architecture.input_shape_vx
    with torch.inference_mode(), _Alive() as alive:
        model(torch.empty((1, architecture.in_channels, *shape), device="meta"))
    return 1.5 * alive.most_bytes / prod(shape)


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are made within it, and what the most was that lived at the same time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.most_bytes = 0
        self.storages: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.most_bytes = max(self.most_bytes, self.bytes)
        return result

    def _count(self, storage: Any) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self.storages:
            return

        def forget(_: object) -> None:
            del self.storages[address]
            self.bytes -= size

        self.storages[address] = weakref.ref(storage, forget)
        self.bytes += size


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
