"""What is known about the voxels of one block: the only form in which labels reach a task."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

UNKNOWN, ABSENT, PRESENT = 0, 1, 2


@attrs.frozen(eq=False)
class LabelBlock:
    """Knowledge about each class at each voxel.

    `code` is uint8 (class, z, y, x) with the values UNKNOWN, ABSENT and PRESENT. UNKNOWN is 0, so that padding
    with zeros adds no knowledge. `instances` holds, for the classes that have them, uint32 ids (z, y, x), 0 where
    no id is known.

    `annotations` are numbers that are known about the crop of the block, or about a region of it; `regions`, uint32
    (z, y, x), tells where: 0 outside, and 1 wherever the crop names no regions of its own. None without annotations.
    """

    classes: tuple[str, ...]
    code: NDArray[np.uint8]
    voxel_size_nm: tuple[float, ...]
    instances: Mapping[str, NDArray[np.uint32]] = attrs.field(factory=dict)
    annotations: Mapping[str, float] = attrs.field(factory=dict)
    regions: NDArray[np.uint32] | None = None

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.code == PRESENT

    @property
    def absent(self) -> NDArray[np.bool_]:
        return self.code == ABSENT

    @property
    def known(self) -> NDArray[np.bool_]:
        return self.code != UNKNOWN
