"""Segmenters that tell the objects of a class apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import ADDED_LATER, non_negative, one_of
from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, SeededSegmenter, UnitedBy
from dacapo_hd.segmentation.components import components
from dacapo_hd.segmentation.flooding import LEVELS, flood
from dacapo_hd.segmentation.quantities import ONE_OF_RANGES, RANGES, channels, threshold_in_range


@attrs.frozen
class ConnectedComponents(InstanceSegmenter):
    """Objects are the connected components of the voxels whose quantity exceeds the threshold.

    Voxels connect through faces (6), also edges (18) or also corners (26).
    """

    united_by: ClassVar[UnitedBy] = "connectivity"
    readable: ClassVar[tuple[tuple[str, ...], ...]] = ONE_OF_RANGES

    quantity: str = attrs.field(validator=one_of(*RANGES))
    threshold: float = attrs.field(validator=threshold_in_range)
    connectivity: int = attrs.field(default=26, validator=one_of(6, 18, 26))
    min_size_vx: int = attrs.field(default=0, validator=non_negative)
    fill_holes: bool = attrs.field(default=False, metadata=ADDED_LATER)

    @property
    def label(self) -> str:
        rule = f"{self.quantity} > {self.threshold:g}, {self.connectivity} neighbours"
        return f"components({rule}{_afterwards(self)})"

    def pieces(self, prediction: Prediction) -> Mapping[str, NDArray[np.uint32]]:
        found = channels(prediction, self.quantity, self)
        return {name: components(values > self.threshold, self.connectivity) for name, values in found.items()}


@attrs.frozen
class Watershed(SeededSegmenter):
    """Objects grow from seeds down the quantity, inside the voxels where it exceeds the threshold.

    Seeds are the face-connected components above `seed_threshold`. What no seed reaches is background. Flooding goes
    through faces (Beucher & Meyer, 1993), over the 255 levels of a stored prediction; equally high voxels belong to the
    seed that reaches them first.
    """

    readable: ClassVar[tuple[tuple[str, ...], ...]] = ONE_OF_RANGES

    quantity: str = attrs.field(validator=one_of(*RANGES))
    seed_threshold: float = attrs.field(validator=threshold_in_range)
    threshold: float = attrs.field(default=0.0, validator=threshold_in_range)
    min_size_vx: int = attrs.field(default=0, validator=non_negative)
    fill_holes: bool = attrs.field(default=False, metadata=ADDED_LATER)
    halo_vx: int = attrs.field(default=32, validator=non_negative, metadata=ADDED_LATER)

    @threshold.validator
    def _below_seeds(self, attribute: attrs.Attribute[float], value: float) -> None:
        if value > self.seed_threshold:
            raise ValueError(f"must be at most seed_threshold ({self.seed_threshold:g}), got {value}")

    @property
    def label(self) -> str:
        rule = f"{self.quantity} > {self.threshold:g}, seeds > {self.seed_threshold:g}"
        return f"watershed({rule}{_afterwards(self)})"

    def seeds(self, prediction: Prediction) -> Mapping[str, NDArray[np.bool_]]:
        found = channels(prediction, self.quantity, self)
        return {name: values > self.seed_threshold for name, values in found.items()}

    def foreground(self, prediction: Prediction) -> Mapping[str, NDArray[np.bool_]]:
        found = channels(prediction, self.quantity, self)
        return {name: values > self.threshold for name, values in found.items()}

    def grow(self, prediction: Prediction, seeds: Mapping[str, NDArray[np.uint32]]) -> Mapping[str, NDArray[np.uint32]]:
        found = channels(prediction, self.quantity, self)
        return {name: self._flood(found[name], numbers) for name, numbers in seeds.items()}

    def _flood(self, values: NDArray[np.float32], seeds: NDArray[np.uint32]) -> NDArray[np.uint32]:
        low, high = RANGES[self.quantity]
        levels = np.rint((values - np.float32(low)) * np.float32(LEVELS / (high - low)))
        # 0 is closed
        return flood(np.where(values > self.threshold, levels.clip(1, LEVELS), 0).astype(np.uint8), seeds)


def _afterwards(segmenter: InstanceSegmenter) -> str:
    size = f", size >= {segmenter.min_size_vx}" if segmenter.min_size_vx else ""
    return size + (", holes filled" if segmenter.fill_holes else "")
