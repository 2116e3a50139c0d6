"""Opening what others wrote: which voxels, where, in which order of axes."""

import numpy as np
import pytest
from zarr_files import multiscale, numbers, scale, translation, write_array, write_group

from dacapo_hd.arrays import ArrayRef, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = numbers(4, 5, 6)


@pytest.mark.parametrize("key", ["voxel_size", "resolution"])
def test_plain_array_with_fractional_attributes(tmp_path, zarr_format, key):
    attributes = {key: [4.6, 9.8, 5.235 / 2], "offset": [2.5, -3.3, 0.0], "encoding": {"unknown": 255}}
    path = write_array(tmp_path / "a.zarr/raw", DATA, attributes, zarr_format)
    volume = open_volume(str(path))
    assert volume.grid == Grid.from_nm((4, 5, 6), (4.6, 9.8, 5.235 / 2), (2.5, -3.3, 0.0))
    assert volume.attributes["encoding"] == {"unknown": 255}
    assert (volume.dtype, volume.channels, volume.path) == (np.dtype("uint16"), None, str(path))
    np.testing.assert_array_equal(volume.read(), DATA)
    np.testing.assert_array_equal(volume.read(volume.grid.roi_of((1, 2, 3), (2, 3, 1))), DATA[1:3, 2:5, 3:4])


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("nm", 4.6),
        ("nanometer", 4.6),
        ("Nanometres", 4.6),
        ("", 4.6),
        ("um", 0.0046),
        ("micrometer", 0.0046),
        ("\u00b5m", 0.0046),
        ("\u03bcm", 0.0046),
        ("micron", 0.0046),
        ("angstrom", 46),
        ("\u00c5", 46),
        ("mm", 4.6e-6),
        ("meter", 4.6e-9),
        ("m", 4.6e-9),
        ("pm", 4600),
        ("femtometer", 4600000),
    ],
)
def test_units_become_nanometres(tmp_path, unit, value):
    attributes = {"voxel_size": [value] * 3, "offset": [value * 10] * 3, "units": [unit] * 3}
    volume = open_volume(str(write_array(tmp_path / "a.zarr", DATA, attributes)))
    assert volume.grid == Grid.from_nm((4, 5, 6), (4.6,) * 3, (46,) * 3)


def test_array_written_by_funlib(tmp_path):
    from funlib.geometry import Coordinate
    from funlib.persistence import prepare_ds

    ds = prepare_ds(
        tmp_path / "a.zarr" / "raw",
        (2, 4, 5, 6),
        offset=Coordinate(100, 0, -8),
        voxel_size=Coordinate(4, 8, 8),
        axis_names=["c^", "z", "y", "x"],
        units=["nm", "nm", "nm"],
        dtype=np.uint16,
    )
    data = numbers(2, 4, 5, 6)
    ds[ds.roi] = data
    volume = open_volume(str(tmp_path / "a.zarr/raw"))
    assert volume.grid == Grid.from_nm((4, 5, 6), (4, 8, 8), (100, 0, -8))
    assert volume.channels == 2
    np.testing.assert_array_equal(volume.read(), data)


@pytest.mark.parametrize("order", ["zyx", "xyz", "czyx", "zyxc", "xyzc", "tczyx", "yx", "cyx"])
def test_any_order_of_axes_is_read_as_czyx(tmp_path, zarr_format, order):
    lengths = {"t": 1, "c": 3, "z": 4, "y": 5, "x": 6}
    sizes = {"t": 1.0, "c": 1.0, "z": 40.0, "y": 4.5, "x": 4.0}
    data = numbers(*(lengths[axis] for axis in order))
    level = [scale(*(sizes[axis] for axis in order))]
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": level}, order), zarr_format)
    write_array(group / "s0", data, zarr_format=zarr_format)
    volume = open_volume(str(group))
    letters = order.replace("t", "")
    wanted = "".join(axis for axis in "czyx" if axis in letters)
    expected = np.einsum(f"{letters}->{wanted}", data[0] if "t" in order else data)
    expected = expected if "z" in order else np.expand_dims(expected, -3)
    np.testing.assert_array_equal(volume.read(), expected)
    assert volume.grid.voxel_size_nm == ((40.0 if "z" in order else 4.5), 4.5, 4.0)
    assert volume.channels == (3 if "c" in order else None)
    roi = volume.grid.roi_of((0, 1, 2), (1, 3, 2))
    volume.write(roi, expected[..., :1, 2:5, 1:3])
    np.testing.assert_array_equal(open_volume(str(group)).read(roi), expected[..., :1, 2:5, 1:3])


def test_dimension_names_of_zarr_3_and_names_of_funlib(tmp_path):
    attributes = {"voxel_size": [4, 4.5, 40]}
    path = write_array(tmp_path / "a.zarr", DATA, attributes, 3, dimension_names=["x", "y", "z"])
    assert open_volume(str(path)).grid.voxel_size_nm == (40, 4.5, 4)
    path = write_array(tmp_path / "b.zarr", DATA, {**attributes, "axis_names": ["d0", "d1", "d2"]})
    assert open_volume(str(path)).grid.voxel_size_nm == (4, 4.5, 40)
    path = write_array(tmp_path / "c.zarr", DATA, {"voxel_size": [1, 4, 5], "axis_names": ["c^", "y", "x"]})
    assert (open_volume(str(path)).channels, open_volume(str(path)).grid.voxel_size_nm) == (4, (4, 4, 5))


@pytest.mark.parametrize(
    ("shape", "size", "channels"),
    [((5, 6), [4, 5], None), ((3, 5, 6), [4, 5], 3), ((3, 4, 5, 6), [4, 4, 5], 3), ((1, 3, 4, 5, 6), [4, 4, 5], 3)],
)
def test_unnamed_axes_are_told_by_the_length_of_the_voxel_size(tmp_path, shape, size, channels):
    volume = open_volume(str(write_array(tmp_path / "a.zarr", numbers(*shape), {"voxel_size": size})))
    assert volume.channels == channels
    assert volume.grid.voxel_size_nm == (4, 4, 5)
    assert volume.grid.shape_vx == ((4 if 4 in shape else 1), 5, 6)


def test_ome_translation_is_the_centre_of_the_first_voxel(tmp_path, zarr_format):
    levels = {
        "s0": [scale(4.6, 9.8, 9.8), translation(12.3, 0, 4.9)],
        "s1": [scale(9.2, 19.6, 19.6), translation(14.6, 4.9, 9.8)],
    }
    group = write_group(tmp_path / "a.zarr/raw", multiscale(levels), zarr_format)
    for name in levels:
        write_array(group / name, DATA, {"voxel_size": [1, 1, 1]}, zarr_format)
    corner = (10, -4.9, 0)
    for ref in (ArrayRef(str(group)), ArrayRef(str(group / "s0")), ArrayRef(str(group), level="s0")):
        assert ref.open().grid == Grid.from_nm((4, 5, 6), (4.6, 9.8, 9.8), corner)
    for volume in (
        ArrayRef(str(group)).open((9.2, 19.6, 19.6)),
        ArrayRef(str(group), level="s1").open((4.6, 9.8, 9.8)),
        ArrayRef(str(group / "s1")).open((4.6, 9.8, 9.8)),
    ):
        assert volume.grid == Grid.from_nm((4, 5, 6), (9.2, 19.6, 19.6), corner)


def test_the_finest_level_is_the_default_in_any_order(tmp_path):
    group = write_group(tmp_path / "a.zarr", multiscale({"1": [scale(8, 8, 8)], "0": [scale(4, 4, 4)]}))
    for name in ("0", "1"):
        write_array(group / name, DATA)
    assert open_volume(str(group)).path == str(group / "0")


def test_transformations_of_the_level_come_before_those_of_the_group(tmp_path):
    whole = {"coordinateTransformations": [scale(0.5, 1, 1), translation(0.1, 0, 0)]}
    levels = {"s0": [scale(0.008, 0.004, 0.004), translation(1, 0, 0)]}
    group = write_group(tmp_path / "a.zarr", multiscale(levels, unit="micrometer", **whole))
    write_array(group / "s0", DATA)
    assert open_volume(str(group)).grid == Grid.from_nm((4, 5, 6), (4, 4, 4), (600 - 2, -2, -2))


def test_the_config_replaces_what_the_file_says(tmp_path):
    path = str(write_array(tmp_path / "a.zarr", DATA, {"voxel_size": [1, 1, 1], "offset": [10, 20, 30]}))
    assert ArrayRef(path, voxel_size_nm=(4.6, 8, 8)).open().grid.offset_nm == (10, 20, 30)
    grid = ArrayRef(path, voxel_size_nm=(4.6, 8, 8), offset_nm=(2.5, 0, 0)).open().grid
    assert grid == Grid.from_nm((4, 5, 6), (4.6, 8, 8), (2.5, 0, 0))


def test_the_config_makes_an_array_without_units_readable(tmp_path):
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [scale(1, 1, 1)]}, unit=None))
    write_array(group / "s0", DATA)
    grid = ArrayRef(str(group), voxel_size_nm=(4, 4, 4)).open((4, 4, 4)).grid
    assert grid == Grid.from_nm((4, 5, 6), (4, 4, 4), (-2, -2, -2))


def test_the_voxel_size_of_2d_data_may_be_given_with_or_without_z(tmp_path):
    path = str(write_array(tmp_path / "a.zarr", numbers(5, 6)))
    assert ArrayRef(path, voxel_size_nm=(4, 5)).open().grid == Grid.from_nm((1, 5, 6), (4, 4, 5))
    grid = ArrayRef(path, voxel_size_nm=(40, 4, 5), offset_nm=(8, 10)).open().grid
    assert grid == Grid.from_nm((1, 5, 6), (40, 4, 5), (0, 8, 10))


def test_environment_variables_are_expanded_when_opened(tmp_path, monkeypatch):
    write_array(tmp_path / "a.zarr", DATA, {"voxel_size": [4, 4, 4]})
    ref = ArrayRef.from_string("${ARRAY_TEST_FOLDER}/a.zarr")
    monkeypatch.setenv("ARRAY_TEST_FOLDER", str(tmp_path))
    assert ref.open().path == str(tmp_path / "a.zarr")
    monkeypatch.delenv("ARRAY_TEST_FOLDER")
    with pytest.raises(UserError, match="ARRAY_TEST_FOLDER"):
        ref.open()
