"""The one-hot baseline: is the class present?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.segmentation import Argmax, Threshold
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.tasks.base import OutputChannel, Target
from dacapo_hd.tasks.parts import one_hot_target, probability_channels
from dacapo_hd.tasks.per_class import PerClassTask

if TYPE_CHECKING:
    from torch import Tensor, nn


@attrs.frozen
class OneHot(PerClassTask):
    """Predict for each class whether it is present; binary cross-entropy on known voxels.

    Source: Hot-Distance (Zouinkhi, Rhoades, Weigel 2024), section 2.1. It learns from sparse annotation, and from
    crops in which only a class that excludes the wanted one is annotated.
    """

    @property
    def context_nm(self) -> float:
        return 0.0

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        return {"one_hot": one_hot_target(labels)}

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module:
        from dacapo_hd.tasks.head import SplitHead

        return SplitHead(stages, {"one_hot": len(self.classes)})

    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        from dacapo_hd.operations.losses import one_hot_loss

        return {"one_hot": one_hot_loss(predictions["one_hot"], *targets["one_hot"], self.balance)}

    def output_channels(self) -> tuple[OutputChannel, ...]:
        return probability_channels(self.classes)

    def decode(self, predictions: Mapping[str, Tensor]) -> Tensor:
        return predictions["one_hot"].float().sigmoid()

    def default_grid(self) -> tuple[Segmenter, ...]:
        argmax = (Argmax(quantity="probability", threshold=0.5),) if len(self.classes) > 1 else ()
        return (*(Threshold(quantity="probability", threshold=t) for t in (0.4, 0.5, 0.6)), *argmax)
