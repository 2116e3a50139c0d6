"""One resampling for rotation, scale and elastic deformation: a coarse lattice, one upsampling, one lookup.

All positions are voxel indices along z, y, x; boxes are (begin, shape).
"""

from __future__ import annotations

import math

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dacapo_hd.sampling.augment import Geometry

STEP_VX = 8


@attrs.frozen
class Box:
    """A box of voxels; the corner may be negative."""

    begin: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def end(self) -> tuple[int, ...]:
        return tuple(b + n for b, n in zip(self.begin, self.shape, strict=True))

    def union(self, other: Box) -> Box:
        begin = tuple(min(a, b) for a, b in zip(self.begin, other.begin, strict=True))
        end = tuple(max(a, b) for a, b in zip(self.end, other.end, strict=True))
        return Box(begin, tuple(b - a for a, b in zip(begin, end, strict=True)))

    def slices_in(self, outer: Box) -> tuple[slice, ...]:
        """Return where this box lies in the data of a box around it."""
        starts = [b - a for a, b in zip(outer.begin, self.begin, strict=True)]
        return tuple(slice(a, a + n) for a, n in zip(starts, self.shape, strict=True))


def oriented_box(box: Box, orientation: NDArray[np.float64], twice_centre: tuple[int, ...]) -> Box:
    """Return the box of the volume that a signed permutation about a centre brings into `box`.

    `twice_centre` is the sum of the first and the last index of the sample. Where swapped axes have an odd and an
    even size, the centre moves by half a voxel.
    """
    begin, shape = [], []
    for source, row in enumerate(orientation):
        axis = int(np.flatnonzero(row)[0])
        low = 2 * box.begin[axis] - twice_centre[axis]
        high = low + 2 * (box.shape[axis] - 1)
        centre = twice_centre[source] + (twice_centre[source] - twice_centre[axis]) % 2
        begin.append(((low if row[axis] > 0 else -high) + centre) // 2)
        shape.append(box.shape[axis])
    return Box(tuple(begin), tuple(shape))


def orient(data: NDArray[np.generic], orientation: NDArray[np.float64]) -> NDArray[np.generic]:
    """Bring data (c, z, y, x) of an `oriented_box` into the sample's axes; contiguous."""
    order = [int(np.flatnonzero(column)[0]) for column in orientation.T]
    turned = data.transpose(0, *(1 + axis for axis in order))
    backwards = [1 + axis for axis, column in enumerate(orientation.T) if column.sum() < 0]
    return np.ascontiguousarray(np.flip(turned, backwards))


class Warp:
    """The smooth part of a geometry on a box, as positions in the volume on a coarse lattice over the box.

    Between lattice points positions are interpolated linearly: exact for the linear part, and for displacements
    that are smooth over `STEP_VX` voxels nearly so.
    """

    def __init__(
        self, geometry: Geometry, box: Box, twice_centre: tuple[int, ...], voxel_size_nm: tuple[float, ...]
    ) -> None:
        self.box = box
        centre = np.array(twice_centre) / 2
        size = np.array(voxel_size_nm)
        axes = [
            (np.linspace(b, b + n - 1, 1 if n == 1 else math.ceil((n - 1) / STEP_VX) + 1) - c) * v
            for b, n, c, v in zip(box.begin, box.shape, centre, size, strict=True)
        ]
        still = np.stack(np.meshgrid(*axes, indexing="ij"))
        moved = np.tensordot(geometry.linear, still, axes=1)
        for displacement in geometry.displacements:
            moved += displacement.at(axes)
        in_plane = np.abs(moved[0] - still[0]).max() < 1e-6 * size[0]
        constant = all((d.values_nm == d.values_nm[:, :1]).all() for d in geometry.displacements)
        column = geometry.linear[1:, 0]
        self.planar = bool(in_plane and constant and not column.any())
        if self.planar:
            moved[0] = still[0]
        self.lattice = moved / size[:, None, None, None] + centre[:, None, None, None]

    def source(self, box: Box) -> Box:
        """Return the box of the volume that the voxels of `box`, a part of the warp's box, come from."""
        parts = []
        for part, n, count in zip(box.slices_in(self.box), self.box.shape, self.lattice.shape[1:], strict=True):
            per_voxel = (count - 1) / max(1, n - 1)
            parts.append(slice(math.floor(part.start * per_voxel), math.ceil((part.stop - 1) * per_voxel) + 1))
        points = self.lattice[(slice(None), *parts)].reshape(3, -1)
        # 1e-3 voxels cover the rounding of float32 positions
        begin = np.floor(points.min(axis=1) - 1e-3).astype(int)
        end = np.ceil(points.max(axis=1) + 1e-3).astype(int) + 1
        if self.planar:
            begin[0], end[0] = box.begin[0], box.end[0]
        return Box(tuple(begin.tolist()), tuple((end - begin).tolist()))

    def positions(self) -> Tensor:
        """Return the position in the volume of every voxel of the box: float32 (3, z, y, x), or (2, y, x) if planar."""
        if self.planar:
            return _upsample(torch.from_numpy(self.lattice[1:, 0].astype(np.float32)), self.box.shape[1:], "bilinear")
        return _upsample(torch.from_numpy(self.lattice.astype(np.float32)), self.box.shape, "trilinear")

    def part(self, positions: Tensor, box: Box) -> Tensor:
        """Return the positions of the voxels of a box inside the warp's box."""
        where = box.slices_in(self.box)
        return positions[(slice(None), *where[-(positions.ndim - 1) :])]


def _upsample(lattice: Tensor, shape: tuple[int, ...], mode: str) -> Tensor:
    return functional.interpolate(lattice[None], size=shape, mode=mode, align_corners=True)[0]


def resample_linear(data: NDArray[np.float32], source: Box, positions: Tensor) -> NDArray[np.float32]:
    """Look data (c, z, y, x) of the box `source` up at the positions, linearly."""
    dims = len(positions)
    begin, shape = source.begin[-dims:], source.shape[-dims:]
    grid = torch.empty((*positions.shape[1:], dims))
    for axis in range(dims):
        span = max(1, shape[axis] - 1)
        # grid_sample wants x first, and -1..1 between the centres of the first and last voxel
        torch.mul(positions[axis], 2 / span, out=grid[..., dims - 1 - axis])
        grid[..., dims - 1 - axis].sub_(begin[axis] * 2 / span + 1)
    image = torch.from_numpy(data).reshape(1, -1, *shape)
    found = functional.grid_sample(image, grid[None], mode="bilinear", padding_mode="border", align_corners=True)
    lead = data.shape[: data.ndim - dims]
    return found.reshape(*lead, *positions.shape[1:]).numpy()


def resample_nearest(data: NDArray[np.generic], source: Box, positions: Tensor) -> NDArray[np.generic]:
    """Look data (c, z, y, x) of the box `source` up at the voxels nearest to the positions."""
    dims = len(positions)
    flat = torch.zeros(positions.shape[1:], dtype=torch.int32)
    for position, begin, size in zip(positions, source.begin[-dims:], source.shape[-dims:], strict=True):
        index = position.sub(begin).round_().clamp_(0, size - 1).to(torch.int32)
        flat.mul_(size).add_(index)
    lead = data.shape[: data.ndim - dims]
    table = data.reshape(math.prod(lead), -1)
    return np.take(table, flat.numpy(), axis=1).reshape(*lead, *positions.shape[1:])
