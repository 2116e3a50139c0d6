"""The head that the tasks share; imported only where a network is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dacapo_hd.architectures.base import FeatureMap


class SplitHead(nn.Module):
    """One 1x1x1 convolution of the features `stages[-1][0]`, split by name: nothing before it is specific to an output.

    `channels` gives each output's channels, (b, c, z, y, x) each; those in `bounded` pass through a tanh, in float32
    because half precision has steps of 0.004 near 1.
    """

    def __init__(
        self, stages: Sequence[Sequence[FeatureMap]], channels: Mapping[str, int], bounded: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.channels = dict(channels)
        self.bounded = frozenset(bounded)
        self.project = nn.Conv3d(stages[-1][0].channels, sum(channels.values()), kernel_size=1)

    def forward(self, stages: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        parts = self.project(stages[-1][0]).split(list(self.channels.values()), dim=1)
        named = zip(self.channels, parts, strict=True)
        return {name: torch.tanh(part.float()) if name in self.bounded else part for name, part in named}
