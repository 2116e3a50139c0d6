"""Segmenters that tell the objects of a class apart."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import non_negative, one_of
from dacapo_hd.segmentation.base import Prediction, Segmentation, Segmenter
from dacapo_hd.segmentation.quantities import RANGES, channels, threshold_in_range


@attrs.frozen
class ConnectedComponents(Segmenter):
    """Objects are the connected components of the voxels whose quantity exceeds the threshold.

    Voxels connect through faces (6), also edges (18) or also corners (26).
    """

    quantity: str = attrs.field(validator=one_of(*RANGES))
    threshold: float = attrs.field(validator=threshold_in_range)
    connectivity: int = attrs.field(default=26, validator=one_of(6, 18, 26))
    min_size_vx: int = attrs.field(default=0, validator=non_negative)

    @property
    def label(self) -> str:
        return (
            f"components({self.quantity} > {self.threshold:g}, {self.connectivity} neighbours{_size(self.min_size_vx)})"
        )

    def segment(self, prediction: Prediction) -> Segmentation:
        found = channels(prediction, self.quantity, self)
        labels = {name: _components(values > self.threshold, self.connectivity) for name, values in found.items()}
        return Segmentation({name: without_small(ids, self.min_size_vx) for name, ids in labels.items()}, True)


@attrs.frozen
class Watershed(Segmenter):
    """Objects grow from seeds down the quantity, inside the voxels where it exceeds the threshold.

    Seeds are the face-connected components above `seed_threshold`. What no seed reaches is background. Flooding is by
    faces (Beucher & Meyer, 1993, as in scikit-image).
    """

    quantity: str = attrs.field(validator=one_of(*RANGES))
    seed_threshold: float = attrs.field(validator=threshold_in_range)
    threshold: float = attrs.field(default=0.0, validator=threshold_in_range)
    min_size_vx: int = attrs.field(default=0, validator=non_negative)

    @threshold.validator
    def _below_seeds(self, attribute: attrs.Attribute[float], value: float) -> None:
        if value > self.seed_threshold:
            raise ValueError(f"must be at most seed_threshold ({self.seed_threshold:g}), got {value}")

    @property
    def label(self) -> str:
        rule = f"{self.quantity} > {self.threshold:g}, seeds > {self.seed_threshold:g}"
        return f"watershed({rule}{_size(self.min_size_vx)})"

    def segment(self, prediction: Prediction) -> Segmentation:
        found = channels(prediction, self.quantity, self)
        labels = {name: self._flood(values) for name, values in found.items()}
        return Segmentation({name: without_small(ids, self.min_size_vx) for name, ids in labels.items()}, True)

    def _flood(self, values: NDArray[np.float32]) -> NDArray[np.uint32]:
        from skimage.segmentation import watershed

        seeds = _components(values > self.seed_threshold, 6)
        found: NDArray[Any] = watershed(-values, seeds.astype(np.int32), mask=values > self.threshold, connectivity=1)
        return found.astype(np.uint32)


def without_small(labels: NDArray[np.uint32], min_size_vx: int) -> NDArray[np.uint32]:
    """Set objects of fewer voxels to 0 and number the others 1, 2, ... in the order of their ids."""
    keep = np.bincount(labels.ravel()) >= max(min_size_vx, 1)
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    return numbers[labels]


def _components(mask: NDArray[np.bool_], connectivity: int) -> NDArray[np.uint32]:
    import cc3d

    found: NDArray[Any] = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=connectivity)
    return found.astype(np.uint32)


def _size(min_size_vx: int) -> str:
    return f", size >= {min_size_vx}" if min_size_vx else ""
