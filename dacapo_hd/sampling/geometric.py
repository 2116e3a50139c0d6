"""Augmentations that move voxels: mirrors, transpositions, rotations, scalings, elastic deformations."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import attrs
import numpy as np

from dacapo_hd.config import fraction, non_negative, positive
from dacapo_hd.errors import UserError
from dacapo_hd.sampling.augment import AXES, Displacement, GeometricAugment, Geometry, Space

Axis = Literal["z", "y", "x"]


@attrs.frozen
class Mirror(GeometricAugment):
    """Flip each of the axes with a chance of one half; exact."""

    keeps_sizes: ClassVar[bool] = True

    axes: tuple[Axis, ...] = ("z", "y", "x")
    probability: float = attrs.field(default=1.0, validator=fraction)

    def draw(self, rng: np.random.Generator, space: Space) -> Geometry:
        flips = rng.random(3) < 0.5
        signs = [-1.0 if name in self.axes and flip else 1.0 for name, flip in zip(AXES, flips, strict=True)]
        return Geometry(orientation=np.diag(signs))


@attrs.frozen
class Transpose(GeometricAugment):
    """Permute axes at random; exact.

    Without `axes`, those that have the voxel size of x; a sample that is one section keeps its z. UserError when
    axes with different voxel sizes are named.
    """

    keeps_sizes: ClassVar[bool] = True

    axes: tuple[Axis, ...] | None = None
    probability: float = attrs.field(default=1.0, validator=fraction)

    def draw(self, rng: np.random.Generator, space: Space) -> Geometry:
        sizes = space.voxel_size_nm
        axes = [axis for axis in space.free_axes if self._permutes(axis, sizes)]
        if len({sizes[axis] for axis in axes}) > 1:
            names = ", ".join(AXES[axis] for axis in axes)
            raise UserError(
                f"sampling.augments: Transpose of {names} needs equal voxel sizes, got {sizes} nm; leave `axes` out"
            )
        order = np.arange(3)
        order[axes] = rng.permutation(axes)
        return Geometry(orientation=np.eye(3)[order])

    def _permutes(self, axis: int, sizes: tuple[float, ...]) -> bool:
        return sizes[axis] == sizes[2] if self.axes is None else AXES[axis] in self.axes


@attrs.frozen
class Rotate(GeometricAugment):
    """Rotate in nanometres by an angle of up to `max_degrees` to either side.

    The axis is z, or any direction with `about: any`; `auto` means any direction where voxels are isotropic.
    """

    max_degrees: float = attrs.field(default=180.0, validator=non_negative)
    about: Literal["auto", "z", "any"] = "auto"
    probability: float = attrs.field(default=1.0, validator=fraction)

    def draw(self, rng: np.random.Generator, space: Space) -> Geometry:
        from scipy.spatial.transform import Rotation

        direction = rng.standard_normal(3)
        angle = math.radians(rng.uniform(-self.max_degrees, self.max_degrees))
        if space.planar or self.about == "z" or (self.about == "auto" and not space.isotropic):
            direction = np.array([1.0, 0.0, 0.0])
        direction /= np.linalg.norm(direction)
        return Geometry(linear=Rotation.from_rotvec(angle * direction).as_matrix())


@attrs.frozen
class Scale(GeometricAugment):
    """Make objects larger or smaller by one factor for all axes, drawn evenly in its logarithm."""

    low: float = attrs.field(default=0.9, validator=positive)
    high: float = attrs.field(default=1.1, validator=positive)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def __attrs_post_init__(self) -> None:
        _check_order(self.low, self.high)

    def draw(self, rng: np.random.Generator, space: Space) -> Geometry:
        factor = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        diagonal = np.ones(3)
        diagonal[list(space.free_axes)] = 1 / factor
        return Geometry(linear=np.diag(diagonal))


@attrs.frozen
class Elastic(GeometricAugment):
    """Deform smoothly: a cubic spline through control points that are moved at random.

    `spacing_vx` (between control points) and `sigma_vx` (standard deviation of their moves along each axis) count
    the shortest voxel edge, so that anisotropic volumes are deformed alike in nanometres along all axes. Folds are
    rare up to `sigma_vx` = 0.15 `spacing_vx`.
    """

    spacing_vx: float = attrs.field(default=40.0, validator=positive)
    sigma_vx: float = attrs.field(default=2.0, validator=non_negative)
    probability: float = attrs.field(default=1.0, validator=fraction)

    def draw(self, rng: np.random.Generator, space: Space) -> Geometry:
        edge_nm = min(space.voxel_size_nm[axis] for axis in space.free_axes)
        spacing_nm = self.spacing_vx * edge_nm
        # one control point beyond the box on each side, and a random phase of the lattice
        counts = [math.ceil(extent / spacing_nm) + 3 for extent in space.extent_nm]
        phases = rng.random(3)
        begin_nm = tuple(
            -extent / 2 - (1 + phase) * spacing_nm for extent, phase in zip(space.extent_nm, phases, strict=True)
        )
        values = np.zeros((3, *counts))
        if space.planar:
            # one displacement for all sections
            values[1:] = rng.standard_normal((2, 1, *counts[1:]))
        else:
            values[:] = rng.standard_normal((3, *counts))
        return Geometry(displacements=(Displacement(values * self.sigma_vx * edge_nm, spacing_nm, begin_nm),))


def _check_order(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low must not exceed high, got {low} > {high}")
