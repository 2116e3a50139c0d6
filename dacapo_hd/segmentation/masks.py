"""Segmenters that make one mask per class."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from dacapo_hd.config import one_of
from dacapo_hd.segmentation.base import Prediction, Segmentation, Segmenter
from dacapo_hd.segmentation.quantities import ONE_OF_RANGES, RANGES, channels, threshold_in_range


@attrs.frozen
class Threshold(Segmenter):
    """A class is where its quantity exceeds the threshold; classes may overlap."""

    pointwise: ClassVar[bool] = True
    readable: ClassVar[tuple[tuple[str, ...], ...]] = ONE_OF_RANGES

    quantity: str = attrs.field(validator=one_of(*RANGES))
    threshold: float = attrs.field(validator=threshold_in_range)

    @property
    def label(self) -> str:
        return f"threshold({self.quantity} > {self.threshold:g})"

    def segment(self, prediction: Prediction) -> Segmentation:
        found = channels(prediction, self.quantity, self)
        return Segmentation({name: (values > self.threshold).astype(np.uint8) for name, values in found.items()})


@attrs.frozen
class Argmax(Segmenter):
    """Each voxel belongs to the class of the highest value, if that exceeds the threshold; ties to the first class."""

    pointwise: ClassVar[bool] = True
    readable: ClassVar[tuple[tuple[str, ...], ...]] = ONE_OF_RANGES

    quantity: str = attrs.field(default="probability", validator=one_of(*RANGES))
    threshold: float = attrs.field(default=0.5, validator=threshold_in_range)

    @property
    def label(self) -> str:
        return f"argmax({self.quantity} > {self.threshold:g})"

    def segment(self, prediction: Prediction) -> Segmentation:
        found = channels(prediction, self.quantity, self)
        values = np.stack(list(found.values()))
        winner = np.where(values.max(axis=0) > self.threshold, values.argmax(axis=0), -1)
        return Segmentation({name: (winner == index).astype(np.uint8) for index, name in enumerate(found)})
