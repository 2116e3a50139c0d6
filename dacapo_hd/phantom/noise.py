"""Band-limited noise that can be sampled anywhere, so that a volume may be drawn in pieces without seams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_AXIS_VARIANCE = 151 / 315  # mean square of the cubic B-spline's weights, per axis
_MARGIN = 2  # lattice points below the origin, which the spline's support needs


@attrs.frozen(eq=False)
class Noise:
    """A cubic B-spline over normally distributed values on a lattice: mean 0, standard deviation 1, twice smooth."""

    values: NDArray[np.float32]
    spacing_nm: tuple[float, ...]

    @classmethod
    def make(
        cls,
        rng: np.random.Generator,
        extent_nm: Sequence[float] | NDArray[np.float64],
        spacing_nm: float | Sequence[float],
    ) -> Noise:
        """Draw the noise for positions 0..`extent_nm` (z, y, x); details are about 2 * `spacing_nm` wide."""
        spacing = np.broadcast_to(np.asarray(spacing_nm, dtype=float), (3,))
        shape = tuple(int(np.ceil(e / s)) + 2 * _MARGIN + 1 for e, s in zip(extent_nm, spacing, strict=True))
        values = rng.standard_normal(shape, dtype=np.float32) / np.float32(_AXIS_VARIANCE**1.5)
        return cls(values, tuple(float(s) for s in spacing))

    @property
    def bound(self) -> float:
        """A number that no sample exceeds in magnitude (a spline stays within its control values)."""
        return float(np.abs(self.values).max())

    def sample(self, positions_nm: Sequence[NDArray[Any]], derivative: int | None = None) -> NDArray[np.float32]:
        """Return values on the grid that three axes (nm) span, or their derivative along an axis (1/nm)."""
        out = self.values
        for axis, (positions, spacing) in enumerate(zip(positions_nm, self.spacing_nm, strict=True)):
            matrix, used = _spline(positions / spacing + _MARGIN, derivative == axis)
            if derivative == axis:
                matrix = matrix / np.float32(spacing)
            # the axis in turn is always the first; interpolation moves it to the end, so three turns restore z, y, x
            rest = out.shape[1:]
            out = matrix @ out[used].reshape(matrix.shape[1], -1)
            out = np.ascontiguousarray(out.T).reshape(*rest, len(positions))
        return out


def _spline(index: NDArray[np.float64], derivative: bool) -> tuple[sparse.csr_matrix, slice]:
    """Return the matrix (positions, lattice points in use) of cubic B-spline weights and which points are in use."""
    base = np.floor(index).astype(np.int64)
    t = index - base
    if derivative:
        weights = [-((1 - t) ** 2) / 2, (9 * t**2 - 12 * t) / 6, (-9 * t**2 + 6 * t + 3) / 6, t**2 / 2]
    else:
        weights = [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
    first = int(base.min()) - 1
    columns = (base[:, None] + np.arange(-1, 3)) - first
    rows = np.repeat(np.arange(len(index)), 4)
    data = np.stack(weights, axis=1).astype(np.float32).ravel()
    count = int(base.max()) + 2 - first + 1
    matrix = sparse.csr_matrix((data, (rows, columns.ravel())), shape=(len(index), count))
    return matrix, slice(first, first + count)
