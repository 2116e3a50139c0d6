"""Blockwise prediction against the network applied at once."""

import importlib

import numpy as np
import pytest
import torch

from dacapo_hd.architectures import UNet, WNet
from dacapo_hd.architectures.sizes import bytes_per_input_voxel
from dacapo_hd.arrays import MemoryVolume, create_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction import create_prediction, predict, predict_in_memory, read_prediction

RANGE = (0.0, 255.0)
SMALL = {"num_fmaps": 2, "fmap_inc_factor": 1}
ONE_LEVEL = {
    "downsample_factors": ((2, 2, 2),),
    "kernel_sizes_down": (((3, 3, 3),),) * 2,
    "kernel_sizes_up": (((3, 3, 3),),),
}
ANISOTROPIC = {
    "downsample_factors": ((1, 3, 3), (2, 2, 2)),
    "kernel_sizes_down": (((1, 3, 3),), ((1, 3, 3),), ((3, 3, 3),)),
    "kernel_sizes_up": (((1, 3, 3),), ((1, 3, 3),)),
}
NETWORKS = {
    "valid": UNet(input_shape_vx=(16, 16, 16), **SMALL, **ONE_LEVEL),
    "same": UNet(input_shape_vx=(16, 16, 16), padding="same", residual=True, **SMALL, **ONE_LEVEL),
    "nearest": UNet(input_shape_vx=(16, 16, 16), upsampling="nearest", normalization="batch", **SMALL, **ONE_LEVEL),
    "anisotropic": UNet(input_shape_vx=(8, 44, 44), **SMALL, **ANISOTROPIC),
    "2d": UNet(input_shape_vx=(1, 44, 44), dims=2, **SMALL),
    "2d same": UNet(input_shape_vx=(1, 32, 32), dims=2, padding="same", **SMALL),
}
every_network = pytest.mark.parametrize("architecture", NETWORKS.values(), ids=NETWORKS.keys())


def memory_target(grid, channels=2):
    return MemoryVolume(np.full((channels, *grid.shape_vx), np.nan, np.float32), grid)


def at_once(predictor, raw):
    """Reflect everything that the network could want around the volume, and predict it in one pass."""
    step = np.array(predictor.step_vx)
    output = -(-np.array(raw.grid.shape_vx) // step) * step
    size = np.array(predictor.input_shape_for(output))
    before = (size - np.array(predictor.output_shape_vx(size))) // 2
    after = size - before - raw.grid.shape_vx
    image = np.pad(raw.data.astype(np.float32) / 127.5 - 1, list(zip(before, after, strict=True)), mode="reflect")
    z, y, x = raw.grid.shape_vx
    return predictor(image[np.newaxis])[:, :z, :y, :x]


@every_network
@pytest.mark.parametrize("block_shape", [(4, 6, 12), (7, 5, 64), (3, 2, 13)])
def test_blocks_give_what_the_whole_volume_gives(architecture, block_shape, make_predictor, make_raw):
    predictor, raw = make_predictor(architecture), make_raw((5, 11, 26))
    target = memory_target(raw.grid)
    predict(predictor, raw, target, raw.grid.roi, RANGE, block_shape)
    np.testing.assert_allclose(target.data, at_once(predictor, raw), atol=1e-5)


@every_network
def test_values_depend_neither_on_the_roi_nor_on_its_blocks(architecture, make_predictor, make_raw):
    predictor, raw = make_predictor(architecture), make_raw((6, 20, 22), (4.6, 9.8, 2.5), (-2.5, 4.9, 1000.1))
    whole = predict_in_memory(predictor, raw, raw.grid, RANGE)
    part = raw.grid.part((3, 5, 7), (6, 18, 22))
    target = memory_target(part)
    predict(predictor, raw, target, part.roi, RANGE, (3, 7, 8))
    np.testing.assert_allclose(target.data, whole.data[:, 3:6, 5:18, 7:22], atol=1e-5)


def test_a_target_larger_than_the_roi_is_written_inside_it_only(make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS["valid"]), make_raw((12, 12, 12))
    target = memory_target(raw.grid)
    predict(predictor, raw, target, raw.grid.part((2, 3, 4), (5, 7, 9)).roi, RANGE)
    written = np.isfinite(target.data[0])
    assert written.sum() == 3 * 4 * 5 and written[2:5, 3:7, 4:9].all()


@every_network
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (2, 7, 50)])
def test_volumes_smaller_than_the_network(architecture, shape, make_predictor, make_raw):
    predictor, raw = make_predictor(architecture), make_raw(shape)
    prediction = predict_in_memory(predictor, raw, raw.grid, RANGE)
    assert prediction.channels == ("mito/probability", "mito/distance")
    np.testing.assert_allclose(prediction.data, at_once(predictor, raw), atol=1e-5)


def test_channels_of_the_source_reach_the_network(make_predictor, make_raw):
    architecture = UNet(input_shape_vx=(16, 16, 16), in_channels=2, **SMALL, **ONE_LEVEL)
    predictor, raw = make_predictor(architecture), make_raw((2, 8, 8, 8))
    both = predict_in_memory(predictor, raw, raw.grid, RANGE).data
    swapped = MemoryVolume(raw.data[::-1], raw.grid)
    assert not np.allclose(both, predict_in_memory(predictor, swapped, raw.grid, RANGE).data)


def test_a_training_network_is_used_in_evaluation_and_left_training(make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS["nearest"]), make_raw((8, 8, 8))
    expected = predict_in_memory(predictor, raw, raw.grid, RANGE).data
    predictor.network.train()
    np.testing.assert_array_equal(predict_in_memory(predictor, raw, raw.grid, RANGE).data, expected)
    assert predictor.network.training


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_from_disk_to_disk_within_half_a_level(tmp_path, zarr_format, task, make_predictor, make_raw):
    raw = make_raw((20, 30, 25), (4.6, 9.8, 9.8), (2.5, 0, 0))
    source = create_volume(tmp_path / "raw.zarr", raw.grid, np.uint8, chunk_shape_vx=(8, 8, 8), zarr_format=zarr_format)
    source.write(raw.grid.roi, raw.data)
    grid = raw.grid.part((1, 2, 3), (19, 30, 20))
    stored = create_prediction(str(tmp_path / "out.zarr" / "prediction"), grid, task, attributes={"run": "mito"})
    done = []
    predictor = make_predictor(NETWORKS["valid"])
    predict(predictor, source, stored, grid.roi, RANGE, (8, 8, 8), progress=lambda *state: done.append(state))
    exact = predict_in_memory(predictor, raw, grid, RANGE)
    part = grid.part((0, 5, 5), (9, 20, 17))
    found = read_prediction(stored, part.roi)
    assert done == [(n + 1, len(done)) for n in range(len(done))] and len(done) == 3 * 4 * 3
    assert found.channels == exact.channels and found.voxel_size_nm == (4.6, 9.8, 9.8)
    assert stored.attributes["run"] == "mito"
    half_levels = np.array([1 / 510, 2 / 510])[:, None, None, None]
    assert (abs(found.data - exact.data[:, 0:9, 5:20, 5:17]) <= half_levels + 1e-6).all()


def test_blocks_fill_the_memory_that_is_given(make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS["valid"]), make_raw((40, 40, 40))
    shapes = []

    class Counting(MemoryVolume):
        def write(self, roi, data):
            shapes.append(data.shape[1:])
            super().write(roi, data)

    per_voxel = bytes_per_input_voxel(predictor.architecture, predictor.task)
    for memory, blocks in [(per_voxel * 48**3, 1), (per_voxel * 47 * 48**2, 2), (per_voxel * 28**3, 8)]:
        shapes.clear()
        target = Counting(np.empty((2, 40, 40, 40), np.float32), raw.grid)
        predict(predictor, raw, target, raw.grid.roi, RANGE, memory_bytes=memory)
        assert len(shapes) == blocks


def test_networks_with_statistics_of_the_block_get_the_training_shape(make_predictor, make_raw):
    architecture = UNet(input_shape_vx=(20, 20, 20), normalization="group", **SMALL, **ONE_LEVEL)
    predictor, raw = make_predictor(architecture), make_raw((20, 20, 20))
    found = predict_in_memory(predictor, raw, raw.grid, RANGE).data
    blocks = memory_target(raw.grid)
    predict(predictor, raw, blocks, raw.grid.roi, RANGE, architecture.output_shape_vx((20, 20, 20)))
    np.testing.assert_array_equal(found, blocks.data)


class FailingVolume(MemoryVolume):
    """Fails at the given read or write."""

    fail_at = 3
    calls = 0

    def _count(self):
        type(self).calls += 1
        if self.calls == self.fail_at:
            raise UserError("raw.zarr: cannot read: chunk 3 is damaged")

    def read(self, roi=None):
        self._count()
        return super().read(roi)

    def write(self, roi, data):
        self._count()
        super().write(roi, data)


@pytest.fixture
def of_the_block():
    """A network whose output depends on its input's shape and place, and that sees further than that."""
    return WNet(
        input_shape_vx=(1, 64, 64),
        dims=2,
        padding="same",
        num_fmaps=2,
        downsample_factors=((1, 2, 2), (1, 2, 2)),
        intermediate="coordinates",
    )


def test_a_network_of_the_block_that_sees_further_than_its_input_keeps_a_part_of_it(
    of_the_block, make_predictor, make_raw
):
    assert 2 * of_the_block.context_vx[1] > 64
    predictor = make_predictor(of_the_block)
    assert predictor.output_shape_vx((1, 64, 64)) == (1, 16, 16)
    shapes = []
    predictor.network.register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape[2:])))
    raw = make_raw((1, 48, 32))
    predict_in_memory(predictor, raw, raw.grid, RANGE)
    assert set(shapes) == {(1, 64, 64)} and len(shapes) == 3 * 2


def test_a_network_of_the_block_gets_the_input_of_its_training_for_a_shorter_block(
    of_the_block, make_predictor, make_raw
):
    predictor, raw = make_predictor(of_the_block), make_raw((1, 45, 13))
    found = predict_in_memory(predictor, raw, raw.grid.part((0, 2, 0), (1, 45, 13)), RANGE).data
    # 24 voxels of context and no block longer than 16: these windows, the last moved into the volume, as 13 < 16 cannot
    image = np.pad(raw.data.astype(np.float32) / 127.5 - 1, [(0, 0), (24, 24), (24, 27)], mode="reflect")
    windows = {first: predictor(image[None, :, first : first + 64]) for first in (2, 16, 29)}
    expected = np.concatenate([windows[2][:, :, :14], windows[16], windows[29][:, :, 3:]], axis=2)[..., :13]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_blocks_that_would_be_nearly_all_context_may_take_more_memory(make_predictor, make_raw, monkeypatch):
    predictor, raw = make_predictor(NETWORKS["same"]), make_raw((16, 40, 40))
    voxels = []
    predictor.network.register_forward_pre_hook(lambda module, inputs: voxels.append(inputs[0].numel()))
    little = 16**3 * predictor.bytes_per_input_voxel
    target = memory_target(raw.grid)
    predict(predictor, raw, target, raw.grid.roi, RANGE, memory_bytes=little)
    assert max(voxels) <= 16**3 and sum(voxels) > 8 * 16 * 40 * 40
    voxels.clear()
    monkeypatch.setattr(importlib.import_module("dacapo_hd.prediction.predict"), "MEMORY_BYTES", little)
    more = memory_target(raw.grid)
    predict(predictor, raw, more, raw.grid.roi, RANGE)
    assert max(voxels) > 16**3 and sum(voxels) <= 8 * 16 * 40 * 40
    np.testing.assert_allclose(more.data, target.data, atol=1e-5)


def test_a_failing_read_or_write_stops_the_prediction(make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS["valid"]), make_raw((16, 16, 16))
    for source, target in [
        (FailingVolume(raw.data, raw.grid), memory_target(raw.grid)),
        (raw, FailingVolume(np.zeros((2, 16, 16, 16), np.float32), raw.grid)),
    ]:
        FailingVolume.calls, done = 0, []
        with pytest.raises(UserError, match="chunk 3 is damaged"):
            predict(
                predictor,
                source,
                target,
                raw.grid.roi,
                RANGE,
                (8, 8, 8),
                progress=lambda n, _, done=done: done.append(n),
            )
        assert max(done, default=0) < 3


def grid_of(shape, voxel_size_nm=(8, 8, 8), offset_nm=(0, 0, 0)):
    return Grid.from_nm(shape, voxel_size_nm, offset_nm)


@pytest.mark.parametrize(
    ("target", "roi", "message"),
    [
        (
            memory_target(grid_of((8, 8, 8), (4, 4, 4))),
            grid_of((8, 8, 8)).roi,
            "memory: voxel size (4.0, 4.0, 4.0) nm, but memory has (8.0, 8.0, 8.0) nm; they must be equal",
        ),
        (
            memory_target(grid_of((8, 8, 8))),
            grid_of((8, 8, 9), offset_nm=(0, -8, 0)).roi,
            "memory: ROI 0:8,-1:7,0:9 is not inside the volume of shape (8, 8, 8) voxels",
        ),
        (
            memory_target(grid_of((8, 8, 8))),
            grid_of((4, 4, 4), offset_nm=(0, 0, 2.5)).roi,
            "memory: the ROI begins at (0.0, 0.0, 2.5) nm and cuts voxels of (8.0, 8.0, 8.0) nm",
        ),
        (
            memory_target(grid_of((8, 8, 8)), channels=3),
            grid_of((8, 8, 8)).roi,
            "memory: must be uint8 or float32 with 2 channels, got float32 with 3",
        ),
    ],
)
def test_volumes_that_do_not_fit_are_refused(target, roi, message, make_predictor, make_raw):
    with pytest.raises(UserError) as raised:
        predict(make_predictor(NETWORKS["valid"]), make_raw((8, 8, 8)), target, roi, RANGE)
    assert str(raised.value) == message


def test_source_with_other_channels_is_refused(make_predictor, make_raw):
    raw = make_raw((3, 8, 8, 8))
    with pytest.raises(UserError) as raised:
        predict_in_memory(make_predictor(NETWORKS["valid"]), raw, raw.grid, RANGE)
    assert str(raised.value) == "memory: 3 channels, but the network takes 1"


def test_raw_and_predictions_must_be_finite(make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS["valid"]), make_raw((8, 8, 8))
    data = raw.data.astype(np.float32)
    data[3, 3, 3] = np.nan
    with pytest.raises(UserError) as raised:
        predict_in_memory(predictor, MemoryVolume(data, raw.grid), raw.grid, RANGE)
    assert str(raised.value) == (
        "memory: raw is NaN or infinite in or around voxels 0:8,0:8,0:8; replace these values, for example by 0"
    )
    with torch.no_grad():
        next(predictor.network.parameters()).fill_(torch.nan)
    with pytest.raises(UserError) as raised:
        predict_in_memory(predictor, raw, raw.grid, RANGE)
    assert str(raised.value) == (
        "memory: the network predicts NaN or infinity in voxels 0:8,0:8,0:8; its weights are broken"
    )


def test_float_intensities_are_normalised_as_in_training(make_predictor, make_raw):
    predictor, raw = make_predictor(NETWORKS["valid"]), make_raw((8, 8, 8))
    floats = MemoryVolume(raw.data.astype(np.float32) * 10 - 100, raw.grid)
    np.testing.assert_allclose(
        predict_in_memory(predictor, floats, raw.grid, (-100.0, 2450.0)).data,
        predict_in_memory(predictor, raw, raw.grid, RANGE).data,
        atol=1e-5,
    )


@pytest.fixture
def greedy_predictor(make_predictor):
    """Make a predictor whose network really asks for more memory than there is, for inputs of more voxels."""

    def make(most_voxels):
        predictor = make_predictor(NETWORKS["valid"])

        def ask(module, inputs):
            if inputs[0].numel() > most_voxels:
                torch.empty(2**50)

        predictor.network.register_forward_pre_hook(ask)
        return predictor

    return make


def test_blocks_that_do_not_fit_into_the_memory_are_halved(greedy_predictor, make_raw, caplog):
    raw = make_raw((12, 24, 24))
    least = np.prod(greedy_predictor(0).input_shape_for((2, 2, 2)))
    expected = at_once(greedy_predictor(2**40), raw)
    found = predict_in_memory(greedy_predictor(4 * least), raw, raw.grid, RANGE)
    np.testing.assert_allclose(found.data, expected, atol=1e-5)
    first = caplog.messages[0]
    assert first.startswith("blocks of 12 x 24 x 24 voxels do not fit into the memory of cpu; going on with ")


def test_a_network_that_does_not_fit_at_all(greedy_predictor, make_raw):
    raw = make_raw((4, 4, 4))
    with pytest.raises(UserError, match=r"does not fit into the memory of cpu, and there is no smaller one; use "):
        predict_in_memory(greedy_predictor(0), raw, raw.grid, RANGE)
