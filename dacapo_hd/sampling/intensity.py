"""Augmentations of raw intensities, which are about -1..1."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import fraction, non_negative, positive
from dacapo_hd.config.validators import Validator
from dacapo_hd.sampling.augment import IntensityAugment

Range = tuple[float, float]


def ordered(instance: object, attribute: attrs.Attribute[Range], value: Range) -> None:
    """Validate that a range does not fall (an attrs validator)."""
    if value[0] > value[1]:
        raise ValueError(f"must be two numbers in rising order, got {value!r}")


def _each(validator: Validator) -> Validator:
    def validate(instance: object, attribute: attrs.Attribute[Range], value: Range) -> None:
        for bound in value:
            validator(instance, attribute, bound)

    return validate


each_positive = _each(positive)


@attrs.frozen
class IntensityScaleShift(IntensityAugment):
    """Multiply the contrast (around mid-grey) by a factor and add a shift, both drawn evenly."""

    scale: Range = attrs.field(default=(0.9, 1.1), validator=[each_positive, ordered])
    shift: Range = attrs.field(default=(-0.1, 0.1), validator=ordered)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def apply(self, raw: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        raw *= np.float32(rng.uniform(*self.scale))
        raw += np.float32(rng.uniform(*self.shift))
        return raw


@attrs.frozen
class Gamma(IntensityAugment):
    """Bend the intensity curve: v -> v^gamma on 0..1, gamma drawn evenly in its logarithm."""

    range: Range = attrs.field(default=(0.75, 1.33), validator=[each_positive, ordered])
    probability: float = attrs.field(default=1.0, validator=fraction)

    def apply(self, raw: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        gamma = np.float32(np.exp(rng.uniform(*np.log(self.range))))
        unit = (raw + np.float32(1)) * np.float32(0.5)
        # the curve goes on as an odd function below 0, so that dark outliers stay what they are
        bent = np.copysign(np.abs(unit) ** gamma, unit)
        return bent * np.float32(2) - np.float32(1)


@attrs.frozen
class Noise(IntensityAugment):
    """Add Gaussian noise whose standard deviation is drawn evenly from `sigma`."""

    sigma: Range = attrs.field(default=(0.0, 0.1), validator=[_each(non_negative), ordered])
    probability: float = attrs.field(default=1.0, validator=fraction)

    def apply(self, raw: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        sigma = np.float32(rng.uniform(*self.sigma))
        raw += rng.standard_normal(raw.shape, dtype=np.float32) * sigma
        return raw


@attrs.frozen
class Defects(IntensityAugment):
    """Spoil single sections (planes of constant z) as microscopes do; each field is the chance for one section.

    `missing`: black. `low_contrast`: contrast times 0.1 to 0.5. `blurred`: Gaussian blur of 1 to 3 voxels in the
    plane. `stripes`: curtaining, streaks along y. In a sample that is one section nothing is missing.
    """

    missing: float = attrs.field(default=0.02, validator=fraction)
    low_contrast: float = attrs.field(default=0.02, validator=fraction)
    blurred: float = attrs.field(default=0.02, validator=fraction)
    stripes: float = attrs.field(default=0.02, validator=fraction)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def apply(self, raw: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        sections = raw.shape[1]
        chances = (self.low_contrast, self.blurred, self.stripes, self.missing if sections > 1 else 0.0)
        spoilers = (_fade, _blur, _stripe, _blacken)
        struck = rng.random((sections, len(chances))) < chances
        for z, which in np.argwhere(struck):
            raw[:, z] = spoilers[which](raw[:, z], rng)
        return raw


def _fade(section: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    mean = section.mean(axis=(1, 2), keepdims=True)
    return mean + (section - mean) * np.float32(rng.uniform(0.1, 0.5))


def _blur(section: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    sigma = rng.uniform(1, 3)
    blurred: NDArray[np.float32] = gaussian_filter(section, (0, sigma, sigma), mode="nearest")
    return blurred


def _stripe(section: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter1d

    streaks = gaussian_filter1d(rng.standard_normal(section.shape[-1]), 1.5, mode="nearest")
    return section + np.float32(rng.uniform(0.1, 0.5)) * streaks.astype(np.float32)


def _blacken(section: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return np.full_like(section, -1)
