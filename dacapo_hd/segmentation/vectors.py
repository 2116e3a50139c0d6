"""Embeddings as channels of a prediction: `class/embedding_0`, `class/embedding_1`, ..."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.base import MissingChannelError, Prediction, Segmenter
from dacapo_hd.segmentation.quantities import channels

EMBEDDING = "embedding_"


def embedding_channel(class_name: str, index: int) -> str:
    """Name a component of the embedding."""
    return f"{class_name}/{EMBEDDING}{index}"


@attrs.frozen(eq=False)
class Embedded:
    """One class: unit vectors float32 (z, y, x, e), and the depth in its object of each voxel (z, y, x)."""

    vectors: NDArray[np.float32]
    depth: NDArray[np.float32]


def embedded(prediction: Prediction, segmenter: Segmenter) -> dict[str, Embedded]:
    """Return the embeddings and distances of each class, in the prediction's order; MissingChannelError if none."""
    depths = channels(prediction, "distance", segmenter)
    found = {}
    for name, depth in depths.items():
        own = [i for i, channel in enumerate(prediction.channels) if channel.startswith(f"{name}/{EMBEDDING}")]
        if not own:
            raise MissingChannelError(
                f"{segmenter.label}: the prediction has no embedding of {name!r}, only "
                f"{', '.join(prediction.channels)}; choose a segmenter for what the task predicts"
            )
        vectors = np.ascontiguousarray(np.moveaxis(prediction.data[own], 0, -1))
        # what is stored is rounded, and in the middle of objects averaged; only directions matter
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32(1e-3))
        found[name] = Embedded(vectors, depth)
    return found
