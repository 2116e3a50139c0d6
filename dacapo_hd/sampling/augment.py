"""What an augmentation is: a frozen config that draws from a numpy generator and from nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import Component

AXES = ("z", "y", "x")


class Augment(Component, ABC):
    """A random change of a sample; what it draws comes from the generator that it is given."""

    kind: ClassVar[str] = "augment"

    probability: float


class IntensityAugment(Augment):
    """An augmentation of the raw intensities alone."""

    @abstractmethod
    def apply(self, raw: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the changed raw, float32 (c, z, y, x), about -1..1; `raw` itself may be changed."""


class SectionAugment(Augment):
    """An augmentation that takes sections (planes of constant z) away from raw and labels alike."""

    @abstractmethod
    def lost(self, rng: np.random.Generator, sections: int) -> NDArray[np.bool_]:
        """Draw which of the raw's sections become black; their labels become those of the section before."""


class GeometricAugment(Augment):
    """An augmentation that moves voxels; all of a sample's are composed and resampled once.

    `keeps_sizes` are those after which an object measures, along the axes of the sample, what it did before.
    """

    keeps_sizes: ClassVar[bool] = False

    @abstractmethod
    def draw(self, rng: np.random.Generator, space: Space) -> Geometry:
        """Draw a map from positions in the sample to positions in the volume."""


@attrs.frozen
class Space:
    """What the geometric augmentations must know of a sample.

    `planar` says that the network looks at single sections, so that nothing may move along z. `extent_nm` is the
    size of the box around the sample's centre in which the map is needed.
    """

    voxel_size_nm: tuple[float, ...]
    planar: bool
    extent_nm: tuple[float, ...]

    @property
    def free_axes(self) -> tuple[int, ...]:
        return (1, 2) if self.planar else (0, 1, 2)

    @property
    def isotropic(self) -> bool:
        """Tell whether the axes along which voxels may move have one voxel size."""
        return len({self.voxel_size_nm[axis] for axis in self.free_axes}) == 1


@attrs.frozen(eq=False)
class Displacement:
    """A smooth random displacement in nm: a cubic spline through control points around the centre.

    `values_nm` is float64 (3, k, l, m); the first control point lies at `begin_nm`.
    """

    values_nm: NDArray[np.float64]
    spacing_nm: float
    begin_nm: tuple[float, ...]

    @property
    def spacings_nm(self) -> tuple[float, ...]:
        """Over which lengths it varies along each axis."""
        return (self.spacing_nm,) * 3

    def at(self, positions_nm: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the displacement (3, a, b, c) on the lattice of three lists of positions (z, y, x)."""
        from scipy.ndimage import map_coordinates

        indices = [(p - begin) / self.spacing_nm for p, begin in zip(positions_nm, self.begin_nm, strict=True)]
        lattice = np.stack(np.meshgrid(*indices, indexing="ij"))
        still = np.zeros(lattice.shape[1:])
        return np.stack(
            [map_coordinates(v, lattice, order=3, mode="nearest") if v.any() else still for v in self.values_nm]
        )


@attrs.frozen(eq=False)
class SectionShifts:
    """A displacement of whole sections in nm: `values_nm` (n, 2) along y and x, those of the centre at n // 2."""

    values_nm: NDArray[np.float64]
    section_nm: float

    @property
    def spacings_nm(self) -> tuple[float, ...]:
        """Over which lengths it varies along each axis."""
        return (self.section_nm, np.inf, np.inf)

    def at(self, positions_nm: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the displacement (3, a, b, c) on the lattice of three lists of positions (z, y, x)."""
        # centres of sections lie on whole or on half sections from the sample's centre
        number = np.floor(positions_nm[0] / self.section_nm + 0.25).astype(int) + len(self.values_nm) // 2
        shifts = self.values_nm[number.clip(0, len(self.values_nm) - 1)]
        found = np.zeros((3, *map(len, positions_nm)))
        found[1:] = shifts.T[:, :, np.newaxis, np.newaxis]
        return found


def _identity() -> NDArray[np.float64]:
    return np.eye(3)


@attrs.frozen(eq=False)
class Geometry:
    """A map from a position p in the sample to one in the volume, both from the sample's centre.

    source = orientation @ (linear @ p + sum of the displacements at p). `orientation` is a signed permutation of the
    axes, which needs no interpolation; `linear` and the displacements act on nanometres.
    """

    orientation: NDArray[np.float64] = attrs.field(factory=_identity)
    linear: NDArray[np.float64] = attrs.field(factory=_identity)
    displacements: tuple[Displacement | SectionShifts, ...] = ()

    def then(self, other: Geometry) -> Geometry:
        """Compose two maps, part by part."""
        return Geometry(
            self.orientation @ other.orientation,
            self.linear @ other.linear,
            self.displacements + other.displacements,
        )

    @property
    def exact(self) -> bool:
        """Tell whether every voxel is moved onto a voxel."""
        return not self.displacements and bool((self.linear == np.eye(3)).all())
