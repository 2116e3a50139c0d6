"""The scene drawn on voxels: which class and which object each voxel belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import attrs
import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.phantom.noise import Noise
from dacapo_hd.phantom.scene import Scene
from dacapo_hd.phantom.scheme import select, value_of
from dacapo_hd.phantom.vesicles import add_vesicles

BLOCK_NM = 256.0
SLAB_VOXELS = 4_000_000
HALO_NM = 140.0  # every distance that decides a class is smaller, so slabs meet without a seam
PM_NM = 13.0
MITO_MEM_NM = 14.0
CRISTA_HALF_NM = 6.5
ENVELOPE_NM = (10.0, 30.0, 42.0)  # outer membrane, lumen, inner membrane end here
ER_HALF_NM, ER_MEM_NM = 21.0, 9.0
SMALLEST_OBJECT_NM3 = 2e5


def draw(
    scene: Scene, shape_vx: Sequence[int], voxel_size_nm: Sequence[float], seed: int
) -> tuple[NDArray[np.uint8], dict[str, NDArray[Any]]]:
    """Return the semantic array and the ids per instance class, see `PhantomVolume`."""
    axes = [(np.arange(n) + 0.5) * size for n, size in zip(shape_vx, voxel_size_nm, strict=True)]
    cells = _cells(scene, axes, voxel_size_nm)
    fields = _Fields.make(np.random.default_rng([seed, 2]), scene)
    semantic: NDArray[np.uint8] = np.empty(cells.shape, np.uint8)
    mitos = np.zeros(cells.shape, np.uint16 if len(scene.mitos) < 65_000 else np.uint32)
    for outer, inner, kept in _slabs(cells.shape, voxel_size_nm[0]):
        slab = _Slab(scene, fields, [axes[0][outer], *axes[1:]], voxel_size_nm, cells[outer])
        drawn, ids = slab.draw()
        semantic[inner], mitos[inner] = drawn[kept], ids[kept]
    smallest_vx = SMALLEST_OBJECT_NM3 / float(np.prod(voxel_size_nm))
    mitos = _whole(mitos, semantic, smallest_vx)
    vesicles = add_vesicles(np.random.default_rng([seed, 3]), semantic, cells, len(scene.nuclei.radius), voxel_size_nm)
    cells[semantic == value_of("ecs")] = 0
    nuclei = np.where(select(semantic, ("ne_mem", "ne_lum", "hchrom", "nucpl")), cells, 0)
    instances = {"cell": _connected(cells), "nuc": _connected(nuclei), "mito": mitos, "ves": vesicles}
    return semantic, instances


def _cells(scene: Scene, axes: Sequence[NDArray[Any]], voxel_size_nm: Sequence[float]) -> NDArray[np.uint32]:
    """Give each voxel to the cell in whose capsule it lies deepest: 1 + the cell's index.

    Depth changes by at most one nm per nm, so a block needs only the cells that come near the deepest at its centre.
    """
    out = np.empty([len(a) for a in axes], np.uint32)
    steps = [max(1, round(BLOCK_NM / size)) for size in voxel_size_nm]
    for begin in product(*(range(0, n, step) for n, step in zip(out.shape, steps, strict=True))):
        box = tuple(slice(b, b + step) for b, step in zip(begin, steps, strict=True))
        points = scene.warped([a[s] for a, s in zip(axes, box, strict=True)])
        lower, upper = (np.array([f(p) for p in points], np.float32) for f in (np.min, np.max))
        depths = scene.cells.depths_at((lower + upper) / 2)
        near = np.flatnonzero(depths >= depths.max() - np.linalg.norm(upper - lower))
        deepest = np.full(points[0].shape, -np.inf, np.float32)
        owner = np.zeros(points[0].shape, np.uint32)
        for cell in map(int, near):
            depth = scene.cells.depth(cell, points)
            owner[depth > deepest] = cell + 1
            np.maximum(deepest, depth, out=deepest)
        out[box] = owner
    return out


def _slabs(shape: Sequence[int], step_nm: float) -> Iterator[tuple[slice, slice, slice]]:
    """Yield what to draw, where the result goes, and which part of what was drawn is the result."""
    halo = int(np.ceil(HALO_NM / step_nm))
    count = max(1, 2 * halo, SLAB_VOXELS // (shape[1] * shape[2]))
    for begin in range(0, shape[0], count):
        end = min(begin + count, shape[0])
        first = max(0, begin - halo)
        yield slice(first, end + halo), slice(begin, end), slice(begin - first, end - first)


@attrs.frozen(eq=False)
class _Fields:
    """The noise that shapes organelles."""

    gap: Noise
    crista: Noise
    sheets: Noise
    er_region: Noise
    chromatin: Noise

    @classmethod
    def make(cls, rng: np.random.Generator, scene: Scene) -> _Fields:
        spacings = {"gap": 110.0, "crista": 45.0, "sheets": 330.0, "er_region": 170.0, "chromatin": 75.0}
        return cls(**{name: Noise.make(rng, scene.extent_nm, s) for name, s in spacings.items()})


@attrs.define(eq=False)
class _Slab:
    """One slab with its halo; `draw` paints from the outside in."""

    scene: Scene
    fields: _Fields
    axes: Sequence[NDArray[Any]]
    voxel_size_nm: Sequence[float]
    cells: NDArray[np.uint32]

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        wall = self._distance(self.cells)
        gap = np.clip(13 * (self.fields.gap.sample(self.axes) - 0.7), 0, 26)
        thickness = max(PM_NM, 0.75 * max(self.voxel_size_nm))
        free = wall - gap - np.float32(thickness)
        semantic = np.where(free < 0, np.where(wall < gap, value_of("ecs"), value_of("pm")), value_of("cytosol"))
        semantic = semantic.astype(np.uint8)
        points = self.scene.warped(self.axes)
        mitos, crista = self._mitos(points, free)
        nuclei = self._nuclei(points, free)
        nuclei[mitos > 0] = 0
        # one more than the id, so that the space between objects has distances too
        depth = self._distance(1 + mitos + (nuclei * np.uint32(len(self.scene.mitos) + 1)))
        self._paint_er(semantic, np.minimum(free, depth), (mitos == 0) & (nuclei == 0))
        self._paint_nuclei(semantic, nuclei > 0, depth)
        inside = mitos > 0
        semantic[inside] = value_of("mito_lum")
        semantic[inside & ((depth < MITO_MEM_NM) | crista)] = value_of("mito_mem")
        return semantic, mitos

    def _distance(self, labels: NDArray[np.uint32]) -> NDArray[np.float32]:
        """Return the distance (nm) from each voxel to the boundary of its object."""
        found = edt.edt(labels, anisotropy=tuple(map(float, self.voxel_size_nm)), black_border=False, parallel=1)
        # a slab of one object has no boundary at all
        return np.nan_to_num(found, posinf=1e6).astype(np.float32) - np.float32(min(self.voxel_size_nm) / 2)

    def _box(self, low: NDArray[np.float32], high: NDArray[np.float32]) -> tuple[slice, ...]:
        reach = self.scene.warp_bound_nm
        bounds = [
            (np.searchsorted(a, b - reach), np.searchsorted(a, t + reach))
            for a, b, t in zip(self.axes, low, high, strict=True)
        ]
        return tuple(slice(int(a), int(b)) for a, b in bounds)

    def _mitos(
        self, points: Sequence[NDArray[np.float32]], free: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """Return the id per voxel, and where cristae would be."""
        ids = np.zeros(free.shape, np.uint32)
        crista = np.zeros(free.shape, np.bool_)
        wobble = self.fields.crista.sample(self.axes)
        for number, mito in enumerate(self.scene.mitos, start=1):
            chain = mito.chain
            nodes = np.concatenate([chain.start, chain.end])
            box = self._box(nodes.min(0) - chain.radius.max(), nodes.max(0) + chain.radius.max())
            inside = np.nonzero((self.cells[box] == mito.cell + 1) & (free[box] > 18) & (ids[box] == 0))
            at = tuple(i + s.start for i, s in zip(inside, box, strict=True))
            if not len(at[0]):
                continue
            here = [p[at] for p in points]
            depth = np.full(len(at[0]), -np.inf, np.float32)
            along = np.zeros(len(at[0]), np.float32)
            for link in range(len(chain.radius)):
                distance, position = chain.project(link, here)
                found = chain.radius[link] - distance
                along = np.where(found > depth, position + np.float32(95 * link), along)
                depth = np.maximum(depth, found)
            bend = wobble[at]
            phase = (along + 22 * bend) / np.float32(mito.pitch_nm)
            ridge = np.abs(phase - np.floor(phase) - 0.5) * np.float32(mito.pitch_nm) < CRISTA_HALF_NM
            inside_mito = depth > 9 * bend * 0.6
            ids[at] = np.where(inside_mito, number, 0)
            crista[at] = ridge & (bend > -0.35)
        return ids, crista

    def _nuclei(self, points: Sequence[NDArray[np.float32]], free: NDArray[np.float32]) -> NDArray[np.uint32]:
        ids = np.zeros(free.shape, np.uint32)
        rough = 25 * self.fields.er_region.sample(self.axes)
        for index in range(len(self.scene.nuclei.radius)):
            own = np.nonzero((self.cells == index + 1) & (free > 45))
            depth = self.scene.nuclei.depth(index, [p[own] for p in points]) + rough[own]
            ids[own] = np.where(depth > 0, index + 1, 0)
        return ids

    def _paint_nuclei(self, semantic: NDArray[np.uint8], inside: NDArray[np.bool_], depth: NDArray[np.float32]) -> None:
        outer, lumen, inner = ENVELOPE_NM
        clumps = self.fields.chromatin.sample(self.axes)[inside]
        d = depth[inside]
        # heterochromatin lines the envelope and forms islands
        dense = clumps + np.exp(-(d - inner) / 60) > 1.15
        within = np.where(dense, value_of("hchrom"), value_of("nucpl"))
        membrane = (d < outer) | ((d >= lumen) & (d < inner))
        envelope = np.where(membrane, value_of("ne_mem"), value_of("ne_lum"))
        semantic[inside] = np.where(d < inner, envelope, within)

    def _paint_er(self, semantic: NDArray[np.uint8], room: NDArray[np.float32], outside: NDArray[np.bool_]) -> None:
        """Paint cisternae: level sets of a slow field, limited to patches, stacked where the field is steep."""
        sheets, region = self.fields.sheets, self.fields.er_region
        phase = 1.5 * sheets.sample(self.axes)
        slope = 1.5 * np.sqrt(sum(sheets.sample(self.axes, derivative=axis) ** 2 for axis in range(3)))
        distance = np.abs(phase - np.floor(phase) - 0.5) / np.maximum(slope, 1e-4)
        soma = self.cells <= len(self.scene.nuclei.radius)
        end = 110 * (region.sample(self.axes) - np.where(soma, np.float32(0.45), np.float32(1.1)))
        depth = np.minimum(np.minimum(ER_HALF_NM - distance, end), room - 8)
        inside = outside & (depth > 0) & (semantic == value_of("cytosol"))
        membrane = max(ER_MEM_NM, 0.6 * min(self.voxel_size_nm))
        semantic[inside] = np.where(depth[inside] < membrane, value_of("er_mem"), value_of("er_lum"))


def _whole(ids: NDArray[Any], semantic: NDArray[np.uint8], smallest_vx: float) -> NDArray[Any]:
    """Give each connected piece its own id; specks that a cell's shape left over become cytosol."""
    pieces = cc3d.connected_components(ids, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    kept = sizes >= smallest_vx
    kept[0] = True
    semantic[~kept[pieces]] = value_of("cytosol")
    new = np.cumsum(kept) - 1
    new[~kept] = 0
    return _narrow(new[pieces])


def _connected(ids: NDArray[Any]) -> NDArray[Any]:
    return _narrow(cc3d.connected_components(ids, connectivity=6))


def _narrow(ids: NDArray[Any]) -> NDArray[Any]:
    """Use uint16 where it suffices; its highest value stays free to mean unknown."""
    return ids.astype(np.uint16 if ids.max() < np.iinfo(np.uint16).max else np.uint32)
