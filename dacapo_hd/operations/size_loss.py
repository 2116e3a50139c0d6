"""The expected squared error of the size of an object whose mask is random, with an unbiased gradient.

Source: Baručić and Kybic, Learning to segment from object sizes (2022), section 3.2. A voxel with the logit a belongs
to the object with probability sigmoid(a), independently of the others. For a random mask y, and l the squared error
of its size, y_i (l(y) - l(y with i flipped)) with y_i = +-1 is an unbiased estimate of the derivative of E[l] by that
probability (lemma 1 there). All flips are evaluated exactly, see `size_flips`.
"""

from __future__ import annotations

from collections import defaultdict

import attrs
import numpy as np
import torch
from torch import Tensor

from dacapo_hd.operations.losses import weighted_mean
from dacapo_hd.operations.size_flips import flipped_sizes


@attrs.frozen(eq=False)
class SizedRegion:
    """A region that holds one object of a known size (voxels): sample and class, the box around it, its number."""

    place: tuple[int, int]
    box: tuple[slice, slice, slice]
    number: int
    size: float

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(part.stop - part.start for part in self.box)


def sized_regions(sizes: Tensor, regions: Tensor) -> list[SizedRegion]:
    """List the regions of a batch; both tensors (b, c, z, y, x), `regions` holding small numbers, 0 for none."""
    from scipy.ndimage import find_objects

    numbers, values = regions.to("cpu", torch.int32).numpy(), sizes.numpy(force=True)
    found = []
    for place in np.ndindex(*numbers.shape[:2]):
        for number, box in enumerate(find_objects(numbers[place]), start=1):
            if box is not None:
                size = values[place][box][numbers[place][box] == number][0]
                found.append(SizedRegion(place, box, number, float(size)))
    return found


def expected_size_error(
    logits: Tensor, sizes: Tensor, regions: Tensor, samples: int = 1, cap_vx: float | None = None
) -> Tensor:
    """Return the mean over regions of E[(size - size of the random mask)^2], estimated from `samples` masks each.

    All tensors are (b, c, z, y, x). Backpropagation gives the unbiased estimate of the gradient, not the derivative of
    the value, which is a step function of the masks. Exactly 0 without regions. `cap_vx` is the size of a mask without
    background; by default it is twice the longest edge of the region's box. Draws from torch's global generator.
    """
    groups = defaultdict(list)
    found = sized_regions(sizes, regions)
    for region in found:
        groups[region.shape].append(region)
    gradient = torch.zeros_like(logits, dtype=torch.float32)
    total = gradient.new_zeros(())
    for group in groups.values():
        error, derivative = _estimate(logits.detach().float(), regions, group, samples, cap_vx)
        total = total + error.sum() / len(found)
        for region, own in zip(group, derivative / len(found), strict=True):
            gradient[region.place][region.box] += own
    # 0, with the estimated gradient
    return total + ((logits - logits.detach()) * gradient).sum()


def _estimate(
    logits: Tensor, regions: Tensor, group: list[SizedRegion], samples: int, cap_vx: float | None
) -> tuple[Tensor, Tensor]:
    """Return for regions (r) of one shape the mean squared errors and their derivatives by the logits (r, z, y, x)."""
    probability = torch.stack([logits[region.place][region.box] for region in group]).sigmoid()
    inside = torch.stack([regions[region.place][region.box] == region.number for region in group])
    wanted = torch.tensor([region.size for region in group], device=logits.device)
    cap = 2.0 * max(group[0].shape) if cap_vx is None else cap_vx
    caps = torch.full_like(wanted, cap)
    outside = None if bool(inside.all()) else inside
    error, derivative = torch.zeros_like(wanted), torch.zeros_like(probability)
    for _ in range(samples):
        mask = torch.rand_like(probability) < probability
        now, flipped = flipped_sizes(mask, outside, caps)
        loss = (wanted - now) ** 2
        # in place: that is a part of the cost
        change = flipped.sub_(wanted.view(-1, 1, 1, 1)).square_().sub_(loss.view(-1, 1, 1, 1))
        error += loss
        derivative += change.mul_(1 - 2 * mask.float())
    return error / samples, derivative * (probability * (1 - probability) * inside / samples)


def mean_probability(logits: Tensor, regions: Tensor) -> Tensor:
    """Return the mean probability inside of regions, the L1 norm of the mask per voxel; 0 without regions."""
    return weighted_mean(logits.float().sigmoid(), (regions > 0).float())


def total_variation(logits: Tensor, regions: Tensor) -> Tensor:
    """Return the mean absolute difference of the probabilities of neighbours in one region; 0 without regions."""
    probability = logits.float().sigmoid()
    steps, pairs = [], []
    for axis in (2, 3, 4):
        length = probability.shape[axis] - 1
        first, second = regions.narrow(axis, 0, length), regions.narrow(axis, 1, length)
        steps.append((probability.narrow(axis, 1, length) - probability.narrow(axis, 0, length)).abs().flatten())
        pairs.append(((first == second) & (first > 0)).float().flatten())
    return weighted_mean(torch.cat(steps), torch.cat(pairs))
