"""A task that only predicts."""

import attrs
import torch

from dacapo_hd.tasks import OutputChannel, Task


class PointwiseHead(torch.nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.last = torch.nn.Conv3d(channels, outputs, 1)

    def forward(self, stages):
        return {"logits": self.last(stages[-1][0])}


@attrs.frozen
class TwoRanges(Task):
    """A probability and a distance per voxel."""

    classes: tuple[str, ...] = ("mito",)
    context_nm = 0.0
    score = "dice"

    def targets(self, labels):
        raise NotImplementedError

    def loss(self, predictions, targets):
        raise NotImplementedError

    def segmenters(self):
        return ()

    def head(self, stages):
        return PointwiseHead(stages[-1][0].channels, 2)

    def output_channels(self):
        return OutputChannel("mito/probability", 0.0, 1.0), OutputChannel("mito/distance", -1.0, 1.0)

    def decode(self, predictions):
        probability, distance = predictions["logits"].split(1, dim=1)
        return torch.cat([probability.sigmoid(), distance.tanh()], dim=1)
