"""The contract of a segmenter: prediction -> labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import Component


@attrs.frozen(eq=False)
class Prediction:
    """Decoded network output, float32 (channel, z, y, x); channels are named `class/quantity`."""

    channels: tuple[str, ...]
    data: NDArray[np.float32]
    voxel_size_nm: tuple[float, ...]

    def channel(self, name: str) -> NDArray[np.float32]:
        """Return one channel (z, y, x)."""
        found: NDArray[np.float32] = self.data[self.channels.index(name)]
        return found

    def classes(self, quantity: str) -> tuple[str, ...]:
        """Return the classes that have a channel `class/quantity`."""
        pairs = (name.rsplit("/", 1) for name in self.channels)
        return tuple(class_name for class_name, found in pairs if found == quantity)


@attrs.frozen(eq=False)
class Segmentation:
    """Labels per class, (z, y, x): uint8 masks (0, 1), or uint32 ids where `instances` is true."""

    labels: Mapping[str, NDArray[Any]]
    instances: bool = False


class Segmenter(Component, ABC):
    """Post-processing with fixed parameters; the validation grid of a task is a list of these.

    `pointwise` segmenters look at single voxels only, so that a volume can be cut into blocks anywhere.
    """

    kind: ClassVar[str] = "segmenter"
    pointwise: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The parameters in short, for tables."""
        return repr(self)

    @abstractmethod
    def segment(self, prediction: Prediction) -> Segmentation:
        """Turn a prediction into labels."""
