"""Blocks within a memory budget, and what they read and write."""

from math import prod

import attrs
import numpy as np
import pytest
from test_predict import NETWORKS, every_network
from two_ranges import TwoRanges

from dacapo_hd.architectures import UNet
from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.blockwise import run_directly
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction import Predictor
from dacapo_hd.prediction.function import PredictFunction
from dacapo_hd.prediction.plan import Plan


def plan_of(architecture, shape, memory_bytes, begin=(0, 0, 0), **options):
    grid = Grid.from_nm(shape, (8, 8, 8))
    # never read: the pages of such an array take no memory
    source = MemoryVolume(np.zeros(shape, np.uint8), grid)
    return Plan(architecture, TwoRanges(), source, grid.part(begin, shape).roi, memory_bytes, **options)


@every_network
@pytest.mark.parametrize("memory_bytes", [0.51e9, 0.7e9, 2e9, 8e9])
@pytest.mark.parametrize("begin", [(0, 0, 0), (3, 17, 30)])
def test_no_chunk_of_the_target_is_in_two_blocks(architecture, memory_bytes, begin):
    plan = plan_of(architecture, (200, 900, 1001), memory_bytes, begin)
    grid = plan.grid()
    for axis, chunk in enumerate(plan.chunk_shape_vx(grid)):
        cuts = {grid.block([i if a == axis else 0 for a in range(3)]).begin[axis] for i in range(grid.shape[axis])}
        assert all((cut - begin[axis]) % chunk == 0 for cut in cuts)
        assert chunk <= 128 or grid.length[axis] == chunk


@every_network
def test_more_memory_gives_larger_blocks_within_it(architecture):
    voxels = []
    for memory_bytes in (0.55e9, 1e9, 4e9):
        plan = plan_of(architecture, (400, 900, 900), memory_bytes)
        grid = plan.grid()
        assert plan.worker_bytes(grid) <= memory_bytes
        voxels.append(prod(grid.length))
    assert voxels == sorted(voxels) and voxels[0] < voxels[-1]


@every_network
def test_of_what_was_read_two_blocks_are_kept_but_an_eighth_of_the_memory_at_most(architecture):
    large, small = (plan_of(architecture, (400, 900, 900), memory_bytes) for memory_bytes in (4e9, 0.5002e9))
    source = attrs.evolve(large, source=Chunked(large.source.data, large.source.grid))
    block = source.cut((64, 64, 64))
    shape = source.input_shape_for([64 + 2 * step for step in source.step_vx])
    # in whole chunks of 10 x 20 x 30, of which the first and the last are cut
    most = 2 * prod(-(-n // c) * c + c for n, c in zip(shape, (10, 20, 30), strict=True))
    assert 2 * 64**3 < source.cache_bytes(block) <= most
    assert small.cache_bytes(small.cut((64, 64, 64))) <= 0.2e6 / 8


class Chunked(MemoryVolume):
    chunk_shape_vx = (10, 20, 30)


def test_flips_take_memory():
    without, with_flips = (plan_of(NETWORKS["valid"], (400, 900, 900), 2e9, flips=flips) for flips in (False, True))
    assert with_flips.worker_bytes(without.grid()) > without.worker_bytes(without.grid())


def test_too_little_memory_is_refused():
    plan = plan_of(NETWORKS["valid"], (100, 100, 100), 0.4e9)
    with pytest.raises(UserError) as raised:
        plan.grid()
    assert str(raised.value) == (
        "--memory: 0.4 GB are not enough for this network; its smallest block takes about 0.5 GB"
    )


def test_a_network_with_statistics_of_the_block_gets_the_training_shape():
    architecture = UNet(input_shape_vx=(92, 92, 92), normalization="group", num_fmaps=2, fmap_inc_factor=1)
    grid = plan_of(architecture, (400, 400, 400), 8e9).grid()
    assert grid.length == architecture.output_shape_vx((92, 92, 92))


@every_network
def test_bytes_to_read_and_write_are_those_of_the_blocks(architecture):
    read, written = [], []

    class Counting(MemoryVolume):
        def read(self, roi=None):
            read.append(prod(roi.shape / self.grid.voxel_size))
            return super().read(roi)

        def write(self, roi, data):
            written.append(data.size)

    plan = plan_of(architecture, (6, 45, 70), 8e9, (1, 5, 9))
    source = Counting(plan.source.data, plan.source.grid)
    target = Counting(np.zeros((2, 5, 40, 61), np.uint8), plan.source.grid.part((1, 5, 9), (6, 45, 70)))

    class Free(Predictor):
        """Predicts nothing: only the shapes count."""

        def __call__(self, raw):
            return np.zeros((2, *self.output_shape_vx(raw.shape[1:])), np.float32)

    function = PredictFunction(Free(None, architecture, TwoRanges()), source, target, (0.0, 255.0))
    grid = function.layout(plan.roi).grid((4, 16, 24))
    run_directly(function, grid)
    # a context that is longer than the volume makes a block read less, never more
    assert sum(read) == plan.read_bytes(grid)
    assert sum(written) == plan.write_bytes(grid)
