"""A task that only predicts, and random networks for it."""

import attrs
import numpy as np
import pytest
import torch

from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction import Predictor
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


@pytest.fixture
def task():
    return TwoRanges()


@pytest.fixture
def make_predictor():
    def make(architecture, seed=0):
        torch.manual_seed(seed)
        task = TwoRanges()
        return Predictor(Network(architecture, task), architecture, task)

    return make


@pytest.fixture
def make_raw():
    def make(shape, voxel_size_nm=(8, 8, 8), offset_nm=(0, 0, 0), seed=0):
        data = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
        return MemoryVolume(data, Grid.from_nm(shape[-3:], voxel_size_nm, offset_nm))

    return make
