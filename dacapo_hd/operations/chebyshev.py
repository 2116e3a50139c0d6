"""Chessboard distances, and the size of an object: twice the largest distance of its voxels from the background.

Source: Baručić and Kybic, Learning to segment from object sizes (2022), section 2.1. What lies beyond the border of an
image is not background. The size of an object that leaves no background is a convention (`cap`).

Batches of masks are tensors (b, y, x) or (b, z, y, x) on any device and count voxels; on the CPU numba does the work.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dacapo_hd.operations import size_kernels as kernels


def states_of(objects: Tensor, inside: Tensor | None) -> NDArray[np.uint8]:
    """Return the states (b, z, y, x) that the kernels read."""
    states = objects.detach().to("cpu", torch.uint8).numpy()
    if inside is not None:
        states = np.where(inside.numpy(force=True), states, np.uint8(kernels.OUTSIDE))
    return np.ascontiguousarray(states.reshape(len(states), *(1,) * (4 - states.ndim), *states.shape[1:]))


def chessboard_distance(background: Tensor) -> Tensor:
    """Return the distance of each voxel to the nearest background voxel, int32; at least the longest edge without one.

    `background` is a batch of boolean masks.
    """
    if background.device.type == "cpu":
        states = states_of(~background, None)
        found = np.empty(states.shape, np.int32)
        kernels.batch_distances(states, found)
        return torch.from_numpy(found).view(background.shape)
    return eroded_distance(background)


def eroded_distance(background: Tensor) -> Tensor:
    """Do the same by eroding until nothing changes; for devices on which numba does not run."""
    pool = functional.max_pool2d if background.ndim == 3 else functional.max_pool3d
    reached = background.float()[:, None]
    distance = torch.zeros_like(reached, dtype=torch.int32)
    for _ in range(max(background.shape[1:])):
        distance += (reached == 0).int()
        grown = pool(reached, kernel_size=3, stride=1, padding=1)
        if torch.equal(grown, reached):
            break
        reached = grown
    nowhere = background.new_full((), max(background.shape[1:]), dtype=torch.int32)
    return torch.where(reached == 0, nowhere, distance)[:, 0]


def object_sizes(objects: Tensor, inside: Tensor | None, caps: Tensor) -> Tensor:
    """Return the size (b) of each of a batch of boolean masks, float32; `caps` (b) where there is no background.

    Voxels that are not `inside` (same shape) are neither object nor background.
    """
    if objects.device.type == "cpu":
        states = states_of(objects, inside)
        sizes = np.empty(len(states), np.float32)
        kernels.batch_sizes(states, caps.numpy().astype(np.float32), sizes)
        return torch.from_numpy(sizes)
    background = ~objects if inside is None else ~objects & inside
    centres = objects if inside is None else objects & inside
    radius = (eroded_distance(background) * centres).flatten(1).amax(1)
    return torch.where(background.flatten(1).any(1), 2.0 * radius, caps.float())
