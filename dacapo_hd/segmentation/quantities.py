"""The decoded quantities that segmenters read, and their ranges."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.base import MissingChannelError, Prediction, Segmenter

RANGES = {"distance": (-1.0, 1.0), "probability": (0.0, 1.0)}
ONE_OF_RANGES = tuple((quantity,) for quantity in RANGES)


def threshold_in_range(instance: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    """Validate a threshold against the range of `instance.quantity` (an attrs validator).

    At the upper end nothing could exceed it, so that end is excluded.
    """
    # an unknown quantity is reported by its own validator, in the same list of problems
    low, high = RANGES.get(instance.quantity, (-math.inf, math.inf))
    if not low <= value < high:
        raise ValueError(f"must be from {low:g} to below {high:g} for the quantity {instance.quantity!r}, got {value}")


def channels(prediction: Prediction, quantity: str, segmenter: Segmenter) -> dict[str, NDArray[np.float32]]:
    """Return the channel of a quantity per class, in the prediction's order; MissingChannelError if there is none."""
    found = {name: prediction.channel(f"{name}/{quantity}") for name in prediction.classes(quantity)}
    if not found:
        raise MissingChannelError(
            f"{segmenter.label}: the prediction has no channel of {quantity!r}, only {', '.join(prediction.channels)}; "
            "choose a segmenter for what the task predicts"
        )
    return found
