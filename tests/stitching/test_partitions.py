"""Partitions of affinities in many blocks next to those of one."""

from __future__ import annotations

import numpy as np
import pytest
from affinity_parts import affinity_prediction, tubes
from skimage.metrics import adapted_rand_error
from stitching_parts import stitched

from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction.stored import ATTRIBUTE, read_prediction
from dacapo_hd.segmentation import MutexWatershed, SuperpixelAgglomeration
from dacapo_hd.stitching import segment_volume

SHAPE = (16, 64, 72)


def stored(labels, noise=0.2):
    prediction = affinity_prediction(labels, noise, name="mito")
    channels = [{"name": name, "low": 0.0, "high": 1.0} for name in prediction.channels]
    data = np.rint(prediction.data * 255).astype(np.uint8)
    return MemoryVolume(data, Grid.from_nm(SHAPE, prediction.voxel_size_nm), "prediction", {ATTRIBUTE: channels})


def error(found, truth):
    return adapted_rand_error(truth, found, ignore_labels=())[0]


@pytest.mark.parametrize("segmenter", [MutexWatershed(halo_vx=10), SuperpixelAgglomeration(halo_vx=10)])
def test_blocks_with_a_halo_are_nearly_as_good_as_one(segmenter):
    truth = tubes(SHAPE, 6, 3)
    prediction = stored(truth)
    whole = segmenter.segment(read_prediction(prediction)).labels["mito"]
    found, _ = stitched(prediction, segmenter, (16, 32, 36))
    assert error(found, truth) < error(whole, truth) + 0.05
    assert error(found, whole) < 0.1
    alone, _ = stitched(prediction, segmenter, SHAPE)
    np.testing.assert_array_equal(alone, whole)


@pytest.mark.parametrize("segmenter", [MutexWatershed(), SuperpixelAgglomeration()])
def test_outside_of_the_mask_is_background(segmenter):
    prediction = stored(tubes(SHAPE, 8, 4))
    inside = np.zeros(SHAPE, np.uint8)
    inside[:, 10:, :40] = 1
    mask = MemoryVolume(inside, prediction.grid)
    found, _ = stitched(prediction, segmenter, (16, 32, 72), mask)
    assert (found[inside == 0] == 0).all()
    assert (found[inside == 1] > 0).mean() > 0.9


def test_offsets_larger_than_a_block_are_an_error(tmp_path):
    prediction = stored(tubes(SHAPE, 8, 4))
    with pytest.raises(UserError) as raised:
        segment_volume(
            prediction,
            MutexWatershed(halo_vx=1),
            tmp_path / "out",
            tmp_path / "record",
            block_shape_vx=(4, 4, 4),
            chunk_shape_vx=(4, 4, 4),
        )
    assert raised.value.problems == (
        "mutex_watershed(affinity > 0.5, long range 0.1, size >= 200): compares voxels that are 8 apart along y, but a "
        "block of 4 with a halo of 1 does not hold such pairs; choose larger blocks (more --memory), or a larger "
        "halo_vx",
    )


def test_a_volume_without_any_block_border_may_be_smaller_than_an_offset(tmp_path):
    prediction = stored(tubes(SHAPE, 8, 4))
    grid = Grid.from_nm((16, 6, 6), (8.0, 8.0, 8.0))
    small = MemoryVolume(prediction.data[:, :, :6, :6], grid, "p", prediction.attributes)
    (path,) = segment_volume(small, MutexWatershed(min_size_vx=10), tmp_path / "out", tmp_path / "record")
    assert path.exists()
