"""Quantised predictions."""

import numpy as np
import pytest

from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction import create_prediction, read_prediction
from dacapo_hd.prediction.stored import dequantise, quantise
from dacapo_hd.tasks import OutputChannel

CHANNELS = (
    OutputChannel("a/probability", 0.0, 1.0),
    OutputChannel("a/distance", -3.0, 5.0, uncertainty=True),
)


def test_quantisation_errs_by_at_most_half_a_level():
    unit = np.random.default_rng(0).random((2, 5, 6, 7), dtype=np.float32)
    unit[:, 0, 0, :2] = 0, 1
    values = np.stack([unit[0], unit[1] * 8 - 3])
    found = dequantise(quantise(values, CHANNELS), CHANNELS)
    assert abs(found[0] - values[0]).max() <= 1 / 510 + 1e-6
    assert abs(found[1] - values[1]).max() <= 8 / 510 + 1e-6
    np.testing.assert_allclose(found[:, 0, 0, :2], values[:, 0, 0, :2], atol=1e-6)


def test_quantisation_clips_and_keeps_what_it_is_given():
    values = np.array([[-0.5, 1.5], [-4.0, 9.0]], np.float32).reshape(2, 1, 1, 2)
    before = values.copy()
    assert quantise(values, CHANNELS).ravel().tolist() == [0, 255, 0, 255]
    np.testing.assert_array_equal(values, before)


def test_every_level_survives():
    levels = np.tile(np.arange(256, dtype=np.uint8), (2, 1)).reshape(2, 1, 1, 256)
    np.testing.assert_array_equal(quantise(dequantise(levels, CHANNELS), CHANNELS), levels)


def test_created_prediction_is_uint8_and_names_its_channels(tmp_path, task):
    volume = create_prediction(str(tmp_path / "p.zarr"), Grid.from_nm((4, 5, 6), (4.6, 8, 8), (2.5, 0, 0)), task)
    assert (volume.dtype, volume.channels, volume.grid.shape_vx) == (np.uint8, 2, (4, 5, 6))
    assert volume.attributes["channel_names"] == ["mito/probability", "mito/distance"]
    assert read_prediction(volume).data.min() == -1.0


def test_existing_prediction_is_kept_unless_overwritten(tmp_path, task):
    grid = Grid.from_nm((4, 4, 4), (8, 8, 8))
    volume = create_prediction(str(tmp_path / "p.zarr"), grid, task)
    volume.write(grid.roi, np.full((2, 4, 4, 4), 255, np.uint8))
    with pytest.raises(UserError):
        create_prediction(str(tmp_path / "p.zarr"), grid, task)
    assert read_prediction(volume).data.min() == 1.0
    assert read_prediction(create_prediction(str(tmp_path / "p.zarr"), grid, task, overwrite=True)).data.min() == -1.0


def test_other_volumes_are_no_predictions():
    volume = MemoryVolume(np.zeros((1, 2, 2, 2), np.uint8), Grid.from_nm((2, 2, 2), (8, 8, 8)))
    with pytest.raises(UserError) as raised:
        read_prediction(volume)
    assert str(raised.value) == (
        "memory: not a prediction of dacapo_hd (no attribute 'dacapo_hd_channels'); make one with dacapo-hd apply"
    )
