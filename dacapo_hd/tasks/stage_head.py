"""A head that reads its outputs from the stages that an architecture means for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.architectures.unet_modules import centre_crop

BESIDE = "_of_stage_"


class StageHead(nn.Module):
    """A 1x1x1 convolution for each output, of the finest map of the first stage meant for it, else of the last stage.

    A map that is itself the prediction is taken as it is.

    `channels` gives each output's channels, (b, c, z, y, x) each, cropped to the last stage. Outputs in `final` are
    always read from the last stage; earlier stages meant for them give further outputs `NAME_of_stage_N`, to be learnt
    beside (intermediate supervision).
    """

    def __init__(
        self, stages: Sequence[Sequence[FeatureMap]], channels: Mapping[str, int], final: Sequence[str]
    ) -> None:
        super().__init__()
        self.stage_of: dict[str, int] = {}
        for name in channels:
            meant = [number for number, stage in enumerate(stages[:-1]) if name in stage[0].meant_for]
            if name in final:
                self.stage_of |= {f"{name}{BESIDE}{number}": number for number in meant} | {name: len(stages) - 1}
            else:
                self.stage_of[name] = meant[0] if meant else len(stages) - 1
        self.project = nn.ModuleDict(
            {name: _projection(stages[number][0], channels[output_of(name)]) for name, number in self.stage_of.items()}
        )

    def forward(self, stages: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        shape = stages[-1][0].shape[2:]
        return {
            name: self.project[name](centre_crop(stages[number][0], shape)) for name, number in self.stage_of.items()
        }


def _projection(maps: FeatureMap, channels: int) -> nn.Module:
    return nn.Identity() if maps.is_prediction else nn.Conv3d(maps.channels, channels, kernel_size=1)


def output_of(name: str) -> str:
    """Return the output that a prediction is of, whatever stage it was read from."""
    return name.partition(BESIDE)[0]
