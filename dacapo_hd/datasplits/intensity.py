"""Raw intensities -> what networks see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def normalise(data: NDArray[Any], intensity_range: tuple[float, float]) -> NDArray[np.float32]:
    """Map the intensity range linearly to -1..1 and clip to it; float32. Training and inference both use this."""
    low, high = intensity_range
    out = data.astype(np.float32)
    out -= np.float32((low + high) / 2)
    out *= np.float32(2 / (high - low))
    return np.clip(out, -1, 1, out=out)
