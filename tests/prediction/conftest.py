"""A task that only predicts, and random networks for it."""

import numpy as np
import pytest
import torch
from two_ranges import TwoRanges

from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction import Predictor


@pytest.fixture(autouse=True)
def one_thread():
    """Threads make networks as small as these slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
