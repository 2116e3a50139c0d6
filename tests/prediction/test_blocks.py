"""Layouts: every voxel once, cuts where the target's chunks and the network want them."""

from math import prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction.blocks import Layout, mirrored, read_mirrored

SIZES = st.tuples(*[st.integers(1, 12)] * 3)


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_blocks_cover_each_voxel_once_and_are_not_longer_than_asked(begin, extent, step, chunk, block):
    end = tuple(b + e for b, e in zip(begin, extent, strict=True))
    counts = np.zeros(end, int)
    for cut in Layout(begin, end, step, chunk, begin).grid(block):
        low, high = cut.begin, cut.end
        counts[tuple(map(slice, low, high))] += 1
        lengths = zip(low, high, block, step, strict=True)
        assert all(0 < after - before <= max(most, least) for before, after, most, least in lengths)
    inside = tuple(map(slice, begin, end))
    assert (counts[inside] == 1).all() and counts.sum() == prod(extent)


def test_cuts_lie_on_the_targets_chunks_and_lengths_are_balanced():
    layout = Layout((0, 6, 0), (1, 140, 50), step=(1, 4, 4), chunk=(64, 32, 64), chunk_origin=(0, 2, 0))
    blocks = [(block.begin, block.end) for block in layout.grid((1, 104, 40))]
    assert sorted({(low[1], high[1]) for low, high in blocks}) == [(6, 98), (98, 140)]
    assert sorted({(low[2], high[2]) for low, high in blocks}) == [(0, 28), (28, 50)]


@given(SIZES, st.integers(1, 4000))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_largest_block_keeps_the_limit_or_is_one_step(extent, voxels):
    step = (1, 2, 3)
    layout = Layout((0, 0, 0), extent, step, (2, 4, 4), (0, 0, 0))

    def input_shape_for(shape):
        return tuple(n + 4 for n in shape)

    block = layout.largest_block(input_shape_for, voxels)
    for cut in layout.grid(block):
        low, high = cut.begin, cut.end
        shape = [-(-(after - before) // s) * s for before, after, s in zip(low, high, step, strict=True)]
        assert prod(input_shape_for(shape)) <= voxels or all(n <= s for n, s in zip(block, step, strict=True))


def test_largest_block_splits_where_context_is_cheapest():
    layout = Layout((0, 0, 0), (8, 256, 256), (1, 4, 4), (64, 64, 64), (0, 0, 0))
    flat = layout.largest_block(lambda shape: (shape[0], shape[1] + 40, shape[2] + 40), 2 * 296**2)
    assert flat == (2, 256, 256)


@given(st.integers(1, 7), st.integers(-20, 20), st.integers(1, 30))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_mirrored_is_numpys_reflection(size, begin, length):
    positions = np.pad(np.arange(size), 60, mode="reflect")
    np.testing.assert_array_equal(mirrored(begin, begin + length, size), positions[begin + 60 :][:length])


@given(SIZES, st.tuples(*[st.integers(-9, 9)] * 3), SIZES)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_read_mirrored_is_a_window_of_the_reflected_volume(size, begin, shape):
    data = np.arange(prod(size)).reshape(size)
    found = read_mirrored(MemoryVolume(data, Grid.from_nm(size, (1, 1, 1))), begin, shape)
    window = tuple(slice(b + 30, b + 30 + n) for b, n in zip(begin, shape, strict=True))
    np.testing.assert_array_equal(found[0], np.pad(data, 30, mode="reflect")[window])
