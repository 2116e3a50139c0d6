"""How uncertain a prediction says that it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.base import Prediction, kind_of


@attrs.frozen(eq=False)
class Uncertainty:
    """A quantity that is high where a prediction may be wrong, per class (z, y, x) float32."""

    quantity: str
    values: Mapping[str, NDArray[np.float32]]


def uncertainty_of(prediction: Prediction, channels: Collection[str]) -> Uncertainty | None:
    """Return the mean over each class's channels that are among `channels`; None if the prediction has none of them.

    For a quantity of pairs of voxels that is the mean over the offsets from each voxel.
    """
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(prediction.channels):
        if name in channels:
            numbers.setdefault(name.rsplit("/", 1)[0], []).append(number)
    if not numbers:
        return None
    # a copy of all channels of a class at once would be as large as the prediction
    values = {
        name: np.divide(sum(prediction.data[number] for number in chosen), np.float32(len(chosen)))
        for name, chosen in numbers.items()
    }
    return Uncertainty(quantity_of([name for name in prediction.channels if name in channels]), values)


def quantity_of(channels: Iterable[str]) -> str:
    """Name the quantities of channels, each once."""
    return "+".join(dict.fromkeys(map(kind_of, channels)))
