"""Hot-Distance: presence and boundary distance from one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.config import positive
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.segmentation import Argmax, Threshold
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.tasks.base import OutputChannel, Target
from dacapo_hd.tasks.distance import Distance
from dacapo_hd.tasks.parts import one_hot_target, probability_channels

if TYPE_CHECKING:
    from torch import Tensor, nn


@attrs.frozen
class HotDistance(Distance):
    """Predict the channels of `OneHot` and of `Distance` from the same features, split only in the last convolution.

    Source: Hot-Distance (Zouinkhi, Rhoades, Weigel 2024), section 3. Each half has its own weights, so that sparse
    annotation trains the features through the one-hot half where it says nothing about distances. The loss is
    one-hot + `distance_weight` x distance.
    """

    distance_weight: float = attrs.field(default=1.0, validator=positive)

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        return {"one_hot": one_hot_target(labels), **super().targets(labels)}

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module:
        from dacapo_hd.tasks.head import SplitHead

        channels = {"one_hot": len(self.classes), "distance": len(self.classes)}
        return SplitHead(stages, channels, bounded=["distance"])

    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        from dacapo_hd.operations.losses import one_hot_loss

        one_hot = one_hot_loss(predictions["one_hot"], *targets["one_hot"], self.balance)
        return {"one_hot": one_hot, "distance": self.distance_weight * super().loss(predictions, targets)["distance"]}

    def output_channels(self) -> tuple[OutputChannel, ...]:
        return (*probability_channels(self.classes), *super().output_channels())

    def decode(self, predictions: Mapping[str, Tensor]) -> Tensor:
        import torch

        return torch.cat([predictions["one_hot"].float().sigmoid(), super().decode(predictions)], dim=1)

    def default_grid(self) -> tuple[Segmenter, ...]:
        if self.boundaries == "instance":
            return super().default_grid()
        argmax = (Argmax(quantity="probability", threshold=0.5),) if len(self.classes) > 1 else ()
        thresholds = (Threshold(quantity="probability", threshold=t) for t in (0.4, 0.5, 0.6))
        return (*super().default_grid(), *thresholds, *argmax)
