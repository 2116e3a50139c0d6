"""What the microscope would show of the labels: contrast, texture, blur, noise, curtaining and drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dacapo_hd.phantom.noise import Noise
from dacapo_hd.phantom.scheme import ATOMS, select, value_of

GREY = {
    "ecs": 140.0,
    "pm": 92.0,
    "cytosol": 170.0,
    "mito_mem": 98.0,
    "mito_lum": 127.0,
    "ves_mem": 98.0,
    "ves_lum": 152.0,
    "er_mem": 100.0,
    "er_lum": 178.0,
    "ne_mem": 96.0,
    "ne_lum": 172.0,
    "hchrom": 134.0,
    "nucpl": 164.0,
}
BLUR_NM = 7.0
DENSITY_NM = 15.0
DENSITY_GREY = 95.0
SLAB_VOXELS = 4_000_000


def image(
    semantic: NDArray[np.uint8],
    cells: NDArray[Any],
    voxel_size_nm: Sequence[float],
    seed: int,
    degradation: float,
) -> NDArray[np.uint8]:
    """Return the image (uint8) of a semantic array and its cell ids."""
    extent = [n * size for n, size in zip(semantic.shape, voxel_size_nm, strict=True)]
    textures = _Textures.make(np.random.default_rng([seed, 4]), extent, int(cells.max()))
    scanner = _Scanner.make(np.random.default_rng([seed, 5]), semantic.shape, seed, degradation)
    sigma = [BLUR_NM / size for size in voxel_size_nm]
    halo = int(np.ceil(max(4 * BLUR_NM, 2.5 * DENSITY_NM) / voxel_size_nm[0])) + 1
    count = max(1, 2 * halo, SLAB_VOXELS // (semantic.shape[1] * semantic.shape[2]))
    raw = np.empty(semantic.shape, np.uint8)
    axes = [(np.arange(n) + 0.5) * size for n, size in zip(semantic.shape, voxel_size_nm, strict=True)]
    for begin in range(0, semantic.shape[0], count):
        end = min(begin + count, semantic.shape[0])
        outer = slice(max(0, begin - halo), end + halo)
        clean = textures.stain(semantic[outer], cells[outer], [axes[0][outer], *axes[1:]])
        clean = ndimage.gaussian_filter(clean, sigma, mode="nearest", truncate=4.0)
        kept = clean[begin - outer.start : end - outer.start]
        for z, section in enumerate(kept, start=begin):
            raw[z] = scanner.record(section, z)
    return raw


@attrs.frozen(eq=False)
class _Textures:
    """Stain that follows no label: grain, ribosomes, blotches, synaptic densities, cells of different darkness."""

    fine: Noise
    ribosomes: Noise
    grain: Noise
    blotches: Noise
    synapses: Noise
    cell_grey: NDArray[np.float32]

    @classmethod
    def make(cls, rng: np.random.Generator, extent_nm: Sequence[float], cells: int) -> _Textures:
        spacings_nm = {"fine": 11.0, "ribosomes": 16.0, "grain": 36.0, "blotches": 150.0, "synapses": 130.0}
        noises = {name: Noise.make(rng, extent_nm, spacing) for name, spacing in spacings_nm.items()}
        grey = rng.normal(0, 7, cells + 1)
        # some processes are electron-dense, as dark as a mitochondrion
        grey -= np.where(rng.random(cells + 1) < 0.12, rng.uniform(22, 42, cells + 1), 0)
        return cls(**noises, cell_grey=grey.astype(np.float32))

    def stain(
        self, semantic: NDArray[np.uint8], cells: NDArray[Any], axes: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float32]:
        """Return grey values before the microscope."""
        table = np.zeros(256, np.float32)
        table[1 : len(ATOMS) + 1] = [GREY[atom] for atom in ATOMS]
        grey = table[semantic]
        fine, grain, blotches = (n.sample(axes) for n in (self.fine, self.grain, self.blotches))
        cytosol = semantic == value_of("cytosol")
        ribosomes = np.clip(self.ribosomes.sample(axes) - 1.0, 0, 1.2) * (1 + 0.6 * blotches).clip(0.2)
        grey += cytosol * (self.cell_grey[cells] + 7 * grain - 48 * ribosomes + 5 * blotches)
        grey += select(semantic, ("hchrom", "nucpl")) * (9 * grain + 5 * blotches - 20 * ribosomes)
        grey += select(semantic, ("mito_lum", "mito_mem")) * (7 * grain + 9 * blotches)
        grey += select(semantic, ("pm", "er_mem", "ne_mem", "ecs")) * (7 * grain + 6 * blotches)
        grey += 6 * fine - self._densities(semantic, cells, axes)
        return grey

    def _densities(
        self, semantic: NDArray[np.uint8], cells: NDArray[Any], axes: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float32]:
        """Return the extra darkness of postsynaptic densities: fuzzy plaques on one side of patches of membrane."""
        steps = [float(a[1] - a[0]) if len(a) > 1 else 1e6 for a in axes]
        near = ndimage.gaussian_filter(
            (semantic == value_of("pm")).astype(np.float32), [DENSITY_NM / step for step in steps], truncate=2.5
        )
        patch = np.clip(3 * (self.synapses.sample(axes) - 1.15), 0, 1)
        side = (cells % 2 == 0) & select(semantic, ("pm", "cytosol", "ecs"))
        return DENSITY_GREY * patch * near * side


@attrs.frozen(eq=False)
class _Scanner:
    """The instrument: shot noise, vertical curtains that last some sections, and drift of brightness and contrast."""

    curtains: Noise
    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    seed: int
    degradation: float

    @classmethod
    def make(cls, rng: np.random.Generator, shape: Sequence[int], seed: int, degradation: float) -> _Scanner:
        """Draw the artefacts, in units of sections and pixels, since they belong to the image, not to the tissue."""
        curtains = Noise.make(rng, shape, (9.0, 160.0, 1.3))
        slow = [Noise.make(rng, (shape[0], 0, 0), (14.0, 1.0, 1.0)).sample(_line(shape[0])).ravel() for _ in range(2)]
        jitter = rng.standard_normal((2, shape[0])).astype(np.float32)
        gain = 1 + degradation * (0.04 * slow[0] + 0.012 * jitter[0])
        offset = degradation * (3.5 * slow[1] + 0.9 * jitter[1])
        return cls(curtains, gain.astype(np.float32), offset.astype(np.float32), seed, degradation)

    def record(self, section: NDArray[np.float32], z: int) -> NDArray[np.uint8]:
        """Return section `z` (y, x) as the detector would."""
        rng = np.random.default_rng([self.seed, 6, z])
        shot = rng.standard_normal(section.shape, dtype=np.float32) * np.sqrt(np.maximum(section, 1) / 150) * 6.0
        axes = [np.array([float(z)]), *(np.arange(n, dtype=float) for n in section.shape)]
        stripes = 2.4 * self.curtains.sample(axes)[0]
        seen = (section - 145) * self.gain[z] + 145 + self.offset[z] + self.degradation * (shot + stripes)
        return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def _line(length: int) -> list[NDArray[np.float64]]:
    return [np.arange(length, dtype=float), np.zeros(1), np.zeros(1)]
