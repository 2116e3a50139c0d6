"""The two halves of Hot-Distance, which the baselines share: targets here, losses in `operations.losses`."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.operations.distance import Axes, signed_distance_interval
from dacapo_hd.tasks.base import OutputChannel, Target

Supervision = Literal["exact", "interval"]
Boundaries = Literal["class", "instance"]


def one_hot_target(labels: LabelBlock) -> Target:
    """Return 1 where present, 0 elsewhere; weight 0 where unknown (Hot-Distance, section 2.1)."""
    names = tuple(f"{name}/present" for name in labels.classes)
    return Target(labels.present.astype(np.float32), labels.known.astype(np.float32), names)


def distance_target(
    labels: LabelBlock,
    scale_nm: float,
    supervision: Supervision,
    tolerance: float,
    axes: Axes,
    boundaries: Boundaries,
) -> Target:
    """Return tanh(d / scale) as bounds: one channel per class for the lower ones, then one for the upper ones.

    Weight is 1 where the voxel is known and its bounds are at most `tolerance` apart (`exact`), or wherever there are
    bounds (`interval`); those within `tolerance` of -1..1 do not count, because they come from beyond the context.
    """
    lows, highs = [], []
    for name, code in zip(labels.classes, labels.code, strict=True):
        ids = None
        if boundaries == "instance":
            # Without ids no voxel is known to be of the same instance as its neighbour.
            ids = labels.instances.get(name, np.zeros(code.shape, np.uint32))
        low, high = signed_distance_interval(code, labels.voxel_size_nm, ids, axes)
        lows.append(low)
        highs.append(high)
    value = np.stack(lows + highs)
    value /= np.float32(scale_nm)
    np.tanh(value, out=value)
    width = value[len(lows) :] - value[: len(lows)]
    weight = (width <= tolerance) & labels.known if supervision == "exact" else width < 2 - tolerance
    names = tuple(f"{name}/{bound}" for bound in ("low", "high") for name in labels.classes)
    return Target(value, weight.astype(np.float32), names)


def saturation_nm(scale_nm: float, tolerance: float) -> float:
    """Return the distance beyond which tanh(d / scale) is within `tolerance` of 1."""
    return scale_nm * math.atanh(1 - tolerance)


def probability_channels(classes: tuple[str, ...]) -> tuple[OutputChannel, ...]:
    """Name the decoded logits."""
    return tuple(OutputChannel(f"{name}/probability", 0.0, 1.0) for name in classes)


def distance_channels(classes: tuple[str, ...]) -> tuple[OutputChannel, ...]:
    """Name the decoded distances, tanh(d / scale)."""
    return tuple(OutputChannel(f"{name}/distance", -1.0, 1.0) for name in classes)
