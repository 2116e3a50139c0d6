"""Connected components do not depend on the blocks: bytes equal those of one block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stitching_parts import (
    checkerboard,
    corners,
    in_one_block,
    noise,
    prediction_of,
    shells,
    smooth,
    stitched,
    winding,
)

from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.segmentation import ConnectedComponents

checked = settings(max_examples=150, deadline=None, derandomize=True)
shapes = st.tuples(*[st.integers(1, 9)] * 3)
connectivities = st.sampled_from([6, 18, 26])


@st.composite
def volumes(draw: st.DrawFn, largest: int = 9) -> np.ndarray:
    """Draw noise, blobs, lines that wind, boxes in boxes, and voxels that touch by edges or corners."""
    shape = draw(st.tuples(*[st.integers(1, largest)] * 3))
    kind = draw(st.sampled_from(["noise", "smooth", "winding", "shells", "checkerboard", "corners"]))
    seed = draw(st.integers(0, 2**32))
    if kind == "noise":
        return noise(shape, seed, draw(st.sampled_from([-0.6, -0.4, 0.0, 0.4])))
    if kind == "smooth":
        return smooth(shape, seed, 1.0)
    values = {"winding": winding, "shells": shells, "checkerboard": checkerboard, "corners": corners}[kind](shape)
    some = np.random.default_rng(seed).random(shape) < draw(st.sampled_from([0.0, 0.05, 0.2]))
    return np.where(some, -values, values)


@checked
@given(volumes(), shapes, connectivities, st.integers(0, 12), st.booleans())
def test_any_blocks_give_the_bytes_of_one_block(distance, block_shape, connectivity, size, fill):
    prediction = prediction_of(distance)
    segmenter = ConnectedComponents("distance", 0.0, connectivity, size, fill)
    found, _ = stitched(prediction, segmenter, block_shape)
    expected = in_one_block(prediction, segmenter)
    assert found.dtype == expected.dtype == np.uint32
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(volumes(5), connectivities, st.booleans())
def test_blocks_of_one_voxel_do_too(distance, connectivity, fill):
    prediction = prediction_of(distance)
    segmenter = ConnectedComponents("distance", 0.0, connectivity, 2, fill)
    found, _ = stitched(prediction, segmenter, (1, 1, 1))
    np.testing.assert_array_equal(found, in_one_block(prediction, segmenter))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(volumes(7), shapes, shapes, connectivities, st.integers(0, 12), st.booleans())
def test_the_statistics_do_not_depend_on_the_blocks(distance, first, second, connectivity, size, fill):
    segmenter = ConnectedComponents("distance", 0.0, connectivity, size, fill)
    one, other = (stitched(prediction_of(distance), segmenter, blocks)[1] for blocks in (first, second))
    for name in ("voxels", "begin", "end", "sums"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("block_shape", [(4, 4, 4), (3, 5, 7), (1, 40, 2), (50, 50, 50)])
def test_a_line_through_hundreds_of_blocks_is_one_object(connectivity, block_shape):
    prediction = prediction_of(winding((25, 25, 30)))
    segmenter = ConnectedComponents("distance", 0.95, connectivity)
    found, objects = stitched(prediction, segmenter, block_shape)
    np.testing.assert_array_equal(found, in_one_block(prediction, segmenter))
    assert len(objects.voxels) == 1
    assert objects.voxels[0] > 1500


@checked
@given(volumes(), shapes, st.integers(0, 2**32), st.integers(0, 6))
def test_a_mask_makes_background_and_its_border_opens_holes(distance, block_shape, seed, size):
    inside = np.random.default_rng(seed).random(distance.shape) < 0.9
    prediction = prediction_of(distance)
    mask = MemoryVolume(inside.astype(np.uint8), prediction.grid)
    segmenter = ConnectedComponents("distance", 0.0, 26, size, True)
    found, _ = stitched(prediction, segmenter, block_shape, mask)
    one, _ = stitched(prediction, segmenter, distance.shape, mask)
    np.testing.assert_array_equal(found, one)
    assert not found[~inside].any()
    plain = ConnectedComponents("distance", 0.0, 26, size)
    masked = prediction_of(np.where(inside, distance, -1.0))
    assert np.array_equal(found > 0, one > 0)
    assert np.all((in_one_block(masked, plain) > 0) <= (found > 0))


def test_a_hole_in_which_the_mask_ends_stays_open():
    distance = np.full((7, 7, 7), -1.0)
    distance[1:6, 1:6, 1:6] = 1.0
    distance[2:5, 2:5, 2:5] = -1.0
    prediction = prediction_of(distance)
    mask = MemoryVolume(np.ones(distance.shape, np.uint8), prediction.grid)
    segmenter = ConnectedComponents("distance", 0.0, 6, 0, True)
    assert stitched(prediction, segmenter, (2, 3, 2), mask)[1].voxels.tolist() == [5**3]
    mask.data[3, 3, 3] = 0
    assert stitched(prediction, segmenter, (2, 3, 2), mask)[1].voxels.tolist() == [5**3 - 3**3]
