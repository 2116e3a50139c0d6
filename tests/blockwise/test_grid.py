"""Cutting a box into blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.blockwise import BlockGrid

checked = settings(deadline=None, derandomize=True)

BOXES = st.tuples(*[st.tuples(st.integers(-9, 9), st.integers(1, 12), st.integers(1, 9), st.integers(-9, 9))] * 3)


def grid_of(axes):
    begin, extent, length, origin = (tuple(values) for values in zip(*axes, strict=True))
    return BlockGrid(begin, tuple(b + n for b, n in zip(begin, extent, strict=True)), length, origin)


@checked
@given(BOXES)
def test_each_voxel_is_in_one_block(axes):
    grid = grid_of(axes)
    count = np.zeros([e - b for b, e in zip(grid.begin, grid.end, strict=True)], int)
    for block in grid:
        lows = [b - begin for b, begin in zip(block.begin, grid.begin, strict=True)]
        count[tuple(slice(low, low + n) for low, n in zip(lows, block.shape, strict=True))] += 1
    assert (count == 1).all()
    assert grid.voxels == count.size


@checked
@given(BOXES)
def test_cuts_lie_at_multiples_of_the_length_from_the_origin(axes):
    grid = grid_of(axes)
    for block in grid:
        for axis in range(3):
            assert block.shape[axis] <= grid.length[axis]
            if block.begin[axis] != grid.begin[axis]:
                assert (block.begin[axis] - grid.origin[axis]) % grid.length[axis] == 0


@checked
@given(BOXES)
def test_blocks_are_numbered_in_c_order(axes):
    grid = grid_of(axes)
    indices = list(np.ndindex(*grid.shape))
    assert len(grid) == len(indices)
    assert [(block.number, block.index) for block in grid] == list(enumerate(indices))
    assert all(grid.numbered(block.number) == grid.block(block.index) == block for block in grid)


def test_a_grid_of_a_volume_never_shares_a_chunk():
    grid = BlockGrid.over((100, 100, 50), (70, 31, 9), chunk=(32, 32, 16), chunk_origin=(5, 0, 0))
    assert grid.length == (64, 32, 16)
    assert [block.begin for block in grid if block.index[1:] == (0, 0)] == [(0, 0, 0), (5, 0, 0), (69, 0, 0)]


def test_a_grid_of_a_trillion_blocks_takes_no_time():
    grid = BlockGrid((0, 0, 0), (10**7, 10**7, 10**7), (100, 1000, 1000), (0, 0, 0))
    assert len(grid) == 10**13
    assert grid.numbered(10**13 - 1).end == grid.end


@pytest.mark.parametrize(
    ("begin", "end", "length", "message"),
    [
        ((0, 0, 0), (4, 0, 4), (1, 1, 1), r"the box \(0, 0, 0\) to \(4, 0, 4\) is empty"),
        ((0, 0, 0), (4, 4, 4), (1, 0, 1), r"blocks of \(1, 0, 1\) voxels are empty"),
    ],
)
def test_empty_boxes_and_blocks_are_refused(begin, end, length, message):
    with pytest.raises(ValueError, match=message):
        BlockGrid(begin, end, length, (0, 0, 0))


def test_blocks_outside_the_grid_do_not_exist(grid):
    with pytest.raises(IndexError):
        grid.numbered(len(grid))
    with pytest.raises(IndexError):
        grid.block((0, 0, -1))
