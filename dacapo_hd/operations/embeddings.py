"""The cosine embedding loss: vectors of one object agree, those of neighbouring objects are told apart.

Chen, Strauch, Merhof, Instance segmentation of biomedical images with an object-aware embedding learned with local
constraints, 2019; Wu, Chen, Merhof, Improving pixel embedding learning through intermediate distance regression
supervision, 2020, equation 1. All of it follows from the mean vector of each object, which one `index_add` gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dacapo_hd.operations.distance import distance_to

UNKNOWN = -1
BACKGROUND = 0
# shorter vectors are not stretched to unit length: gradients grow by one over the length
SHORTEST = 1e-3
# the search for neighbours tries all steps within the radius, or, if there are more, transforms distances
MOST_STEPS = 1000
# rounding must not exclude a voxel at exactly the radius
ROUNDING = 1e-6
# so many vectors are added up in float32
ADDED = 1 << 13


def unit(vectors: Tensor) -> Tensor:
    """Return vectors along axis 1 with length 1, in float32; those shorter than 0.001 stay shorter than 1."""
    vectors = vectors.float()
    # several times as fast as the norm along an axis that is not the last
    squared: Tensor = (vectors * vectors).sum(dim=1, keepdim=True)
    return vectors * squared.clamp(min=SHORTEST**2).rsqrt()


@attrs.frozen(eq=False)
class Objects:
    """The s objects of a batch of n images, numbered 0, 1, ... image after image.

    `labels` is int64 (n, z, y, x), -1 for voxels of none; `image`, `background` and `voxels` (s) say for each object in
    which image it lies, whether it is the background, and how large it is.
    """

    labels: Tensor
    image: Tensor
    background: Tensor
    voxels: Tensor

    @classmethod
    def of(cls, ids: Tensor, background: bool) -> Objects:
        """Number the objects of int64 ids (n, z, y, x): UNKNOWN, BACKGROUND, or a number that counts objects.

        The background of an image is one object if `background` says so, else none. Memory grows with the largest id.
        """
        largest = max(int(ids.max()), BACKGROUND)
        first = torch.arange(len(ids), device=ids.device).view(-1, 1, 1, 1) * (largest + 1)
        keys = ids + first
        # voxels of no object have the last key
        keys = torch.where(ids >= (BACKGROUND if background else BACKGROUND + 1), keys, len(ids) * (largest + 1))
        counts = torch.bincount(keys.flatten(), minlength=len(ids) * (largest + 1) + 1)[:-1]
        number = functional.pad(torch.cumsum(counts > 0, 0) - 1, (0, 1), value=UNKNOWN)
        labels = number[keys]
        keys = torch.nonzero(counts).squeeze(1)
        image = torch.div(keys, largest + 1, rounding_mode="floor")
        return cls(labels, image, keys % (largest + 1) == BACKGROUND, counts[keys])

    def __len__(self) -> int:
        return len(self.image)

    def means(self, vectors: Tensor) -> Tensor:
        """Return the mean vector (s, e) of each object; `vectors` (n, e, z, y, x)."""
        flat = vectors.movedim(1, -1).reshape(-1, vectors.shape[1])
        # voxels of none are added to an object of their own, which is dropped
        labels = torch.where(self.labels < 0, len(self), self.labels).flatten()
        # sums of sums: those of millions of voxels would be wrong by percents
        parts = torch.arange(0, len(flat), device=flat.device).div_(ADDED, rounding_mode="floor")
        count = -(-len(flat) // ADDED)
        sums = flat.new_zeros(count * (len(self) + 1), flat.shape[1])
        sums = sums.index_add(0, labels + parts * (len(self) + 1), flat).view(count, len(self) + 1, -1).sum(dim=0)
        return sums[:-1] / self.voxels[:, None]

    def all_pairs(self) -> Tensor:
        """Return all pairs (p, 2) of different objects of one image, in both orders."""
        together = self.image[:, None] == self.image[None]
        return torch.nonzero(together.fill_diagonal_(False))

    def near_pairs(self, radius_nm: float, voxel_size_nm: Sequence[float]) -> Tensor:
        """Return the pairs (p, 2) of objects with voxel centres at most `radius_nm` apart, in both orders."""
        labels = self.labels.cpu().numpy()
        counts = torch.bincount(self.image, minlength=len(labels)).cpu().numpy()
        steps = half_ball(radius_nm, voxel_size_nm, labels.shape[1:])
        found = [np.empty((0, 2), np.int64)]
        for first, count, image in zip(np.cumsum(counts) - counts, counts, labels, strict=True):
            own = np.where(image < 0, UNKNOWN, image - first)
            if len(steps) <= MOST_STEPS:
                near = near_by_steps(own, int(count), steps)
            else:
                near = near_by_distance(own, int(count), radius_nm, voxel_size_nm)
            found.append(np.argwhere(near | near.T) + first)
        return torch.from_numpy(np.concatenate(found)).to(self.image.device)

    def with_background(self, pairs: Tensor) -> Tensor:
        """Add to pairs (p, 2) those of each object and the background of its image; none is there twice."""
        between = self.all_pairs()
        between = between[self.background[between].any(dim=1)]
        return torch.unique(torch.cat([pairs, between]), dim=0)


def half_ball(radius_nm: float, voxel_size_nm: Sequence[float], shape: Sequence[int]) -> NDArray[np.int64]:
    """Return the steps (k, 3) of at most `radius_nm` within `shape`, one of each pair of opposite ones."""
    radius_nm *= 1 + ROUNDING
    reach = [int(min(radius_nm / edge, size - 1)) for edge, size in zip(voxel_size_nm, shape, strict=True)]
    axes = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
    steps = np.stack(axes, axis=-1).reshape(-1, 3)
    near = ((steps * np.asarray(voxel_size_nm)) ** 2).sum(axis=1) <= radius_nm**2
    # in the order of the array, opposite steps are mirrored around the one that leads nowhere
    half = np.arange(len(steps)) > len(steps) // 2
    return np.ascontiguousarray(steps[near & half], dtype=np.int64)


def near_by_steps(labels: NDArray[np.int64], count: int, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which of the labels 0, 1, ... (z, y, x) have voxels one of `steps` (k, 3) apart, in one order or the other.

    Returns bool (count, count). Time grows with the number of steps and of voxels at the edge of objects.
    """
    from dacapo_hd.operations.embedding_kernels import BEYOND, mark_near

    near = np.zeros((count, count), np.bool_)
    # with a margin no step leaves the array; one voxel at least, for face neighbours
    margin = np.abs(steps).max(axis=0, initial=1)
    mark_near(np.pad(labels, margin[:, None].repeat(2, axis=1), constant_values=BEYOND), margin, steps, near)
    return near


def near_by_distance(
    labels: NDArray[np.int64], count: int, radius_nm: float, voxel_size_nm: Sequence[float]
) -> NDArray[np.bool_]:
    """Tell which of the labels 0, 1, ... (z, y, x) are at most `radius_nm` apart, in one order or the other.

    Returns bool (count, count). Time grows with the number of objects and with how much lies around each.
    """
    from scipy.ndimage import find_objects

    near = np.zeros((count, count), np.bool_)
    sides = zip(voxel_size_nm, labels.shape, strict=True)
    reach = [int(min(radius_nm / edge + 1, size)) for edge, size in sides]
    boxes = [
        tuple(slice(max(0, axis.start - n), axis.stop + n) for axis, n in zip(box, reach, strict=True))
        for box in find_objects(labels + 1, count)
    ]
    # what is near the object with the largest surroundings, all others know
    sizes = [labels[box].size for box in boxes]
    for own in np.argsort(sizes, kind="stable")[:-1]:
        around = labels[boxes[own]]
        distance = distance_to(around == own, voxel_size_nm, "zyx")
        others = around[(distance <= radius_nm * (1 + ROUNDING)) & (around >= 0)]
        near[own, others] = True
    np.fill_diagonal(near, False)
    return near


def intra_loss(means: Tensor, objects: Objects, by_voxels: bool = False) -> Tensor:
    """Return the mean over objects of the mean over their voxels of 1 - cos(vector, mean vector).

    `means` (s, e) are of unit vectors, so that the mean over an object's voxels is 1 - the length of its mean vector.
    Images that hold an object count alike, and in them all objects, or all voxels with `by_voxels`; 0 without objects.
    """
    weight = objects.voxels.float() if by_voxels else torch.ones_like(objects.voxels, dtype=torch.float32)
    return (_shares(weight, objects.image) * (1 - torch.linalg.vector_norm(means, dim=1))).sum()


def inter_loss(means: Tensor, objects: Objects, pairs: Tensor, absolute: bool) -> Tensor:
    """Return the mean over objects of the mean over their neighbours of |cos| of both mean vectors, or of 1 + cos.

    `pairs` (p, 2) holds each pair of neighbours in both orders. Images with a pair count alike, and in them all objects
    with a neighbour: one without has no say. 0 without pairs.
    """
    a, b = pairs.unbind(1)
    directions = functional.normalize(means, dim=1, eps=SHORTEST)
    cosine = (directions[a] * directions[b]).sum(dim=1)
    of_object = _shares(torch.ones_like(cosine), a)
    neighbours = torch.bincount(a, minlength=len(objects))
    of_image = _shares((neighbours > 0).float(), objects.image)
    # shares of all pairs of a batch: that of an object among those of the batch, times that of a pair of the object
    weight = of_image[a] * of_object * (neighbours > 0).sum()
    return (weight * (cosine.abs() if absolute else 1 + cosine)).sum()


def _shares(weight: Tensor, group: Tensor) -> Tensor:
    """Return weights that add up to 1, with the same sum in each group that has any weight."""
    if not len(group):
        return weight
    totals = torch.zeros(int(group.max()) + 1, device=weight.device).index_add(0, group, weight)
    groups = (totals > 0).sum()
    return weight / (torch.where(totals > 0, totals, torch.ones_like(totals))[group] * groups)
