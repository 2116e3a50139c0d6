"""One resampling for all geometric augmentations of a sample.

The map is evaluated on a coarse lattice; one pass over the output interpolates positions between lattice points and
looks the data up. All positions are voxel indices along z, y, x.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.sampling.augment import Geometry
from dacapo_hd.sampling.boxes import Box, source_twice_centre

MAX_STEP_BITS = 3
STEPS_PER_CONTROL_POINT = 4


class Warp:
    """A geometry on a box: the position in the volume of every 2^k-th voxel of each axis.

    In between positions are interpolated linearly: exact for the linear part; for displacements the steps are at
    most 8 voxels and a quarter of the spacing of control points (or 1 voxel). Powers of two keep the interpolation
    exact where nothing is moved.
    """

    def __init__(
        self, geometry: Geometry, box: Box, twice_centre: tuple[int, ...], voxel_size_nm: tuple[float, ...]
    ) -> None:
        self._box = box
        finest_nm = (
            min((d.spacings_nm[axis] for d in geometry.displacements), default=math.inf) / STEPS_PER_CONTROL_POINT
            for axis in range(3)
        )
        z, y, x = (_step_bits(finest / size) for finest, size in zip(finest_nm, voxel_size_nm, strict=True))
        self._bits = z, y, x
        axes = [
            (np.arange(b, b + n + (1 << k), 1 << k, dtype=np.float64) - c / 2) * v
            for b, n, c, v, k in zip(box.begin, box.shape, twice_centre, voxel_size_nm, self._bits, strict=True)
        ]
        still = np.stack(np.meshgrid(*axes, indexing="ij"))
        moved: NDArray[np.float64] = np.tensordot(geometry.linear, still, axes=1)
        for displacement in geometry.displacements:
            moved = moved + displacement.at(axes)
        offset_vx = np.tensordot(geometry.orientation, moved / np.reshape(voxel_size_nm, (3, 1, 1, 1)), axes=1)
        centre = np.reshape(source_twice_centre(geometry.orientation, twice_centre), (3, 1, 1, 1)) / 2
        # voxels that are not moved come out as whole numbers, so that they need no neighbours
        self._lattice = np.round(offset_vx + centre, 6).astype(np.float32)

    def source(self, box: Box) -> Box:
        """Return the box of the volume that the voxels of `box`, a part of the warp's box, come from."""
        points = self._lattice
        for axis, (part, bits) in enumerate(zip(box.slices_in(self._box), self._bits, strict=True), start=1):
            # inside of a cell of the lattice positions lie between those at its corners
            step = 1 << bits
            first = -(-part.start // step) * step
            corners = np.unique([part.start, *range(first, part.stop, step), part.stop - 1])
            whole, rest = np.divmod(corners, step)
            share = np.expand_dims((rest / step).astype(np.float32), tuple(range(1, 4 - axis)))
            low, high = points.take(whole, axis), points.take(whole + 1, axis)
            points = low + (high - low) * share
        flat = points.reshape(3, -1)
        begin, end = np.floor(flat.min(axis=1)).astype(int), np.ceil(flat.max(axis=1)).astype(int) + 1
        return Box(tuple(begin.tolist()), tuple((end - begin).tolist()))

    def linear(self, data: NDArray[np.float32], source: Box, box: Box) -> NDArray[np.float32]:
        """Interpolate data (c, z, y, x) of the box `source` at the positions of the voxels of `box`."""
        out = np.empty((len(data), *box.shape), np.float32)
        _linear(_flat(data), source.shape, self._lattice_from(source), self._bits, self._start(box), out)
        return out

    def nearest(self, data: NDArray[Any], source: Box, box: Box) -> NDArray[Any]:
        """Give each voxel of `box` the value of data (c, z, y, x) at the voxel nearest to its position."""
        out = np.empty((len(data), *box.shape), data.dtype)
        if len(data):
            _nearest(_flat(data), source.shape, self._lattice_from(source), self._bits, self._start(box), out)
        return out

    def _lattice_from(self, source: Box) -> NDArray[np.float32]:
        return self._lattice - np.array(source.begin, np.float32).reshape(3, 1, 1, 1)

    def _start(self, box: Box) -> tuple[int, int, int]:
        z, y, x = box.slices_in(self._box)
        return z.start, y.start, x.start


def _step_bits(most_vx: float) -> int:
    """Return the k of the largest step 2^k of at most `most_vx` voxels, within 1 to 2^MAX_STEP_BITS."""
    return max(k for k in range(MAX_STEP_BITS + 1) if k == 0 or 1 << k <= most_vx)


def _flat(data: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(data).reshape(len(data), -1)


@numba.njit(cache=True)
def _cell(voxel: int, bits: int) -> tuple[int, np.float32]:
    """Return the lattice point before a voxel, and the share of the way to the next one."""
    return voxel >> bits, np.float32(voxel & ((1 << bits) - 1)) / np.float32(1 << bits)


@numba.njit(cache=True)
def _row(lattice: NDArray[np.float32], bits: tuple[int, int, int], z: int, y: int, row: NDArray[np.float32]) -> None:
    """Interpolate the lattice's positions (3, z, y, x) at a row of voxels, for each lattice point along x."""
    k, fz = _cell(z, bits[0])
    j, fy = _cell(y, bits[1])
    for axis in range(3):
        for i in range(row.shape[1]):
            low = lattice[axis, k, j, i] + (lattice[axis, k, j + 1, i] - lattice[axis, k, j, i]) * fy
            high = lattice[axis, k + 1, j, i] + (lattice[axis, k + 1, j + 1, i] - lattice[axis, k + 1, j, i]) * fy
            row[axis, i] = low + (high - low) * fz


@numba.njit(cache=True)
def _position(row: NDArray[np.float32], axis: int, i: int, share: np.float32, size: int) -> np.float32:
    """Return the position along an axis between two lattice points of a row, inside of 0..size-1."""
    position = row[axis, i] + (row[axis, i + 1] - row[axis, i]) * share
    return min(max(position, np.float32(0)), np.float32(size - 1))


@numba.njit(cache=True)
def _bilinear(
    values: NDArray[np.float32], first: np.uint64, dy: np.uint64, dx: np.uint64, fy: np.float32, fx: np.float32
) -> np.float32:
    low = values[first] + (values[first + dx] - values[first]) * fx
    high = values[first + dy] + (values[first + dy + dx] - values[first + dy]) * fx
    return low + (high - low) * fy


@numba.njit(cache=True)
def _linear(
    data: NDArray[np.float32],
    shape: tuple[int, int, int],
    lattice: NDArray[np.float32],
    bits: tuple[int, int, int],
    start: tuple[int, int, int],
    out: NDArray[np.float32],
) -> None:
    depth, height, width = shape
    row = np.empty((3, lattice.shape[3]), np.float32)
    for z in range(out.shape[1]):
        for y in range(out.shape[2]):
            _row(lattice, bits, start[0] + z, start[1] + y, row)
            for x in range(out.shape[3]):
                i, share = _cell(start[2] + x, bits[2])
                pz = _position(row, 0, i, share, depth)
                py = _position(row, 1, i, share, height)
                px = _position(row, 2, i, share, width)
                z0, y0, x0 = int(pz), int(py), int(px)
                fz, fy, fx = pz - np.float32(z0), py - np.float32(y0), px - np.float32(x0)
                # unsigned: numba tests signed indices for being negative
                first = np.uint64((z0 * height + y0) * width + x0)
                # a position on the last voxel has no neighbour beyond
                dz = np.uint64(height * width if fz > 0 else 0)
                dy = np.uint64(width if fy > 0 else 0)
                dx = np.uint64(1 if fx > 0 else 0)
                for c in range(len(data)):
                    near = _bilinear(data[c], first, dy, dx, fy, fx)
                    far = _bilinear(data[c], first + dz, dy, dx, fy, fx)
                    out[c, z, y, x] = near + (far - near) * fz


@numba.njit(cache=True)
def _nearest(
    data: NDArray[Any],
    shape: tuple[int, int, int],
    lattice: NDArray[np.float32],
    bits: tuple[int, int, int],
    start: tuple[int, int, int],
    out: NDArray[Any],
) -> None:
    depth, height, width = shape
    half = np.float32(0.5)
    row = np.empty((3, lattice.shape[3]), np.float32)
    for z in range(out.shape[1]):
        for y in range(out.shape[2]):
            _row(lattice, bits, start[0] + z, start[1] + y, row)
            for x in range(out.shape[3]):
                i, share = _cell(start[2] + x, bits[2])
                pz = int(_position(row, 0, i, share, depth) + half)
                py = int(_position(row, 1, i, share, height) + half)
                px = int(_position(row, 2, i, share, width) + half)
                voxel = np.uint64((pz * height + py) * width + px)
                for c in range(len(data)):
                    out[c, z, y, x] = data[c, voxel]
