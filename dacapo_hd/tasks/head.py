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


class BranchHead(nn.Module):
    """A 1x1x1 convolution for each branch on a level of the last stage (deep supervision), (b, c, z, y, x) each.

    `branches` gives each output's level, 0 being the finest, and its channels. Coarse outputs are repeated (nearest
    neighbour) and cropped onto the voxels of the finest level.
    """

    def __init__(self, stages: Sequence[Sequence[FeatureMap]], branches: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.branches = dict(branches)
        self.scales = [features.scale for features in stages[-1]]
        self.project = nn.ModuleDict(
            {
                name: nn.Conv3d(stages[-1][level].channels, channels, kernel_size=1)
                for name, (level, channels) in branches.items()
            }
        )

    def forward(self, stages: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        levels = stages[-1]
        return {
            name: onto_finest(self.project[name](levels[level]), self.scales[level], levels[0].shape[2:])
            for name, (level, _) in self.branches.items()
        }


def onto_finest(features: Tensor, scale: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Repeat each voxel of a coarse map (b, c, z, y, x) and crop it around its centre to `shape`.

    With valid padding coarse levels reach further out, by an even number of finest voxels.
    """
    if all(factor == 1 for factor in scale):
        return features
    features = nn.functional.interpolate(features, scale_factor=[float(factor) for factor in scale], mode="nearest")
    for axis, size in enumerate(shape, start=2):
        features = features.narrow(axis, (features.shape[axis] - size) // 2, size)
    return features
