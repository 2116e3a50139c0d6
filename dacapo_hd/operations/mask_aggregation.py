"""Affinities from overlapping single-instance masks, tile by tile.

A mask M_c says which voxels c + n * dilation of a window around the centre c lie in the object of c. For an edge u, v
each mask whose window contains both has the affinity min(M_c(u), M_c(v)) and the evidence max(M_c(u), M_c(v)). Mean
and variance are weighted by the evidence. As min * max is the product, three sums are enough: of x y, of max(x, y) and
of x y min(x, y). Source: Bailoni et al. 2020, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import attrs
import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Offset = Sequence[int]
Floats = NDArray[np.float32]

TILE_VX = (16, 64, 64)
# where no mask has any evidence: no affinity, and as uncertain as a value within 0..1 can be
NO_AFFINITY, NO_CERTAINTY = 0.0, 0.25


@attrs.frozen
class Window:
    """The voxels n * dilation of a mask, n within +-size // 2 on each axis; flattened in the order z, y, x."""

    size: tuple[int, ...]
    dilation: tuple[int, ...] = (1, 1, 1)

    @property
    def reach(self) -> tuple[int, ...]:
        """Return how far the window reaches to either side in voxels."""
        return tuple(n // 2 * d for n, d in zip(self.size, self.dilation, strict=True))

    def steps(self) -> list[tuple[int, ...]]:
        """Return the places of the window in voxels from its centre."""
        axes = zip(self.size, self.dilation, strict=True)
        return list(product(*(range(-(n // 2) * d, (n // 2) * d + 1, d) for n, d in axes)))

    def fits(self, offset: Offset) -> bool:
        """Tell whether two places of the window are this offset apart."""
        axes = zip(offset, self.size, self.dilation, strict=True)
        return all(o % d == 0 and abs(o) // d < n for o, n, d in axes)

    def pairs(self, offset: Offset) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return the places that are an offset apart: both indices, and the first one from the centre in voxels."""
        index = {place: number for number, place in enumerate(self.steps())}
        moved = ((place, tuple(a + b for a, b in zip(place, offset, strict=True))) for place in index)
        return [(index[place], index[other], place) for place, other in moved if other in index]


@attrs.frozen(eq=False)
class Branch:
    """Latent masks of all voxels: `latents` (q, z, y, x), and what decodes any box of them to masks (k, z, y, x)."""

    window: Window
    latents: Tensor
    decode: Callable[[Tensor], Tensor]


def aggregate(
    branches: Sequence[Branch], offsets_vx: Sequence[Offset], tile_vx: Sequence[int] = TILE_VX
) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of the affinities, two float32 (offset, z, y, x) on the latents' device.

    All centres inside of the volume count, also for edges that leave it. Beside the results the memory does not depend
    on the volume: each tile decodes the masks of its centres and of a halo as wide as the window reaches. Where no mask
    has evidence, the affinity is 0 and the variance 0.25, its highest possible value.
    """
    shape = tuple(branches[0].latents.shape[1:])
    device = branches[0].latents.device
    mean = torch.empty((len(offsets_vx), *shape), device=device)
    variance = torch.empty_like(mean)
    for tile in _tiles(shape, tile_vx):
        sums = torch.zeros((3, len(offsets_vx), *(s.stop - s.start for s in tile)), device=device)
        for branch in branches:
            reach = zip(tile, branch.window.reach, shape, strict=True)
            around = tuple(slice(max(s.start - r, 0), min(s.stop + r, n)) for s, r, n in reach)
            masks = branch.decode(branch.latents[:, *around]).float()
            shift = tuple(s.start - a.start for s, a in zip(tile, around, strict=True))
            add = add_numba if device.type == "cpu" else add_torch
            add(masks, branch.window, offsets_vx, shift, sums)
        mean[:, *tile], variance[:, *tile] = _finished(sums)
    return mean, variance


def add_torch(masks: Tensor, window: Window, offsets_vx: Sequence[Offset], shift: Sequence[int], sums: Tensor) -> None:
    """Add masks (k, z, y, x) to the three sums (3, offset, z, y, x) of a tile, which begins at `shift` in the masks."""
    shape = sums.shape[2:]
    for number, offset in enumerate(offsets_vx):
        for first, second, place in window.pairs(offset):
            # u = centre + place; both counted in the tile
            low = [max(0, p - s) for p, s in zip(place, shift, strict=True)]
            high = [min(n, c + p - s) for n, c, p, s in zip(shape, masks.shape[1:], place, shift, strict=True)]
            if any(a >= b for a, b in zip(low, high, strict=True)):
                continue
            here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            axes = zip(low, high, shift, place, strict=True)
            centres = tuple(slice(a + s - p, b + s - p) for a, b, s, p in axes)
            x, y = masks[first][centres], masks[second][centres]
            both = x * y
            sums[0, number][here] += both
            sums[1, number][here] += torch.maximum(x, y)
            sums[2, number][here].addcmul_(both, torch.minimum(x, y))


def add_numba(masks: Tensor, window: Window, offsets_vx: Sequence[Offset], shift: Sequence[int], sums: Tensor) -> None:
    pairs = [window.pairs(offset) for offset in offsets_vx]
    starts = np.cumsum([0, *map(len, pairs)])
    table = np.array([(a, b, *place) for found in pairs for a, b, place in found], np.int64).reshape(-1, 5)
    z, y, x = shift
    _add(masks.contiguous().numpy(), table, starts, (z, y, x), sums.numpy())


def _finished(sums: Tensor) -> tuple[Tensor, Tensor]:
    product_sum, evidence, square_sum = sums
    known = evidence > 0
    total = torch.where(known, evidence, 1)
    mean = product_sum / total
    variance = (square_sum / total - mean * mean).clamp(0, NO_CERTAINTY)
    return torch.where(known, mean, NO_AFFINITY).clamp(0, 1), torch.where(known, variance, NO_CERTAINTY)


def _tiles(shape: Sequence[int], tile_vx: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    axes = (
        [slice(begin, min(begin + size, n)) for begin in range(0, n, size)]
        for n, size in zip(shape, tile_vx, strict=True)
    )
    yield from product(*axes)


@numba.njit(parallel=True, fastmath=True, cache=True)
def _add(
    masks: Floats, pairs: NDArray[np.int64], starts: NDArray[np.int64], shift: tuple[int, int, int], sums: NDArray[Any]
) -> None:
    _, depth, height, width = masks.shape
    _, offsets, tile_depth, tile_height, tile_width = sums.shape
    for row in numba.prange(tile_depth * tile_height):
        z, y = row // tile_height, row % tile_height
        for number in range(offsets):
            both, evidence, square = sums[0, number, z, y], sums[1, number, z, y], sums[2, number, z, y]
            for k in range(starts[number], starts[number + 1]):
                centre_z, centre_y = z + shift[0] - pairs[k, 2], y + shift[1] - pairs[k, 3]
                if not (0 <= centre_z < depth and 0 <= centre_y < height):
                    continue
                step = shift[2] - pairs[k, 4]
                begin, end = max(0, -step), min(tile_width, width - step)
                if end <= begin:
                    continue
                first = masks[pairs[k, 0], centre_z, centre_y, begin + step : end + step]
                second = masks[pairs[k, 1], centre_z, centre_y, begin + step : end + step]
                a, b, c = both[begin:end], evidence[begin:end], square[begin:end]
                for x in range(end - begin):
                    p, q = first[x], second[x]
                    common, least = p * q, min(p, q)
                    a[x] += common
                    b[x] += p + q - least
                    c[x] += common * least
