"""Segmentation from the sizes of objects: few images with masks, many with nothing but the size of their object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import non_negative, one_of, optional, positive
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.operations.distance import Axes
from dacapo_hd.tasks.base import Target
from dacapo_hd.tasks.one_hot import OneHot
from dacapo_hd.tasks.per_class import known_score
from dacapo_hd.tasks.sizes import annotated_sizes, measured_sizes

if TYPE_CHECKING:
    from torch import Tensor

    from dacapo_hd.datasplits import OpenCrop

SizesOf = Literal["annotations", "components", "instances"]


def _not_both_zero(instance: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if value == 0 and instance.mask_weight == 0:
        raise ValueError("must be > 0 where mask_weight is 0: nothing would be learnt")


@attrs.frozen
class ObjectSize(OneHot):
    """Predict for each class whether it is present, as `OneHot`, from masks and from the sizes of objects.

    Source: Baručić and Kybic, Learning to segment from object sizes (2022). The size of an object is twice the largest
    chessboard distance of its voxels from the background; what lies beyond the border of an image is not background.
    Where a size is known the loss is its expected squared error (in voxels) over masks drawn from the predicted
    probabilities, estimated from `samples` masks; a mask without background has the size `cap_vx`, by default twice
    the longest edge.

    `sizes_of`: objects are those that crops are annotated with (`annotations`: `object_size_vx` or `object_size_nm`),
    or their sizes are measured on the labels, for each connected component or each instance in its surroundings.
    `size_axes: yx` measures within sections. Voxels must have equal edges along the measured axes.

    The loss is `mask_weight` x one-hot + `size_weight` x size error + `l1_weight` x mean probability +
    `smoothness_weight` x total variation, the last two where sizes are known (after the paper's section 5).
    """

    samples: int = attrs.field(default=1, validator=positive)
    cap_vx: float | None = attrs.field(default=None, validator=optional(positive))
    sizes_of: SizesOf = attrs.field(default="annotations", validator=one_of(*get_args(SizesOf)))
    size_axes: Axes = attrs.field(default="zyx", validator=one_of(*get_args(Axes)))
    mask_weight: float = attrs.field(default=1.0, validator=non_negative)
    size_weight: float = attrs.field(default=0.01, validator=[non_negative, _not_both_zero])
    l1_weight: float = attrs.field(default=0.0, validator=non_negative)
    smoothness_weight: float = attrs.field(default=0.0, validator=non_negative)
    best_by: str = attrs.field(default="jaccard", validator=known_score, kw_only=True)

    def taught_by(self, crop: OpenCrop) -> tuple[str, ...]:
        if self.sizes_of != "annotations" or self.size_weight == 0:
            return ()
        from dacapo_hd.tasks.sizes import check_annotations

        return check_annotations(crop, self.classes, self.size_axes)

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        one_hot = super().targets(labels)["one_hot"]
        sizes, regions = np.zeros((2, *labels.code.shape), np.float32)
        if self.size_weight > 0:
            for index, (own, numbers) in enumerate(self._sizes(labels)):
                sizes[index], regions[index] = own, numbers
        sized = (regions > 0).astype(np.float32)
        names = (*one_hot.channels, *(f"{name}/{what}" for what in ("size_vx", "region") for name in labels.classes))
        value = np.concatenate([one_hot.value, sizes, regions])
        return {"one_hot": Target(value, np.concatenate([one_hot.weight, sized, sized]), names)}

    def _sizes(self, labels: LabelBlock) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return for each class the size in voxels at each voxel, and which region that is about."""
        if self.sizes_of == "annotations":
            return annotated_sizes(labels)
        return measured_sizes(labels, self.sizes_of == "instances", self.size_axes)

    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        from dacapo_hd.operations import size_loss
        from dacapo_hd.operations.losses import one_hot_loss

        logits = predictions["one_hot"]
        (present, sizes, regions), (known, _, _) = (part.chunk(3, dim=1) for part in targets["one_hot"])
        parts = {}
        if self.mask_weight > 0:
            parts["one_hot"] = self.mask_weight * one_hot_loss(logits, present, known, self.balance)
        if self.size_weight > 0:
            error = size_loss.expected_size_error(logits, sizes, regions, self.samples, self.cap_vx)
            parts["size"] = self.size_weight * error
        if self.l1_weight > 0:
            parts["l1"] = self.l1_weight * size_loss.mean_probability(logits, regions)
        if self.smoothness_weight > 0:
            parts["smoothness"] = self.smoothness_weight * size_loss.total_variation(logits, regions)
        return parts
