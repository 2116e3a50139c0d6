"""What the phantom contains, as geometry in nanometres, before any voxel exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.phantom.noise import Noise

CELL_SPACING_NM = 400.0
SOMA_SPACING_NM = 6500.0
MITO_VOLUME_NM3 = 0.17e9  # one mitochondrion per this much tissue
CLUSTER_VOLUME_NM3 = 0.1e9  # one cluster of vesicles per this much tissue


@attrs.frozen(eq=False)
class Capsules:
    """Line segments with a radius: `start`, `end` (n, 3) and `radius` (n,), nm."""

    start: NDArray[np.float32]
    end: NDArray[np.float32]
    radius: NDArray[np.float32]

    def depth(self, index: int, points: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return how deep (nm, negative outside) points, given as z, y and x arrays, lie in one capsule."""
        distance, _ = self.project(index, points)
        return self.radius[index] - distance

    def project(
        self, index: int, points: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the distance (nm) from points to the axis of one capsule and the position (nm) along it."""
        a, d = self.start[index], self.end[index] - self.start[index]
        length = np.float32(np.sqrt(d @ d))
        unit = d / max(length, np.float32(1e-3))
        offsets = [p - a[axis] for axis, p in enumerate(points)]
        along = np.clip(sum(o * unit[axis] for axis, o in enumerate(offsets)), 0, length)
        squares = sum((o - along * unit[axis]) ** 2 for axis, o in enumerate(offsets))
        return np.sqrt(squares), along

    def depths_at(self, point: NDArray[Any]) -> NDArray[np.float32]:
        """Return how deep (nm) one point lies in every capsule."""
        d = self.end - self.start
        squared = np.maximum((d**2).sum(1), 1e-3)
        t = np.clip(((point - self.start) * d).sum(1) / squared, 0, 1)
        found: NDArray[np.float32] = self.radius - np.linalg.norm(point - self.start - t[:, None] * d, axis=1)
        return found


@attrs.frozen(eq=False)
class Mito:
    """A mitochondrion: a chain of capsules in one cell."""

    cell: int
    chain: Capsules
    pitch_nm: float


@attrs.frozen(eq=False)
class Scene:
    """Cells, nuclei and mitochondria, all in the coordinates that `warp` bends, so that nothing stays straight."""

    extent_nm: tuple[float, ...]
    cells: Capsules
    nuclei: Capsules  # nucleus i belongs to cell i
    mitos: tuple[Mito, ...]
    warp: tuple[tuple[Noise, Noise], ...]  # per axis: coarse and fine
    warp_nm: tuple[float, float] = (50.0, 9.0)

    @property
    def warp_bound_nm(self) -> float:
        """How far the warp moves a point at most."""
        per_axis = [sum(n.bound * nm for n, nm in zip(pair, self.warp_nm, strict=True)) for pair in self.warp]
        return float(np.linalg.norm(per_axis))

    def warped(self, positions_nm: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the bent z, y and x coordinates (nm) of a grid spanned by three axes of positions."""
        points = []
        for axis, pair in enumerate(self.warp):
            shift = sum(n.sample(positions_nm) * np.float32(nm) for n, nm in zip(pair, self.warp_nm, strict=True))
            straight = positions_nm[axis].astype(np.float32)
            points.append(shift + straight.reshape([-1 if i == axis else 1 for i in range(3)]))
        return points


def make_scene(extent_nm: Sequence[float], seed: int) -> Scene:
    """Draw the contents of a box of tissue (nm)."""
    rng = np.random.default_rng([seed, 1])
    extent = np.asarray(extent_nm, dtype=float)
    warp = tuple((Noise.make(rng, extent, 260.0), Noise.make(rng, extent, 70.0)) for _ in range(3))
    somas, nuclei = _somas(rng, extent)
    neurites = _neurites(rng, extent)
    cells = Capsules(
        *(np.concatenate([getattr(somas, f), getattr(neurites, f)]) for f in ("start", "end", "radius")),
    )
    return Scene(tuple(extent), cells, nuclei, _mitos(rng, extent, cells, nuclei), warp)


def _somas(rng: np.random.Generator, extent: NDArray[np.float64]) -> tuple[Capsules, Capsules]:
    """Draw cell bodies and their nuclei; a small volume gets one small enough to show some of everything."""
    count = max(1, round(float(np.prod(extent / SOMA_SPACING_NM))))
    radius = rng.uniform(0.9, 1.1, count) * np.clip(0.42 * extent.max(), 240, 2800)
    if count == 1:
        corner = rng.integers(0, 2, 3)
        centre = np.abs(corner - rng.uniform(0.1, 0.3, 3)) * extent
        centres = centre[None]
    else:
        centres = rng.uniform(0, 1, (count, 3)) * extent
    nucleus = centres + rng.normal(0, 0.05, (count, 3)) * radius[:, None]
    balls = [(c.astype(np.float32), r.astype(np.float32)) for c, r in [(centres, radius), (nucleus, radius * 0.66)]]
    (soma, soma_radius), (nuc, nuc_radius) = balls
    return Capsules(soma, soma, soma_radius), Capsules(nuc, nuc, nuc_radius)


def _neurites(rng: np.random.Generator, extent: NDArray[np.float64]) -> Capsules:
    """Draw axons and dendrites: segments on a jittered lattice that reaches beyond the volume, mostly along one way."""
    counts = np.ceil(extent / CELL_SPACING_NM).astype(int) + 3
    lattice = np.stack(np.meshgrid(*(np.arange(n) - 1 for n in counts), indexing="ij"), -1).reshape(-1, 3)
    centres = (lattice + rng.uniform(-0.45, 0.45, lattice.shape)) * CELL_SPACING_NM
    # one neurite is longer than the lattice is wide: part of the sites gives profiles of natural size
    centres = centres[rng.random(len(centres)) < 0.65]
    bundle = rng.standard_normal(3)
    directions = rng.standard_normal(centres.shape) + 0.7 * bundle
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    half = rng.uniform(100, 900, (len(centres), 1))
    radius = rng.gamma(2.0, 45.0, len(centres)).clip(0, 330)
    start, end = centres - half * directions, centres + half * directions
    return Capsules(start.astype(np.float32), end.astype(np.float32), radius.astype(np.float32))


def _mitos(
    rng: np.random.Generator, extent: NDArray[np.float64], cells: Capsules, nuclei: Capsules
) -> tuple[Mito, ...]:
    """Draw mitochondria along the axes of cells that are wide enough for them."""
    wanted = max(2, round(float(np.prod(extent)) / MITO_VOLUME_NM3))
    centres: list[NDArray[np.float32]] = []
    mitos: list[Mito] = []
    for point in (rng.uniform(0, 1, (60 * wanted, 3)) * extent).astype(np.float32):
        if len(mitos) == wanted:
            break
        if centres and np.linalg.norm(np.asarray(centres) - point, axis=1).min() < 330:
            continue
        depths = cells.depths_at(point)
        second, first = np.partition(depths, -2)[-2:]
        room = min((first - second) / 2, -nuclei.depths_at(point).max() - 40)
        if room < 100:
            continue
        cell = int(depths.argmax())
        centres.append(point)
        mitos.append(Mito(cell, _chain(rng, point, cells, cell, room), float(rng.uniform(48, 80))))
    return tuple(mitos)


def _chain(rng: np.random.Generator, point: NDArray[np.float32], cells: Capsules, cell: int, room: float) -> Capsules:
    axis = cells.end[cell] - cells.start[cell] + rng.normal(0, 120, 3)
    steps = rng.integers(2, 9)
    headings = axis / np.linalg.norm(axis) + np.cumsum(rng.normal(0, 0.22, (steps, 3)), axis=0)
    headings *= 95.0 / np.linalg.norm(headings, axis=1, keepdims=True)
    nodes = np.concatenate([np.zeros((1, 3)), np.cumsum(headings, axis=0)])
    nodes = (nodes - nodes[len(nodes) // 2] + point).astype(np.float32)
    radius = min(room * 0.9, rng.uniform(85, 145)) * rng.uniform(0.88, 1.12, steps)
    return Capsules(nodes[:-1], nodes[1:], radius.astype(np.float32))
