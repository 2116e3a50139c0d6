"""Test-time flips: the mean over mirrored copies of the input."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.tasks.base import Task

# what stays the same when the image is mirrored; an affinity, say, belongs to another neighbour then
UNDIRECTED = ("probability", "distance")


def flipped_axes(predictor: Predictor) -> tuple[tuple[int, ...], ...]:
    """Return the sets of axes of ([c,] z, y, x) along which the input is mirrored, none first.

    A two-dimensional network sees each section alone, so that mirroring z changes nothing. Raises UserError for
    predictions that have a direction.
    """
    require_undirected(predictor.task)
    axes = [axis for axis, context in zip((1, 2, 3), predictor.architecture.context_vx, strict=True) if context]
    return tuple(
        tuple(axis for axis, flipped in zip(axes, flips, strict=True) if flipped)
        for flips in product((False, True), repeat=len(axes))
    )


def require_undirected(task: Task) -> None:
    """Raise UserError for a task whose predictions have a direction."""
    directed = [channel.name for channel in task.output_channels() if channel.name.rsplit("/", 1)[-1] not in UNDIRECTED]
    if directed:
        raise UserError(
            f"--flips: {', '.join(directed)} cannot be averaged over mirrored copies; only "
            f"{' and '.join(UNDIRECTED)} can"
        )


def predict_flipped(predictor: Predictor, raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Predict normalised raw data (c, z, y, x) and its mirrored copies; returns the mean, as `predictor` does."""
    sets = flipped_axes(predictor)
    total: NDArray[np.float32] | None = None
    for axes in sets:
        found = np.flip(predictor(np.flip(raw, axes)), axes)
        total = found.copy() if total is None else np.add(total, found, out=total)
    assert total is not None
    total /= len(sets)
    return total
