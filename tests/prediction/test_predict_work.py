"""Prediction through the engine: flips, masks, empty blocks, worker processes."""

from itertools import product

import attrs
import numpy as np
import pytest
import torch
from test_predict import NETWORKS, RANGE, every_network, memory_target
from two_ranges import TwoRanges

from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import MemoryVolume, create_volume
from dacapo_hd.blockwise import BlocksFailedError, BrokenWorkerError, Local, run_blocks, run_directly
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction import Predictor, create_prediction, predict_in_memory, read_prediction
from dacapo_hd.prediction.flips import flipped_axes
from dacapo_hd.prediction.function import PredictFunction
from dacapo_hd.prediction.plan import Plan
from dacapo_hd.prediction.work import PredictorLoader, PredictWork
from dacapo_hd.tasks import OutputChannel


@attrs.frozen
class Seeded(PredictorLoader):
    """A random network, made anew in each worker."""

    name: str
    seed: int = 0

    def identity(self):
        return {"name": self.name, "seed": self.seed}

    def load(self):
        torch.manual_seed(self.seed)
        architecture, task = NETWORKS[self.name], TwoRanges()
        return Predictor(Network(architecture, task), architecture, task)


def whole(predictor, raw, **options):
    """Predict a volume as one block."""
    target = memory_target(raw.grid)
    function = PredictFunction(predictor, raw, target, RANGE, **options)
    run_directly(function, function.layout(raw.grid.roi).grid(raw.grid.shape_vx))
    return target.data


@every_network
def test_flips_give_the_mean_over_predictions_of_the_mirrored_volume(architecture, make_predictor, make_raw):
    # a multiple of every network's step, so that the mirrored volume is downsampled on the mirrored grid
    predictor, raw = make_predictor(architecture), make_raw((6, 24, 36))
    expected = []
    for flips in product((False, True), repeat=3):
        axes = tuple(axis for axis, flipped in enumerate(flips) if flipped)
        mirrored = MemoryVolume(np.flip(raw.data, axes).copy(), raw.grid)
        found = predict_in_memory(predictor, mirrored, raw.grid, RANGE).data
        expected.append(np.flip(found, [axis + 1 for axis in axes]))
    np.testing.assert_allclose(whole(predictor, raw, flips=True), np.mean(expected, axis=0), atol=1e-5)
    assert not np.allclose(expected[0], expected[-1], atol=1e-3)


@pytest.mark.parametrize("name", ["same", "anisotropic", "2d"])
def test_flips_do_not_depend_on_the_blocks(name, make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS[name]), make_raw((6, 14, 18))
    target = memory_target(raw.grid)
    function = PredictFunction(predictor, raw, target, RANGE, flips=True)
    run_directly(function, function.layout(raw.grid.roi).grid((3, 7, 12)))
    np.testing.assert_allclose(target.data, whole(predictor, raw, flips=True), atol=1e-5)


def test_only_axes_that_the_network_looks_along_are_flipped(make_predictor):
    assert len(flipped_axes(make_predictor(NETWORKS["valid"]))) == 8
    assert flipped_axes(make_predictor(NETWORKS["2d"])) == ((), (3,), (2,), (2, 3))


def test_directed_predictions_are_not_flipped():
    class Affinities(TwoRanges):
        def output_channels(self):
            return OutputChannel("mito/probability", 0.0, 1.0), OutputChannel("mito/affinity_z", 0.0, 1.0)

    architecture, task = NETWORKS["valid"], Affinities()
    with pytest.raises(UserError) as raised:
        flipped_axes(Predictor(Network(architecture, task), architecture, task))
    assert str(raised.value) == (
        "--flips: mito/affinity_z cannot be averaged over mirrored copies; only probability and distance can"
    )


def test_empty_blocks_are_left_as_they_are_when_asked(make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS["valid"]), make_raw((8, 8, 40))
    raw.data[:, :, 14:] = 77
    expected = whole(predictor, raw)
    target = memory_target(raw.grid)
    function = PredictFunction(predictor, raw, target, RANGE, skip_empty=True)
    run_directly(function, function.layout(raw.grid.roi).grid((8, 8, 8)))
    skipped = np.isnan(target.data).all(axis=(0, 1, 2))
    # the context of the block from 16 on reaches into the data before 14
    assert np.flatnonzero(skipped).tolist() == list(range(24, 40))
    np.testing.assert_allclose(target.data[..., ~skipped], expected[..., ~skipped], atol=1e-5)


@pytest.mark.parametrize("name", ["valid", "2d"])
def test_only_the_mask_is_predicted(name, make_predictor, make_raw, tmp_path):
    predictor, raw = make_predictor(NETWORKS[name]), make_raw((8, 16, 16))
    grid = raw.grid
    mask = np.zeros((4, 8, 8), np.uint8)
    mask[1, 2:7, 1:3] = 3
    inside = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2) > 0
    target = create_prediction(str(tmp_path / "p"), grid, predictor.task)
    options = {"mask": MemoryVolume(mask, Grid.from_nm((4, 8, 8), (16, 16, 16)))}
    function = PredictFunction(predictor, raw, target, RANGE, **options)
    computed = []

    class Counting(PredictFunction):
        def compute(self, block, data):
            computed.append(block.begin)
            return super().compute(block, data)

    counting = Counting(predictor, raw, target, RANGE, **options)
    run_directly(counting, function.layout(grid.roi).grid((8, 8, 8)))
    everything = create_prediction(str(tmp_path / "all"), grid, predictor.task)
    run_directly(PredictFunction(predictor, raw, everything, RANGE), function.layout(grid.roi).grid((8, 8, 8)))
    found, expected = target.read(), everything.read()
    assert (found[:, ~inside] == 0).all()
    np.testing.assert_array_equal(found[:, inside], expected[:, inside])
    assert expected[:, ~inside].any()
    assert sorted(set(computed)) == [(0, 0, 0), (0, 8, 0)]


@pytest.fixture
def stored(tmp_path, make_raw):
    """A source on disk and a prediction of a part of it to be filled."""
    raw = make_raw((20, 30, 25))
    source = create_volume(tmp_path / "raw.zarr", raw.grid, np.uint8, chunk_shape_vx=(8, 8, 8))
    source.write(raw.grid.roi, raw.data)
    return source


@pytest.mark.parametrize("workers", [1, 2])
def test_the_engine_predicts_what_memory_does(workers, stored, tmp_path, make_predictor):
    grid = stored.grid.part((1, 2, 3), (19, 30, 20))
    target = create_prediction(str(tmp_path / "p.zarr"), grid, TwoRanges())
    plan = Plan(NETWORKS["valid"], TwoRanges(), stored, grid.roi, 0.6e9)
    work = PredictWork(Seeded("valid"), stored, target, RANGE)
    blocks = plan.cut((8, 8, 8))
    run_blocks(work, blocks, tmp_path / "record", Local(workers))
    exact = predict_in_memory(make_predictor(NETWORKS["valid"]), stored, grid, RANGE)
    half_levels = np.array([1 / 510, 2 / 510])[:, None, None, None]
    assert (abs(read_prediction(target).data - exact.data) <= half_levels + 1e-6).all()


def test_what_two_blocks_share_is_read_once(stored, tmp_path):
    target = create_prediction(str(tmp_path / "p.zarr"), stored.grid, TwoRanges())
    blocks = Plan(NETWORKS["valid"], TwoRanges(), stored, stored.grid.roi, 2e9).cut((20, 30, 8))
    caching, reading = (
        PredictWork(Seeded("valid"), stored, target, RANGE, cache_bytes=size).open() for size in (10**6, 0)
    )
    first, second = blocks.numbered(0), blocks.numbered(1)
    expected = reading.read(second)[0]
    caching.read(first), caching.read(second)
    for file in (tmp_path / "raw.zarr" / "s0").rglob("[0-9]*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    np.testing.assert_array_equal(caching.read(second)[0], expected)
    with pytest.raises(UserError, match="cannot read"):
        reading.read(second)


def test_another_network_or_option_is_refused(stored, tmp_path):
    target = create_prediction(str(tmp_path / "p.zarr"), stored.grid, TwoRanges())
    blocks = Plan(NETWORKS["valid"], TwoRanges(), stored, stored.grid.roi, 2e9).grid()
    run_blocks(PredictWork(Seeded("valid"), stored, target, RANGE), blocks, tmp_path / "record")
    for other, message in [
        (PredictWork(Seeded("valid", 1), stored, target, RANGE), "network.seed was 0, is 1"),
        (PredictWork(Seeded("valid"), stored, target, RANGE, flips=True), "flips was false, is true"),
        (PredictWork(Seeded("valid"), stored, target, (0.0, 1.0)), r"intensity_range was \[0.0, 255.0\], is \[0.0, 1"),
    ]:
        with pytest.raises(UserError, match=message):
            run_blocks(other, blocks, tmp_path / "record")


def test_bad_raw_data_fails_its_blocks_alone(tmp_path, make_raw, stored):
    data = stored.read().astype(np.float32)
    data[0, 0, 0] = np.nan
    source = MemoryVolume(data, stored.grid, "raw.zarr")
    target = create_prediction(str(tmp_path / "p.zarr"), stored.grid, TwoRanges())
    blocks = Plan(NETWORKS["valid"], TwoRanges(), source, stored.grid.roi, 2e9).cut((10, 10, 30))
    with pytest.raises(BlocksFailedError) as raised:
        run_blocks(PredictWork(Seeded("valid"), source, target, RANGE), blocks, tmp_path / "record")
    assert raised.value.problems[1] == (
        "block 0 (voxels 0:10,0:10,0:25): raw.zarr: raw is NaN or infinite in or around voxels 0:10,0:10,0:25; replace "
        f"these values, for example by 0; traceback in {tmp_path / 'record' / 'errors' / 'block-0.txt'}"
    )
    assert len(raised.value.problems) == 2


class Raising(torch.nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, image):
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
            UserError,
            "a block with an input of 16 x 16 x 16 voxels needs more memory than there is; give less --memory",
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
            UserError,
            "a block with an input of 16 x 16 x 16 voxels needs more memory than there is; give less --memory",
        ),
        (
            RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might"),
            BrokenWorkerError,
            "CUDA error: an illegal memory access was encountered",
        ),
        (RuntimeError("size mismatch"), RuntimeError, "size mismatch"),
    ],
)
def test_what_the_device_says_is_worded(error, expected, message, make_raw):
    raw, architecture = make_raw((8, 8, 8)), NETWORKS["valid"]
    predictor = Predictor(Raising(error), architecture, TwoRanges())
    function = PredictFunction(predictor, raw, memory_target(raw.grid), RANGE)
    block = function.layout(raw.grid.roi).grid((8, 8, 8)).numbered(0)
    with pytest.raises(expected) as raised:
        function.compute(block, (np.zeros((1, 16, 16, 16), np.float32), None))
    assert str(raised.value) == message
