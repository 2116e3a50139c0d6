"""Masks at any voxel size, against a loop over voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction.inside import check_mask, covered

SHAPES = st.tuples(*[st.integers(1, 5)] * 3)
SIZES = st.tuples(*[st.sampled_from([2.5, 4, 8, 10, 16])] * 3)
OFFSETS = st.tuples(*[st.sampled_from([-20, -4, 0, 3.5, 12])] * 3)


@given(SHAPES, SIZES, OFFSETS, SHAPES, SIZES, OFFSETS, st.integers(0, 9))
@settings(deadline=None, max_examples=150, derandomize=True)
def test_a_voxel_is_covered_where_its_centre_lies_in_a_voxel_of_the_mask(
    shape, voxel_size, offset, mask_shape, mask_voxel_size, mask_offset, seed
):
    data = np.random.default_rng(seed).integers(0, 2, mask_shape, np.uint8)
    mask = MemoryVolume(data, Grid.from_nm(mask_shape, mask_voxel_size, mask_offset))
    grid = Grid.from_nm(shape, voxel_size, offset)
    expected = np.zeros(shape, bool)
    for index in np.ndindex(shape):
        centre = np.array(offset) + (np.array(index) + 0.5) * voxel_size
        place = np.floor((centre - mask_offset) / mask_voxel_size).astype(int)
        if (place >= 0).all() and (place < mask_shape).all():
            expected[index] = data[tuple(place)]
    np.testing.assert_array_equal(covered(mask, grid, (0, 0, 0), shape), expected)
    begin, end = [n // 3 for n in shape], [n // 3 + (n - n // 3) for n in shape]
    part = tuple(map(slice, begin, end))
    np.testing.assert_array_equal(covered(mask, grid, begin, end), expected[part])


def test_a_mask_with_one_channel_is_a_mask():
    data = np.ones((1, 2, 2, 2), bool)
    grid = Grid.from_nm((2, 2, 2), (8, 8, 8))
    check_mask(MemoryVolume(data, grid))
    assert covered(MemoryVolume(data, grid), grid, (0, 0, 0), (2, 2, 2)).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((3, 2, 2, 2), np.uint8), "--mask: memory has 3 channels; a mask has none"),
        (np.zeros((2, 2, 2), np.float32), "--mask: memory is float32; a mask is bool or integer, and 0 outside"),
    ],
)
def test_other_arrays_are_no_masks(data, message):
    with pytest.raises(UserError) as raised:
        check_mask(MemoryVolume(data, Grid.from_nm((2, 2, 2), (8, 8, 8))))
    assert str(raised.value) == message
