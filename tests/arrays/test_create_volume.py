"""Created volumes are valid OME-Zarr that other programs read, at exactly the place that was asked for."""

import json

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr_files import multiscale, numbers, scale, write_array, write_group

from dacapo_hd.arrays import create_volume, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

GRID = Grid.from_nm((4, 5, 6), (4.6, 9.8, 5.235 / 2), (2.5, -3.3, 0))
ZARR_GENERATION = int(zarr.__version__.split(".")[0])

sizes = st.one_of(st.sampled_from([4.6, 9.8, 2.5, 5.235 / 2, 8.0]), st.integers(1, 10**8).map(lambda n: n / 10**6))
offsets = st.one_of(st.sampled_from([2.5, 0.0, 1e6 + 0.7]), st.integers(-(10**13), 10**13).map(lambda n: n / 10**6))
triples = st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    st.tuples(*triples), st.tuples(sizes, sizes, sizes), st.tuples(offsets, offsets, offsets), st.sampled_from([2, 3])
)
def test_fractional_coordinates_come_back_exactly(tmp_path_factory, shape, size, offset, zarr_format):
    path = tmp_path_factory.mktemp("exact") / "a.zarr"
    grid = Grid.from_nm(shape, size, offset)
    data = numbers(*shape)
    create_volume(path, grid, data.dtype, zarr_format=zarr_format).write(grid.roi, data)
    volume = open_volume(str(path))
    assert volume.grid == grid
    assert volume.grid.voxel_size_nm == size
    for index in np.ndindex(shape):
        assert volume.read(grid.roi_of(index, (1, 1, 1))).item() == data[index]


def metadata(folder, zarr_format):
    if zarr_format == 2:
        assert json.loads((folder / ".zgroup").read_text()) == {"zarr_format": 2}
        return json.loads((folder / ".zattrs").read_text())
    document = json.loads((folder / "zarr.json").read_text())
    assert (document["zarr_format"], document["node_type"]) == (3, "group")
    return document["attributes"]


def test_the_metadata_follow_the_ngff_specification(tmp_path, zarr_format):
    create_volume(
        tmp_path / "a.zarr/b", GRID, "uint8", channels=2, channel_names=["mito", "er"], zarr_format=zarr_format
    )
    attributes = metadata(tmp_path / "a.zarr/b", zarr_format)
    expected = {
        "name": "b",
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "z", "type": "space", "unit": "nanometer"},
            {"name": "y", "type": "space", "unit": "nanometer"},
            {"name": "x", "type": "space", "unit": "nanometer"},
        ],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0, 4.6, 9.8, 2.6175]},
                    {"type": "translation", "translation": pytest.approx([0.0, 4.8, 1.6, 1.30875])},
                ],
            }
        ],
    }
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    shown = [("mito", "FFFFFF"), ("er", "00FF00")]
    omero = {"channels": [{"label": name, "color": color, "window": window, "active": True} for name, color in shown]}
    if zarr_format == 2:
        assert attributes == {"multiscales": [{"version": "0.4", **expected}], "omero": omero}
        assert json.loads((tmp_path / "a.zarr/b/s0/.zarray").read_text())["dimension_separator"] == "/"
    else:
        assert attributes == {"ome": {"version": "0.5", "multiscales": [expected], "omero": omero}}
        array = json.loads((tmp_path / "a.zarr/b/s0/zarr.json").read_text())
        assert array["dimension_names"] == ["c", "z", "y", "x"]
    assert metadata(tmp_path / "a.zarr", zarr_format) == {}
    assert open_volume(str(tmp_path / "a.zarr/b")).attributes["channel_names"] == ["mito", "er"]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float16", "float32"])
def test_zarr_python_reads_it_from_the_root(tmp_path, zarr_format, dtype):
    if zarr_format > ZARR_GENERATION:
        pytest.skip("this zarr-python does not read Zarr 3")
    data = (numbers(4, 5, 6) % 3).astype(dtype)
    create_volume(tmp_path / "x.zarr/a/b", GRID, dtype, zarr_format=zarr_format).write(GRID.roi, data)
    array = zarr.open_group(str(tmp_path / "x.zarr"), mode="r")["a/b/s0"]
    assert (array.dtype, array.shape) == (np.dtype(dtype), (4, 5, 6))
    np.testing.assert_array_equal(array[:], data)


@pytest.mark.parametrize(
    ("size", "offset", "unit", "written"),
    [
        ((4, 8, 8), (10, 0, -4), "nm", ([4, 8, 8], [10, 0, -4])),
        ((4.6, 8, 8), (2.5, 0, 0), "pm", ([4600, 8000, 8000], [2500, 0, 0])),
        ((4, 8, 8), (0, 0, 5.235 / 2), "fm", ([4 * 10**6, 8 * 10**6, 8 * 10**6], [0, 0, 2617500])),
    ],
)
def test_funlib_reads_it_in_the_coarsest_whole_unit(tmp_path, size, offset, unit, written):
    from funlib.persistence import open_ds

    grid = Grid.from_nm((4, 5, 6), size, offset)
    data = numbers(2, 4, 5, 6)
    # funlib.persistence reads through the zarr-python that is installed
    create_volume(tmp_path / "a.zarr", grid, "uint16", 2, zarr_format=ZARR_GENERATION).write(grid.roi, data)
    array = open_ds(tmp_path / "a.zarr/s0")
    assert (list(array.voxel_size), list(array.offset), array.units) == (*written, [unit] * 3)
    np.testing.assert_array_equal(array[array.roi], data)


def test_chunks_fit_the_shape_and_hold_all_channels(tmp_path):
    grid = Grid.from_nm((4, 100, 200), (8, 8, 8))
    assert create_volume(tmp_path / "a.zarr", grid, "uint8").chunk_shape_vx == (4, 64, 64)
    create_volume(tmp_path / "b.zarr", grid, "uint8", channels=3, chunk_shape_vx=(8, 32, 16))
    assert json.loads((tmp_path / "b.zarr/s0/.zarray").read_text())["chunks"] == [3, 4, 32, 16]


def test_what_was_not_written_is_zero(tmp_path, zarr_format):
    volume = create_volume(tmp_path / "a.zarr", GRID, "float32", zarr_format=zarr_format)
    assert not volume.read().any()


def test_attributes_are_kept(tmp_path, zarr_format):
    attributes = {"encoding": {"absent": 0, "unknown": 255}}
    created = create_volume(tmp_path / "a.zarr", GRID, "uint8", zarr_format=zarr_format, attributes=attributes)
    assert open_volume(str(tmp_path / "a.zarr")).attributes == created.attributes
    assert created.attributes["encoding"] == attributes["encoding"]


def test_an_existing_output_is_replaced_only_when_told(tmp_path, zarr_format):
    path = tmp_path / "a.zarr/out"
    volume = create_volume(path, GRID, "uint16", zarr_format=zarr_format)
    volume.write(GRID.roi, numbers(4, 5, 6))
    with pytest.raises(UserError) as error:
        create_volume(path, GRID, "uint8", zarr_format=zarr_format)
    assert str(error.value) == f"{path} exists; give --overwrite to replace it"
    np.testing.assert_array_equal(open_volume(str(path)).read(), numbers(4, 5, 6))
    create_volume(path, GRID, "uint8", zarr_format=zarr_format, overwrite=True)
    replaced = open_volume(str(path))
    assert replaced.dtype == np.uint8
    assert not replaced.read().any()


def test_neighbours_in_the_same_zarr_are_left_alone(tmp_path):
    create_volume(tmp_path / "a.zarr/raw", GRID, "uint16").write(GRID.roi, numbers(4, 5, 6))
    for overwrite in (False, True):
        create_volume(tmp_path / "a.zarr/out", GRID, "uint8", overwrite=overwrite)
    np.testing.assert_array_equal(open_volume(str(tmp_path / "a.zarr/raw")).read(), numbers(4, 5, 6))


def test_a_group_with_other_arrays_is_never_replaced(tmp_path):
    create_volume(tmp_path / "a.zarr/raw", GRID, "uint16")
    group = write_group(tmp_path / "b.zarr", multiscale({"s0": [scale(4, 4, 4)]}))
    write_array(group / "s0", numbers(4, 5, 6))
    write_array(write_group(group / "labels") / "mito", numbers(4, 5, 6))
    for path, other in ((tmp_path / "a.zarr", "raw/s0"), (group, "labels/mito")):
        with pytest.raises(UserError) as error:
            create_volume(path, GRID, "uint8", overwrite=True)
        assert str(error.value) == f"{path} exists and holds other arrays ({other}); give a path inside it"
        assert (path / other / ".zarray").exists()


def test_a_folder_that_is_no_zarr_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("precious")
    (tmp_path / "file.zarr").write_text("precious")
    for path in (tmp_path / "thesis", tmp_path / "file.zarr"):
        with pytest.raises(UserError) as error:
            create_volume(path, GRID, "uint8", overwrite=True)
        assert str(error.value) == f"{path} exists and is neither a Zarr array nor a group; give another path"
    assert (tmp_path / "thesis/chapter.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    assert create_volume(tmp_path / "empty", GRID, "uint8").dtype == np.uint8


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as error:
        create_volume(tmp_path / "file/a.zarr", GRID, "uint8")
    assert str(error.value) == f"cannot create {tmp_path}/file/a.zarr: Not a directory: {tmp_path}/file/a.zarr"


def test_what_a_failure_leaves_behind_can_be_overwritten(tmp_path, zarr_format):
    path = tmp_path / "a.zarr/out"
    with pytest.raises(UserError) as error:
        create_volume(path, GRID, "uint8", chunk_shape_vx=(0, 1, 1), zarr_format=zarr_format)
    assert str(error.value).startswith(f"cannot create {path}: ")
    assert create_volume(path, GRID, "uint8", zarr_format=zarr_format, overwrite=True).shape == GRID.shape_vx


def test_an_array_cannot_hold_another(tmp_path):
    write_array(tmp_path / "a.zarr/raw", numbers(4, 5, 6))
    with pytest.raises(UserError) as error:
        create_volume(tmp_path / "a.zarr/raw/out", GRID, "uint8")
    assert (
        str(error.value) == f"cannot create {tmp_path}/a.zarr/raw/out: {tmp_path}/a.zarr/raw is an array, not a group"
    )


def test_one_zarr_has_one_format(tmp_path):
    create_volume(tmp_path / "a.zarr/raw", GRID, "uint8", zarr_format=2)
    with pytest.raises(UserError) as error:
        create_volume(tmp_path / "a.zarr/out", GRID, "uint8", zarr_format=3)
    assert str(error.value) == (
        f"cannot create {tmp_path}/a.zarr/out as Zarr 3: {tmp_path}/a.zarr is Zarr 2; "
        "use zarr_format 2 or another folder"
    )


def test_arguments_that_contradict_each_other(tmp_path):
    with pytest.raises(ValueError, match=r"^got 1 channel names for 2 channels$"):
        create_volume(tmp_path / "a.zarr", GRID, "uint8", channels=2, channel_names=["mito"])
    with pytest.raises(ValueError, match=r"^zarr_format must be 2 or 3, got 4$"):
        create_volume(tmp_path / "a.zarr", GRID, "uint8", zarr_format=4)
    assert not list(tmp_path.iterdir())
