"""Augmentations that do to single sections (planes of constant z) what serial sectioning does."""

from __future__ import annotations

import math
from functools import lru_cache

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.config import fraction, non_negative
from dacapo_hd.errors import UserError
from dacapo_hd.sampling.augment import (
    GeometricAugment,
    Geometry,
    IntensityAugment,
    SectionAugment,
    SectionShifts,
    Space,
)
from dacapo_hd.sampling.intensity import Range, each_positive, ordered


@attrs.frozen
class ShiftSections(GeometricAugment):
    """Misalign sections by up to `max_shift_vx` (of the shortest edge) along y and x, raw and labels alike.

    `slip` is the chance for one section to be moved alone, `shift` the chance for one to be moved with all after it.
    Source: Lee et al. 2017 (arXiv 1706.00120), misalignment augmentation.
    """

    slip: float = attrs.field(default=0.05, validator=fraction)
    shift: float = attrs.field(default=0.05, validator=fraction)
    max_shift_vx: float = attrs.field(default=8.0, validator=non_negative)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def draw(self, rng: np.random.Generator, space: Space) -> Geometry:
        section_nm = space.voxel_size_nm[0]
        # one more on each side, for the corners of the lattice between which positions are interpolated
        count = 2 * (math.ceil(space.extent_nm[0] / section_nm / 2) + 2)
        most_nm = self.max_shift_vx * min(space.voxel_size_nm[1:])
        moves = rng.uniform(-most_nm, most_nm, (2, count, 2))
        alone, on = rng.random((2, count, 1)) < np.reshape([self.slip, self.shift], (2, 1, 1))
        values = moves[0] * alone + np.cumsum(moves[1] * on, axis=0)
        # the sample's centre stays where it is, so that what was drawn there is seen
        values -= values[count // 2]
        return Geometry(displacements=(SectionShifts(values, section_nm),))


@attrs.frozen
class LoseSections(SectionAugment):
    """Make sections black, each with the chance `chance`; their labels are those of the section before.

    Several in a row take the labels of the last one that is left. Where the section before is not read, nothing is
    known; a sample of one section loses none. Source: Bailoni et al. 2020, section S7.4.
    """

    chance: float = attrs.field(default=0.02, validator=fraction)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def lost(self, rng: np.random.Generator, sections: int) -> NDArray[np.bool_]:
        return (rng.random(sections) < self.chance) & (sections > 1)


@attrs.frozen
class SectionContrast(IntensityAugment):
    """Change the contrast (around mid-grey) and the brightness of each section on its own, both drawn evenly."""

    scale: Range = attrs.field(default=(0.9, 1.1), validator=[each_positive, ordered])
    shift: Range = attrs.field(default=(-0.1, 0.1), validator=ordered)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def apply(self, raw: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        size = (1, raw.shape[1], 1, 1)
        raw *= rng.uniform(*self.scale, size).astype(np.float32)
        raw += rng.uniform(*self.shift, size).astype(np.float32)
        return raw


@attrs.frozen
class PasteDefects(IntensityAugment):
    """Paste parts of real defects over sections, each section with the chance `chance`.

    `images` (sections z, y, x) shows defects such as folds and precipitates: 0 is black, the highest value of its
    integer type white. `alpha`, of the same shape, is how much of them is pasted, from 0 to the highest value of its
    type; without it all is. A random section is flipped at random and laid on a random place; what of it does not fit
    is cut off. UserError for arrays that are no integers or differ in shape.
    """

    images: ArrayRef
    alpha: ArrayRef | None = None
    chance: float = attrs.field(default=0.02, validator=fraction)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def apply(self, raw: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        images, alphas = _defects(self.images, self.alpha)
        for z in np.flatnonzero(rng.random(raw.shape[1]) < self.chance):
            number, flips = int(rng.integers(len(images))), tuple(axis for axis in (0, 1) if rng.random() < 0.5)
            image, alpha = (np.flip(stack[number], flips) for stack in (images, alphas))
            axes = [_place(*sizes, rng) for sizes in zip(raw.shape[2:], image.shape, strict=True)]
            here, there = zip(*axes, strict=True)
            target, part = raw[(slice(None), z, *here)], alpha[there]
            target += part * (image[there] - target)
        return raw


def _place(size: int, pasted: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Lay one length on another with as much of it as fits; returns where in both."""
    length = min(size, pasted)
    here, there = int(rng.integers(size - length + 1)), int(rng.integers(pasted - length + 1))
    return slice(here, here + length), slice(there, there + length)


@lru_cache(maxsize=4)
def _defects(images: ArrayRef, alpha: ArrayRef | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read defects once per process: brightness -1..1 and share 0..1, float32 (z, y, x)."""
    found = _unit(images)
    share = np.ones_like(found) if alpha is None else _unit(alpha)
    if share.shape != found.shape:
        raise UserError(
            f"sampling.augments: PasteDefects: {images.path} has the shape {found.shape}, but {alpha and alpha.path} "
            f"{share.shape}; they must be equal"
        )
    return found * np.float32(2) - np.float32(1), share


def _unit(ref: ArrayRef) -> NDArray[np.float32]:
    volume = ref.open()
    data = volume.read()
    if data.dtype.kind not in "ui" or data.ndim != 3:
        raise UserError(
            f"sampling.augments: PasteDefects: {ref.path} must hold integers without channels, got {data.dtype} of "
            f"{data.ndim} dimensions"
        )
    return data.astype(np.float32) / np.float32(np.iinfo(data.dtype).max)
