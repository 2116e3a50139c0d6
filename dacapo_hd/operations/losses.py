"""Weighted losses: unknown voxels have weight 0 and leave neither a value nor a share of the denominator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

LEAST_FREQUENCY = 0.05


def weighted_mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Return sum(w * l) / sum(w) in float32; exactly 0, with gradient 0, where all weights are 0."""
    total = weight.sum(dtype=torch.float32)
    return (weight * loss).sum(dtype=torch.float32) / torch.where(total > 0, total, torch.ones_like(total))


def balanced(weight: Tensor, present: Tensor, absent: Tensor) -> Tensor:
    """Scale weights (b, c, z, y, x) so that the present and the absent voxels of a channel weigh the same together.

    With f the weighted share of present voxels in a channel of the batch, present voxels are scaled by 1 / 2f and
    absent ones by 1 / 2(1 - f). f is kept within 0.05 and 0.95: a single voxel of the rarer side weighs at most 10, and
    a channel with f outside of that range loses up to half of its total. Voxels that are neither keep their weight.
    """
    axes = (0, *range(2, weight.ndim))
    of_present = (weight * present).sum(axes, keepdim=True, dtype=torch.float32)
    of_absent = (weight * absent).sum(axes, keepdim=True, dtype=torch.float32)
    both = of_present + of_absent
    frequency = of_present / torch.where(both > 0, both, torch.ones_like(both))
    frequency = frequency.clamp(LEAST_FREQUENCY, 1 - LEAST_FREQUENCY)
    factor = torch.where(present, 0.5 / frequency, torch.where(absent, 0.5 / (1 - frequency), 1.0))
    return weight * factor


def one_hot_loss(logits: Tensor, target: Tensor, weight: Tensor, balance: bool) -> Tensor:
    """Return the weighted mean of the binary cross-entropy; all tensors (b, c, z, y, x), target 0 or 1."""
    if balance:
        weight = balanced(weight, target > 0.5, target < 0.5)
    loss = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return weighted_mean(loss, weight)


def interval_loss(prediction: Tensor, bounds: Tensor, weight: Tensor, balance: bool) -> Tensor:
    """Return the weighted mean of relu(low - p)^2 + relu(p - high)^2, the squared error where low equals high.

    `prediction` and `weight` are (b, c, z, y, x), `bounds` (b, 2c, z, y, x): all lower bounds, then all upper ones.
    Balancing counts a voxel as present or absent where its bounds tell the sign.
    """
    low, high = bounds.float().chunk(2, dim=1)
    if balance:
        weight = balanced(weight, low > 0, high < 0)
    prediction = prediction.float()
    loss = functional.relu(low - prediction) ** 2 + functional.relu(prediction - high) ** 2
    return weighted_mean(loss, weight)


def dice_loss(membership: Tensor, target: Tensor, weight: Tensor, axes: Sequence[int]) -> Tensor:
    """Return 1 - 2 sum(w p t) / (sum(w p^2) + sum(w t^2)) of fuzzy sets, summed over `axes`, which are dropped.

    All within 0..1. An empty target would give 1 whatever is predicted: there it is the loss of the complements 1 - p
    and 1 - t, 0 for an empty prediction. 0, with gradient 0, where all weights are 0. Source: Bailoni et al. 2020,
    section 3.2; the empty case is ours.
    """
    membership, target, weight = membership.float(), target.float(), weight.float()
    axes = tuple(axes)
    empty = (weight * target).sum(axes, keepdim=True) == 0
    p, t = torch.where(empty, 1 - membership, membership), torch.where(empty, 1 - target, target)
    sizes = (weight * (p * p + t * t)).sum(axes)
    known = sizes > 0
    shared = 2 * (weight * p * t).sum(axes)
    return torch.where(known, 1 - shared / torch.where(known, sizes, 1), 0)


def affinity_loss(
    logits: Tensor, target: Tensor, weight: Tensor, dice_weight: float, cross_entropy_weight: float, balance: bool
) -> Tensor:
    """Return the weighted sum of Dice loss and binary cross-entropy; all tensors (b, c, z, y, x), target 0 or 1.

    The fuzzy set of the Dice loss is the cuts, the pairs of different objects, which are the rarer ones; the loss is
    the mean over the channels in which something is known.
    """
    loss = cross_entropy_weight * one_hot_loss(logits, target, weight, balance)
    if dice_weight > 0:
        cuts = (-logits.float()).sigmoid()
        per_channel = dice_loss(cuts, 1 - target.float(), weight, (0, 2, 3, 4))
        loss = loss + dice_weight * weighted_mean(per_channel, (weight.sum((0, 2, 3, 4)) > 0).float())
    return loss
