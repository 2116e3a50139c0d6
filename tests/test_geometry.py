"""Exact coordinates: what goes in as fractional nanometres selects the right voxels."""

from __future__ import annotations

import pickle

import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, fm, format_box, format_nm, format_roi, format_shape, nm

few = settings(deadline=None, max_examples=50, derandomize=True)

sizes_fm = st.tuples(*[st.integers(1, 10**9)] * 3)
offsets_fm = st.tuples(*[st.integers(-(10**15), 10**15)] * 3)
shapes = st.tuples(*[st.integers(1, 500)] * 3)
grids = st.builds(
    lambda shape, size, offset: Grid(shape, Coordinate(size), Coordinate(offset)), shapes, sizes_fm, offsets_fm
)


@st.composite
def grids_with_box(draw: st.DrawFn) -> tuple[Grid, tuple[int, ...], tuple[int, ...]]:
    grid = draw(grids)
    begin = tuple(draw(st.integers(0, n - 1)) for n in grid.shape_vx)
    end = tuple(draw(st.integers(b + 1, n)) for b, n in zip(begin, grid.shape_vx, strict=True))
    return grid, begin, end


@few
@given(offsets_fm)
def test_nanometres_and_femtometres_are_inverse(values: tuple[int, ...]) -> None:
    assert fm(nm(values)) == Coordinate(values)


@pytest.mark.parametrize("value", [4.6, 9.8, 2.5, 5.235 / 2, 0.000001, 1e6 + 0.7, -3.3])
def test_fractions_of_nanometres_are_kept(value: float) -> None:
    assert nm(fm([value])) == (value,)
    assert fm([value])[0] == round(value * 10**6)


@few
@given(grids_with_box())
def test_slices_is_the_inverse_of_roi_of(case: tuple[Grid, tuple[int, ...], tuple[int, ...]]) -> None:
    grid, begin, end = case
    roi = grid.roi_of(begin, [b - a for a, b in zip(begin, end, strict=True)])
    assert grid.slices(roi) == tuple(map(slice, begin, end))
    assert grid.part(begin, end).roi == roi
    assert Grid.from_roi(roi, grid.voxel_size) == grid.part(begin, end)


@few
@given(grids)
def test_the_roi_of_a_grid_selects_all_of_it(grid: Grid) -> None:
    assert grid.slices(grid.roi) == tuple(slice(0, n) for n in grid.shape_vx)
    assert Grid.from_nm(grid.shape_vx, grid.voxel_size_nm, grid.offset_nm) == grid
    assert pickle.loads(pickle.dumps(grid)) == grid


@few
@given(
    st.tuples(*[st.integers(1, 4)] * 3), st.tuples(*[st.integers(-20, 20)] * 3), st.tuples(*[st.integers(0, 12)] * 3)
)
def test_aligned_means_that_both_ends_are_voxel_borders(
    size: tuple[int, ...], begin: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    grid = Grid((5, 5, 5), Coordinate(size), Coordinate(3, -2, 1))
    borders = [{o + k * s for k in range(-50, 50)} for o, s in zip(grid.offset, size, strict=True)]
    expected = all(b in border and b + n in border for b, n, border in zip(begin, shape, borders, strict=True))
    assert grid.aligned(Roi(begin, shape)) is expected


def test_an_roi_outside_the_grid_is_refused() -> None:
    grid = Grid.from_nm((4, 4, 4), (4.6, 10, 10), (2.5, 0, 0))
    with pytest.raises(ValueError) as error:
        grid.slices(grid.roi_of((0, 0, 2), (4, 4, 3)))
    assert str(error.value) == (
        "ROI 2.5:20.9,0:40,20:50 nm is not inside the grid 2.5:20.9,0:40,0:40 nm with voxels of [4.6, 10, 10] nm"
    )


def test_an_roi_that_cuts_voxels_is_refused() -> None:
    grid = Grid.from_nm((4, 4, 4), (4.6, 10, 10))
    with pytest.raises(ValueError) as error:
        grid.slices(Roi((1, 0, 0), grid.voxel_size))
    assert str(error.value) == (
        "ROI 1e-06:4.600001,0:10,0:10 nm cuts voxels of the grid 0:18.4,0:40,0:40 nm with voxels of [4.6, 10, 10] nm"
    )
    with pytest.raises(
        ValueError, match=r"^ROI 0:5,0:10,0:10 nm is not a whole number of voxels of \[4.6, 10, 10\] nm$"
    ):
        Grid.from_roi(Roi((0, 0, 0), fm((5, 10, 10))), grid.voxel_size)


@pytest.mark.parametrize(("begin", "end"), [((0, 0, 0), (4, 4, 5)), ((-1, 0, 0), (4, 4, 4)), ((2, 0, 0), (2, 4, 4))])
def test_a_part_that_is_empty_or_outside_is_a_user_error(begin: tuple[int, ...], end: tuple[int, ...]) -> None:
    grid = Grid.from_nm((4, 4, 4), (8, 8, 8))
    with pytest.raises(UserError) as error:
        grid.part(begin, end)
    assert str(error.value) == f"ROI {format_box(begin, end)} is not inside the volume of shape (4, 4, 4) voxels"


def test_a_grid_needs_a_voxel_size() -> None:
    with pytest.raises(ValueError, match=r"^a voxel size must be at least 1 fm on every axis, got \[0, 8, 8\] nm$"):
        Grid.from_nm((4, 4, 4), (1e-9, 8, 8))


def test_what_messages_show() -> None:
    assert format_nm((0.0046 * 1000, 10, 5.235 / 2)) == "[4.6, 10, 2.6175] nm"
    assert format_box((0, 1, 2), (3, 4, 5)) == "0:3,1:4,2:5"
    assert format_shape((82, 384, 512)) == "82 x 384 x 512"
    assert format_roi(Roi((2_500_000, 0, -10), (1, 1, 10))) == "2.5:2.500001,0:1e-06,-1e-05:0 nm"
