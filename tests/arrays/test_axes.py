"""Which stored axis is which: what files say, what users say, and what is asked."""

import json

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from zarr_files import multiscale, numbers, scale, write_array, write_group

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.config import ConfigError, structure, unstructure
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = numbers(4, 5, 6)
CHANNELS = numbers(2, 4, 5, 6)
SIZES, CORNER = {"z": 40, "y": 5, "x": 4}, {"z": 80, "y": 10, "x": 12}
GRID = Grid.from_nm((4, 5, 6), (40, 5, 4), (80, 10, 12))


def stored(names):
    """Return the same voxels with the axes in another order."""
    usual = "czyx" if "c" in names else "zyx"
    data = CHANNELS if "c" in names else DATA
    return np.ascontiguousarray(data.transpose([usual.index(name) for name in names]))


def places(names):
    return {"voxel_size": [SIZES[n] for n in names if n != "c"], "offset": [CORNER[n] for n in names if n != "c"]}


def require_read(ref, names):
    volume = ref.open()
    assert volume.grid == GRID
    np.testing.assert_array_equal(volume.read(), CHANNELS if "c" in names else DATA)
    return volume


def problem(ref):
    with pytest.raises(UserError) as error:
        ref.open()
    (message,) = error.value.problems
    return message


ORDERS = ["zyx", "xyz", "yzx", "zyxc", "czyx", "xyzc", "cxyz"]
SPELLINGS = {
    "vigra": lambda names: {
        "axistags": json.dumps({"axes": [{"key": n, "typeFlags": 1 if n == "c" else 2} for n in names]})
    },
    "xarray": lambda names: {"_ARRAY_DIMENSIONS": list(names)},
    "words": lambda names: {
        "_ARRAY_DIMENSIONS": [{"z": "depth", "y": "height", "x": "width", "c": "channel"}[n] for n in names]
    },
    "webknossos": lambda names: {"axisOrder": {name: place for place, name in enumerate(names)}},
    "funlib": lambda names: {"axis_names": ["c^" if name == "c" else name for name in names]},
    "axes": lambda names: {"axes": list(names)},
    "text": lambda names: {"axes": names.upper()},
    "objects": lambda names: {"axes": [{"name": name} for name in names]},
}


@pytest.mark.parametrize("names", ORDERS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_axes_that_attributes_name(tmp_path, spelling, names):
    attributes = {**SPELLINGS[spelling](names), **places(names)}
    ref = ArrayRef(str(write_array(tmp_path / "a.zarr", stored(names), attributes)))
    assert require_read(ref, names).understood.named
    if spelling in ("webknossos", "objects"):
        return  # HDF5 attributes hold no objects
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("d", data=stored(names)).attrs.update(attributes)
    require_read(ArrayRef(str(tmp_path / "a.h5/d")), names)


@pytest.mark.parametrize("names", ORDERS)
def test_axes_that_dimensions_name(tmp_path, names):
    ref = ArrayRef(str(write_array(tmp_path / "a.zarr", stored(names), places(names), 3, list(names))))
    require_read(ref, names)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key, labelled in (("labels", True), ("scales", False)):
            dataset = file.create_dataset(key, data=stored(names))
            dataset.attrs.update(places(names))
            for place, name in enumerate(names):
                if labelled:
                    dataset.dims[place].label = name
                else:
                    file.create_dataset(f"netcdf/{name}", data=np.arange(dataset.shape[place]))
                    file[f"netcdf/{name}"].make_scale(name)
                    dataset.dims[place].attach_scale(file[f"netcdf/{name}"])
    require_read(ArrayRef(str(tmp_path / "a.h5/labels")), names)
    require_read(ArrayRef(str(tmp_path / "a.h5/scales")), names)


@pytest.mark.parametrize("names", ORDERS)
@pytest.mark.parametrize("spelling", [str, ",".join, list], ids=["text", "commas", "list"])
def test_axes_that_the_user_names(tmp_path, spelling, names):
    path = write_array(tmp_path / "a.zarr", stored(names), places(names))
    ref = structure({"path": str(path), "axes": spelling(names)}, ArrayRef)
    require_read(ref, names)
    assert structure(unstructure(ref), ArrayRef) == ref


def test_sizes_that_the_user_gives_are_z_y_x_whatever_is_stored(tmp_path):
    path = write_array(tmp_path / "a.zarr", stored("xyz"))
    require_read(ArrayRef(str(path), (40, 5, 4), (80, 10, 12), axes="xyz"), "xyz")


def test_a_file_that_says_otherwise_is_not_contradicted_by_accident(tmp_path):
    path = write_array(tmp_path / "a.zarr", stored("xyz"), {"_ARRAY_DIMENSIONS": ["z", "y", "x"], **places("xyz")})
    label = f"{path} (Zarr 2 array of shape (6, 5, 4))"
    assert problem(ArrayRef(str(path), axes="xyz")) == (
        f"{label}: its axes are (z, y, x) by its metadata or format, but (x, y, z) were given; leave them out, or "
        "write `axes: xyz!` at the array if the file is wrong"
    )
    require_read(ArrayRef(str(path), axes="xyz!"), "xyz")
    assert problem(ArrayRef(str(path), axes="czyx")) == (
        f"{label}: has 3 axes, but `czyx` names 4; name each stored axis"
    )


def test_ome_axes_can_be_corrected(tmp_path, zarr_format):
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [scale(4, 5, 40)]}), zarr_format)
    write_array(group / "s0", stored("xyz"), zarr_format=zarr_format)
    for path in (group, group / "s0"):
        assert "but (x, y, z) were given" in problem(ArrayRef(str(path), axes="xyz"))
        volume = ArrayRef(str(path), axes="xyz!").open()
        assert volume.grid.voxel_size_nm == (40, 5, 4)
        np.testing.assert_array_equal(volume.read(), DATA)


def test_ome_before_axes_were_written_is_t_c_z_y_x(tmp_path):
    group = write_group(tmp_path / "a.zarr", {"version": "0.1", "datasets": [{"path": "0"}]})
    write_array(group / "0", CHANNELS[None])
    volume = ArrayRef(str(group), voxel_size_nm=(40, 5, 4)).open()
    assert volume.channels == 2
    np.testing.assert_array_equal(volume.read(), CHANNELS)


def test_a_file_that_contradicts_itself_is_asked_about(tmp_path):
    attributes = {"axis_names": ["z", "y", "x"], "_ARRAY_DIMENSIONS": ["x", "y", "z"], **places("xyz")}
    path = write_array(tmp_path / "a.zarr", stored("xyz"), attributes)
    label = f"{path} (Zarr 2 array of shape (6, 5, 4))"
    assert problem(ArrayRef(str(path))) == (
        f"{label}: its attribute 'axis_names' says that its axes are (z, y, x), but its attribute '_ARRAY_DIMENSIONS' "
        "says (x, y, z); write `axes: zyx!` at the array if its axes are z, y, x"
    )
    require_read(ArrayRef(str(path), axes="xyz!"), "xyz")
    few = write_array(tmp_path / "b.zarr", DATA, {"_ARRAY_DIMENSIONS": ["y", "x"], **places("zyx")})
    assert problem(ArrayRef(str(few))) == (
        f"{few} (Zarr 2 array of shape (4, 5, 6)): its attribute '_ARRAY_DIMENSIONS' names 2 axes (y, x), but the "
        "array has 3; write `axes: zyx!` at the array if its axes are z, y, x"
    )
    require_read(ArrayRef(str(few), axes="zyx!"), "zyx")


@pytest.mark.parametrize(
    "names", [["dim_0", "dim_1", "dim_2"], ["phony_dim_3", "phony_dim_1", "phony_dim_0"], [None] * 3]
)
def test_names_that_only_number_axes_say_nothing(tmp_path, names):
    path = write_array(tmp_path / "a.zarr", DATA, {"_ARRAY_DIMENSIONS": names, **places("zyx")})
    assert not require_read(ArrayRef(str(path)), "zyx").understood.named
    path = write_array(tmp_path / "b.zarr", stored("xyz"), {"_ARRAY_DIMENSIONS": names, **places("xyz")})
    require_read(ArrayRef(str(path), axes="xyz"), "xyz")


def test_some_names_are_completed_only_by_what_is_usual(tmp_path):
    path = write_array(tmp_path / "a.zarr", DATA, places("zyx"), 3, ["z", None, "x"])
    require_read(ArrayRef(str(path)), "zyx")
    path = write_array(tmp_path / "b.zarr", stored("xyz"), places("xyz"), 3, ["x", None, None])
    assert problem(ArrayRef(str(path))) == (
        f"{path} (Zarr 3 array of shape (6, 5, 4)): names only some of its axes (x, ?, ?); write `axes: xyz` at "
        "the array, in their order"
    )
    require_read(ArrayRef(str(path), axes="xyz"), "xyz")


def test_channels_that_are_probably_last_are_asked_about(tmp_path):
    path = write_array(tmp_path / "a.zarr", numbers(5, 7, 9, 3), {"voxel_size": [8, 8, 8]})
    assert problem(ArrayRef(str(path))) == (
        f"{path} (Zarr 2 array of shape (5, 7, 9, 3)): does not name its axes, and its last one may be channels; write "
        "`axes: zyxc` at the array if it is, write `axes: czyx` at the array if not"
    )
    assert ArrayRef(str(path), axes="zyxc").open().shape == (3, 5, 7, 9)
    assert ArrayRef(str(path), axes="czyx").open().shape == (5, 7, 9, 3)


@pytest.mark.parametrize("axes", ["zy", "zyxx", "zyq", "", "zyx!!", 5])
def test_axes_that_make_no_sense(axes):
    with pytest.raises(ConfigError) as error:
        structure({"path": "a.zarr", "axes": axes}, ArrayRef)
    assert "axes: " in str(error.value)


def test_n5_stores_x_first_unless_somebody_insists(tmp_path):
    import tensorstore

    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(tmp_path / "a.n5/raw")}}
    metadata = {"dimensions": [6, 5, 4], "blockSize": [6, 5, 4], "dataType": "uint16", "compression": {"type": "raw"}}
    tensorstore.open({**spec, "metadata": metadata, "create": True}).result()[...] = stored("xyz")
    file = tmp_path / "a.n5/raw/attributes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "axes": ["x", "y", "z"], "resolution": [4, 5, 40]}))
    path = str(tmp_path / "a.n5/raw")
    np.testing.assert_array_equal(ArrayRef(path, axes="xyz").open().read(), DATA)
    assert "but (z, y, x) were given" in problem(ArrayRef(path, axes="zyx"))
    assert ArrayRef(path, axes="zyx!").open().shape == (6, 5, 4)
    file.write_text(json.dumps({**json.loads(file.read_text()), "axes": ["z", "y", "x"]}))
    assert ArrayRef(path).open().grid == Grid.from_nm((6, 5, 4), (4, 5, 40))


def test_the_properties_of_a_webknossos_dataset(tmp_path):
    order = {"c": 0, "x": 1, "y": 2, "z": 3}
    mags = [{"mag": [1, 1, 1], "axisOrder": order}, {"mag": [2, 2, 1], "axisOrder": order, "path": "./color/2-2-1"}]
    properties = {
        "scale": {"factor": [4, 5, 40], "unit": "nanometer"},
        "dataLayers": [{"name": "color", "mags": mags}],
    }
    (tmp_path / "datasource-properties.json").write_text(json.dumps(properties))
    for name, size in (("1", (40, 5, 4)), ("2-2-1", (40, 10, 8))):
        path = write_array(tmp_path / "color" / name, stored("cxyz"))
        volume = ArrayRef(str(path)).open()
        assert volume.grid == Grid.from_nm((4, 5, 6), size)
        np.testing.assert_array_equal(volume.read(), CHANNELS)
    # what the array says itself counts first
    path = write_array(tmp_path / "color" / "1b", stored("cxyz"), {"axisOrder": order, **places("xyz")})
    require_read(ArrayRef(str(path)), "cxyz")


@pytest.mark.parametrize("letters", ["TYX", "CYX"])
def test_sections_that_a_tiff_calls_something_else(tmp_path, letters):
    file, data = tmp_path / "a.tif", numbers(5, 20, 30)
    tifffile.imwrite(
        file, data, imagej=True, resolution=(250, 250), metadata={"axes": letters, "unit": "um", "spacing": 0.04}
    )
    label = f"{file} (TIFF of shape (5, 20, 30))"
    what = "5 time points" if letters == "TYX" else "5 channels and one section"
    other = "" if letters == "TYX" else ", or write `axes: cyx` at the array if they are channels"
    assert (
        problem(ArrayRef(str(file)))
        == f"{label}: has {what}; write `axes: zyx` at the array if they are sections{other}"
    )
    volume = ArrayRef(str(file), axes="zyx").open()
    assert volume.grid == Grid.from_nm((5, 20, 30), (40, 4, 4))
    np.testing.assert_array_equal(volume.read(), data)
    if letters == "CYX":
        assert ArrayRef(str(file), axes="cyx", voxel_size_nm=(40, 4, 4)).open().shape == (5, 1, 20, 30)
    assert "but (z, x, y) were given" in problem(ArrayRef(str(file), axes="zxy"))


def test_three_sections_saved_as_rgb_get_a_hint(tmp_path, caplog):
    file, data = tmp_path / "a.tif", numbers(3, 20, 30, dtype="uint8")
    tifffile.imwrite(file, data, photometric="rgb", planarconfig="separate")
    size = {"voxel_size_nm": (8, 8, 8)}
    assert ArrayRef(str(file), **size).open().shape == (3, 1, 20, 30)
    assert caplog.messages == [
        f"{file} (TIFF of shape (3, 20, 30)): is read as one section of 3 colours; write `axes: zyx` at the array if "
        "they are sections"
    ]
    caplog.clear()
    volume = ArrayRef(str(file), axes="zyx", **size).open()
    np.testing.assert_array_equal(volume.read(), data)
    np.testing.assert_array_equal(volume.read(volume.grid.roi_of((1, 2, 3), (2, 4, 5))), data[1:3, 2:6, 3:8])
    assert ArrayRef(str(file), axes="cyx", **size).open().shape == (3, 1, 20, 30)
    assert not caplog.messages


def test_a_folder_of_sections_along_another_axis(tmp_path):
    for number, section in enumerate(stored("xyz").astype(np.uint8)):
        Image.fromarray(section).save(tmp_path / f"s{number}.png")
    volume = ArrayRef(str(tmp_path), (40, 5, 4), (80, 10, 12), axes="xyz").open()
    assert volume.grid == GRID
    np.testing.assert_array_equal(volume.read(), DATA)
    np.testing.assert_array_equal(volume.read(volume.grid.roi_of((1, 0, 2), (2, 4, 3))), DATA[1:3, :4, 2:5])


def test_what_was_understood_is_one_line(tmp_path):
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [scale(1, 40, 5, 4)]}, "czyx"))
    write_array(group / "s0", CHANNELS)
    assert ArrayRef(str(group)).open().described() == (
        f"{group}/s0: Zarr 2, axes c z y x, 4 x 5 x 6 voxels (z y x) of uint16, 2 channels, voxel size [40, 5, 4] nm, "
        "corner [-20, -2.5, -2] nm, level s0"
    )
