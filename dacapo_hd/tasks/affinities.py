"""Affinities: do a voxel and the one at an offset from it lie in the same object?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.config import non_empty, non_negative, optional, positive
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.operations.affinities import (
    NEIGHBOURS_16,
    Offset,
    affinities,
    format_offset,
    object_labels,
)
from dacapo_hd.segmentation import MutexWatershed, SuperpixelAgglomeration
from dacapo_hd.segmentation.affinities import affinity_channel
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.tasks.base import OutputChannel, Target
from dacapo_hd.tasks.instance import AffinityBranch, InstanceTask, check_offsets

if TYPE_CHECKING:
    from torch import Tensor, nn

# of the Gaussian in which shape descriptors are taken
MOST_UNKNOWN = 0.01


def affinity_target(labels: LabelBlock, offsets_vx: Sequence[Sequence[int]], names: Sequence[str]) -> Target:
    """Return the affinities of each class, its offsets one after the other; weight 0 where either end is unknown."""
    found = [affinities(object_labels(labels, name), offsets_vx) for name in labels.classes]
    channels = tuple(f"{class_name}/{name}" for class_name in labels.classes for name in names)
    value, weight = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Target(value, weight, channels)


def affinity_channels(
    classes: Sequence[str], kind: str, offsets: Sequence[Offset], unit: Any
) -> tuple[OutputChannel, ...]:
    """Name decoded affinities in the order of `affinity_target`."""
    return tuple(
        OutputChannel(affinity_channel(class_name, kind, offset, unit), 0.0, 1.0)
        for class_name in classes
        for offset in offsets
    )


@attrs.frozen
class Affinities(InstanceTask):
    """Predict for each class and offset (z, y, x) the probability that both ends lie in the same object.

    `branches` learn further offsets on coarser decoder levels and are not predicted (deep supervision, the
    sparse-neighbourhood branches of Bailoni et al. 2020, section 5.1). The loss of each is `dice_weight` x Dice +
    `cross_entropy_weight` x binary cross-entropy. With `descriptor_sigma_nm` the local shape descriptors within that
    Gaussian are learnt beside (squared error x `descriptor_weight`; Sheridan et al. 2023) and not predicted.
    """

    offsets: tuple[Offset, ...] = attrs.field(default=NEIGHBOURS_16, validator=[non_empty, check_offsets])
    branches: tuple[AffinityBranch, ...] = attrs.field(default=())
    dice_weight: float = attrs.field(default=1.0, validator=non_negative)
    cross_entropy_weight: float = attrs.field(default=1.0, validator=non_negative)
    descriptor_sigma_nm: float | None = attrs.field(default=None, validator=optional(positive))
    descriptor_weight: float = attrs.field(default=1.0, validator=positive)

    @branches.validator
    def _offsets_of_branches(self, attribute: attrs.Attribute[Any], value: tuple[AffinityBranch, ...]) -> None:
        for branch in value:
            check_offsets(self, attribute, branch.offsets)

    @cross_entropy_weight.validator
    def _some_loss(self, attribute: attrs.Attribute[Any], value: float) -> None:
        if value == 0 and self.dice_weight == 0:
            raise ValueError("must be > 0 where dice_weight is 0")

    @property
    def context_nm(self) -> float:
        from dacapo_hd.operations.shape_descriptors import TRUNCATE

        return max(super().context_nm, TRUNCATE * (self.descriptor_sigma_nm or 0.0))

    def all_offsets(self) -> tuple[Offset, ...]:
        return tuple(dict.fromkeys(offset for _, offsets in self._learnt().values() for offset in offsets))

    def levels(self) -> Iterable[int]:
        return (level for level, _ in self._learnt().values())

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        found = {
            name: affinity_target(
                labels, self.in_voxels(offsets, labels.voxel_size_nm), [format_offset(offset) for offset in offsets]
            )
            for name, (_, offsets) in self._learnt().items()
        }
        if self.descriptor_sigma_nm is not None:
            found["descriptors"] = descriptor_target(labels, self.descriptor_sigma_nm)
        return {**found, **self.foreground_targets(labels)}

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module:
        from dacapo_hd.operations.shape_descriptors import DESCRIPTORS
        from dacapo_hd.tasks.head import BranchHead

        branches = {
            name: (level, len(self.classes) * len(offsets)) for name, (level, offsets) in self._learnt().items()
        }
        if self.descriptor_sigma_nm is not None:
            branches["descriptors"] = (0, len(self.classes) * len(DESCRIPTORS))
        return BranchHead(stages, {**branches, **self.foreground_branches()})

    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        from dacapo_hd.operations.losses import affinity_loss, weighted_mean

        weights = (self.dice_weight, self.cross_entropy_weight)
        losses = {
            name: affinity_loss(predictions[name], *targets[name], *weights, self.balance) for name in self._learnt()
        }
        if "descriptors" in targets:
            value, weight = targets["descriptors"]
            channels = value.shape[1] // weight.shape[1]
            error = (predictions["descriptors"].float().sigmoid() - value) ** 2
            losses["descriptors"] = self.descriptor_weight * weighted_mean(
                error, weight.repeat_interleave(channels, dim=1)
            )
        return {**losses, **self.foreground_losses(predictions, targets)}

    def output_channels(self) -> tuple[OutputChannel, ...]:
        affinities = affinity_channels(self.classes, "affinity", self.offsets, self.offset_unit)
        return (*affinities, *self.foreground_channels())

    def decode(self, predictions: Mapping[str, Tensor]) -> Tensor:
        import torch

        return torch.cat([predictions["affinity"].float().sigmoid(), *self.decoded_foreground(predictions)], dim=1)

    def default_grid(self) -> tuple[Segmenter, ...]:
        return (
            MutexWatershed(),
            MutexWatershed(long_range_fraction=1.0),
            SuperpixelAgglomeration(),
        )

    def _learnt(self) -> dict[str, tuple[int, tuple[Offset, ...]]]:
        """Return the level and the offsets of each output."""
        further = {f"branch_{n}": (branch.level, branch.offsets) for n, branch in enumerate(self.branches, start=1)}
        return {"affinity": (0, self.offsets), **further}


def descriptor_target(labels: LabelBlock, sigma_nm: float) -> Target:
    """Return the local shape descriptors of each class; weight 0 but inside of known objects with known surroundings.

    Surroundings are known where the unknown has at most 1 % of the Gaussian.
    """
    from dacapo_hd.operations.shape_descriptors import DESCRIPTORS, shape_descriptors, unknown_share

    values, weights = [], []
    for name in labels.classes:
        objects = object_labels(labels, name)
        values.append(shape_descriptors(objects, sigma_nm, labels.voxel_size_nm))
        # a present voxel without an id may belong to the object beside it
        share = unknown_share(objects < 0, sigma_nm, labels.voxel_size_nm)
        weights.append(((objects > 0) & (share <= MOST_UNKNOWN)).astype(np.float32))
    channels = tuple(f"{name}/{descriptor}" for name in labels.classes for descriptor in DESCRIPTORS)
    return Target(np.concatenate(values), np.stack(weights), channels)
