"""The size of an object, and what it would be after flipping each single voxel of its mask: all exactly.

Evaluating each flip by itself takes one distance transform per voxel. Here all take the time of a few transforms:

- An object's voxel that becomes background takes the level set {distance >= r} away if all of it is less than r away.
  The farthest voxel of a set, in the chessboard distance, is told by the set's box: so the voxels that take a level
  away form a box themselves.
- A background voxel that joins the object lets the size exceed 2r if some voxel has it as its only background up to r
  away. A summed-area table counts that.

On the CPU numba does the work (`size_kernels`), elsewhere torch.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dacapo_hd.operations import size_kernels as kernels
from dacapo_hd.operations.chebyshev import eroded_distance, states_of


def flipped_sizes(objects: Tensor, inside: Tensor | None, caps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the size (b) of each mask, and the sizes (b, [z,] y, x) after flipping each single voxel; float32, voxels.

    `objects` is a batch of boolean masks (b, [z,] y, x). Voxels that are not `inside` (same shape) are neither object
    nor background; what stands there in the result has no meaning. `caps` (b) is the size of masks without background.
    """
    if objects.device.type == "cpu":
        states = states_of(objects, inside)
        sizes, flipped = np.empty(len(states), np.float32), np.zeros(states.shape, np.float32)
        kernels.batch_flips(states, caps.numpy().astype(np.float32), sizes, flipped)
        return torch.from_numpy(sizes), torch.from_numpy(flipped).view(objects.shape)
    return flipped_sizes_anywhere(objects, inside, caps)


def flipped_sizes_anywhere(objects: Tensor, inside: Tensor | None, caps: Tensor) -> tuple[Tensor, Tensor]:
    """Do the same in torch, on any device."""
    if inside is None:
        inside = torch.ones_like(objects)
    batch = _Batch(objects & inside, ~objects & inside)
    count = batch.background.flatten(1).sum(1)
    flipped = 2.0 * torch.where(batch.objects, batch.without_each(), batch.with_each(count)).float()
    caps = caps.to(objects.device, torch.float32)
    sizes = torch.where(count == 0, caps, 2.0 * batch.radius.float())
    flipped = torch.where(batch.wide(count == 0), 2.0 * batch.farthest().float(), flipped)
    return sizes, torch.where(batch.wide(count == 1) & batch.background, batch.wide(caps), flipped)


class _Batch:
    """Masks (b, *space) of objects and of background, their distances, and the coordinates of the voxels."""

    def __init__(self, objects: Tensor, background: Tensor) -> None:
        self.objects, self.background = objects, background
        self.shape = objects.shape[1:]
        self.images = len(objects)
        axes = (torch.arange(n, device=objects.device) for n in self.shape)
        self.places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        self.distance = eroded_distance(background).long() * objects
        self.radius = self.distance.flatten(1).amax(1)

    def wide(self, per_image: Tensor) -> Tensor:
        """Return values per image in a shape that goes with the masks."""
        return per_image.view(-1, *(1 for _ in self.shape))

    def farthest(self) -> Tensor:
        """Return the distance of each voxel to the farthest voxel of its image's object."""
        low, high = self._boxes(self.objects.long(), 2)
        low, high = (end[:, 1].view(self.images, -1, *(1 for _ in self.shape)) for end in (low, high))
        return torch.maximum(self.places - low, high - self.places).amax(1)

    def without_each(self) -> Tensor:
        """Return half the size after each voxel has become background: one less for each level that it takes away."""
        levels = int(self.radius.max()) + 1
        low, high = self._boxes(self.distance, levels)
        low, high = low.flip(1).cummin(1)[0].flip(1), high.flip(1).cummax(1)[0].flip(1)
        r = torch.arange(levels, device=low.device).view(1, -1, 1)
        ends = torch.tensor(self.shape, device=low.device)
        begin, end = (high - r + 1).clamp(min=0), torch.minimum(low + r, ends)
        real = (begin < end).all(-1) & (r[..., 0] > 0) & (r[..., 0] <= self.radius[:, None])
        image, level = real.nonzero(as_tuple=True)
        taken = torch.zeros((self.images, *(n + 1 for n in self.shape)), dtype=torch.long, device=low.device)
        for corner in itertools.product((0, 1), repeat=len(self.shape)):
            where = [(end if upper else begin)[image, level, axis] for axis, upper in enumerate(corner)]
            sign = torch.full_like(image, -1 if sum(corner) % 2 else 1)
            taken.index_put_((image, *where), sign, accumulate=True)
        for axis in range(1, taken.ndim):
            taken = taken.cumsum(axis)
        return self.wide(self.radius) - taken[(slice(None), *(slice(0, n) for n in self.shape))]

    def with_each(self, count: Tensor) -> Tensor:
        """Return half the size after each voxel of the background, one of several, has joined the object."""
        tables = [_table(values) for values in (self.background.long(), self.background.long() * self._index())]
        found = self.wide(self.radius).expand(-1, *self.shape).flatten(1).contiguous()
        known = (self.objects | self.background) & self.wide(count > 1)
        image, *place = known.nonzero(as_tuple=True)
        centre = torch.stack(place)
        reach = self.radius[image]
        alone = self._near(tables[0], image, centre, reach) == 1
        image, centre, reach = image[alone], centre[:, alone], reach[alone]
        only = self._near(tables[1], image, centre, reach)
        while len(image):
            reach = reach + 1
            alone = self._near(tables[0], image, centre, reach) == 1
            flat = image[~alone] * found.shape[1] + only[~alone]
            found.view(-1).scatter_reduce_(0, flat, reach[~alone], "amax")
            image, centre, reach, only = image[alone], centre[:, alone], reach[alone], only[alone]
        return found.view(self.images, *self.shape)

    def _index(self) -> Tensor:
        return torch.arange(self.objects[0].numel(), device=self.objects.device).view(self.shape)

    def _boxes(self, level: Tensor, levels: int) -> tuple[Tensor, Tensor]:
        """Return the first and the last place (b, levels, axis) of the voxels of each level above 0."""
        images = torch.arange(self.images, device=level.device)
        key = (level + self.wide(images * levels)).flatten()
        far = 1 << 28
        low = torch.full((self.images * levels, len(self.shape)), far, device=level.device)
        high = -low
        for axis, place in enumerate(self.places):
            values = place.expand(level.shape).flatten()
            low[:, axis].scatter_reduce_(0, key, values, "amin")
            high[:, axis].scatter_reduce_(0, key, values, "amax")
        return low.view(self.images, levels, -1), high.view(self.images, levels, -1)

    def _near(self, table: Tensor, image: Tensor, centre: Tensor, reach: Tensor) -> Tensor:
        """Sum a table's values up to `reach` away from centres (axis, n)."""
        ends = torch.tensor(self.shape, device=centre.device)[:, None]
        begin, end = (centre - reach).clamp(min=0), torch.minimum(centre + reach + 1, ends)
        total = torch.zeros_like(reach)
        for corner in itertools.product((0, 1), repeat=len(self.shape)):
            where = [(end if upper else begin)[axis] for axis, upper in enumerate(corner)]
            sign = 1 if (len(corner) - sum(corner)) % 2 == 0 else -1
            total = total + sign * table[(image, *where)]
        return total


def _table(values: Tensor) -> Tensor:
    """Return the summed-area table of (b, *space), one longer along each axis."""
    for axis in range(1, values.ndim):
        values = values.cumsum(axis)
    return functional.pad(values, (1, 0) * (values.ndim - 1))
