"""Intensities on the scale that networks see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def normalise(raw: NDArray[Any], intensity_range: tuple[float, float]) -> NDArray[np.float32]:
    """Map `intensity_range` (low, high) linearly to -1..1; values outside are not clipped.

    Any dtype and shape in, float32 of the same shape out, always a new array.
    """
    low, high = intensity_range
    scale = 2.0 / (high - low)
    normalised = raw.astype(np.float32)
    normalised *= np.float32(scale)
    normalised += np.float32(-1.0 - low * scale)
    return normalised
