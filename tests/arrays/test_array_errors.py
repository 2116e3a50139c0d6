"""What the user reads when an array cannot be opened: what was found, where, and what to do."""

import os

import pytest
from zarr_files import multiscale, numbers, scale, write_array, write_group

from dacapo_hd.arrays import ArrayRef, open_volume
from dacapo_hd.errors import UserError

DATA = numbers(4, 5, 6)
GIVE_ANOTHER = "write `voxel_size_nm: [z, y, x]` at the array"
GIVE = f"{GIVE_ANOTHER}, or `assumed_voxel_size_nm: [z, y, x]` in the datasplit"


def problem(ref, wanted=None):
    with pytest.raises(UserError) as error:
        (ref if isinstance(ref, ArrayRef) else ArrayRef(str(ref))).open(wanted)
    return str(error.value)


def test_missing_array(tmp_path, zarr_format):
    write_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    train = write_group(tmp_path / "a.zarr/train", zarr_format=zarr_format)
    write_group(train / "labels", zarr_format=zarr_format)
    for name in ("raw", "labels/mito", "labels/er"):
        write_array(train / name, DATA, zarr_format=zarr_format)
    assert problem(train / "rwa") == (
        f"no array at {train}/rwa: the deepest existing folder, {train}, contains raw, labels/er, labels/mito; "
        "did you mean 'raw'?"
    )
    assert problem(train / "labels/nucleus") == (
        f"no array at {train}/labels/nucleus: the deepest existing folder, {train}/labels, contains er, mito"
    )
    assert problem(tmp_path / "a.zrr/train/raw") == (
        f"no array at {tmp_path}/a.zrr/train/raw: the deepest existing folder, {tmp_path}, contains "
        "a.zarr/train/raw, a.zarr/train/labels/er, a.zarr/train/labels/mito; did you mean 'a.zarr/train/raw'?"
    )


def test_missing_array_where_nothing_is(tmp_path):
    assert problem(tmp_path / "a.zarr") == (
        f"no array at {tmp_path}/a.zarr: the deepest existing folder, {tmp_path}, contains no arrays"
    )
    assert problem(tmp_path) == f"no array at {tmp_path}: that folder contains no arrays"


def test_long_lists_are_cut(tmp_path):
    write_group(tmp_path / "a.zarr")
    for number in range(11):
        write_array(tmp_path / f"a.zarr/c{number:02}", DATA)
    assert problem(tmp_path / "a.zarr") == (
        f"{tmp_path}/a.zarr (Zarr 2 group): has no OME multiscales; name one of the arrays in it: "
        "c00, c01, c02, c03, c04, c05, c06, c07 and 3 more"
    )


def test_group_without_arrays(tmp_path):
    path = write_group(tmp_path / "a.zarr", zarr_format=3)
    assert problem(path) == f"{path} (Zarr 3 group): has no OME multiscales; it contains no arrays"


def test_missing_voxel_size(tmp_path, zarr_format):
    path = write_array(tmp_path / "a.zarr/raw", DATA, {"offset": [1, 2, 3]}, zarr_format)
    assert problem(path) == (
        f"{path} (Zarr {zarr_format} array of shape (4, 5, 6)): has no voxel size, neither in the OME multiscales of a "
        f"group nor as its attribute 'voxel_size' or 'resolution'; {GIVE}"
    )
    assert ArrayRef(str(path), voxel_size_nm=(4, 4, 4)).open().grid.offset_nm == (1, 2, 3)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"voxel_size": [4, -4, 4]}, f"the voxel size must be > 0, got [4, -4, 4] nm; {GIVE_ANOTHER}"),
        ({"voxel_size": 4}, "its attribute 'voxel_size' is 4, not one entry per axis (z, y, x)"),
        ({"resolution": [4, "b", 4]}, "its attribute 'resolution' is [4, 'b', 4], not one entry per axis (z, y, x)"),
        ({"voxel_size": [4, 4, 4], "offset": [1]}, "its attribute 'offset' is [1], not one entry per axis (z, y, x)"),
        (
            {"voxel_size": [4, 4, 4], "units": "pixel"},
            f"axis 'z' has the unknown unit 'pixel' (known: m, cm, mm, um, nm, angstrom, pm, fm); {GIVE_ANOTHER}",
        ),
    ],
)
def test_attributes_that_make_no_sense(tmp_path, attributes, message):
    path = write_array(tmp_path / "a.zarr", DATA, attributes)
    assert problem(path) == f"{path} (Zarr 2 array of shape (4, 5, 6)): {message}"


def test_ome_axis_without_unit(tmp_path):
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [scale(4, 4, 4)]}, unit=None))
    path = write_array(group / "s0", DATA)
    assert problem(group) == (
        f"{path} (Zarr 2 array of shape (4, 5, 6)): axis 'z' has no unit (known: m, cm, mm, um, nm, angstrom, pm, fm); "
        f"{GIVE_ANOTHER}"
    )


def test_no_such_level(tmp_path, zarr_format):
    levels = {"s0": [scale(4.6, 4, 4)], "s1": [scale(9.2, 8, 8)]}
    group = write_group(tmp_path / "a.zarr", multiscale(levels), zarr_format)
    for name in levels:
        write_array(group / name, DATA, zarr_format=zarr_format)
    table = "levels: s0 [4.6, 4, 4] nm, s1 [9.2, 8, 8] nm"
    where = f"{group} (Zarr {zarr_format} group)"
    assert problem(group, (8, 8, 8)) == f"{where}: no level has the voxel size [8, 8, 8] nm; {table}"
    assert problem(group, (4.600001, 4, 4)).startswith(f"{where}: no level has the voxel size [4.600001, 4, 4] nm")
    assert problem(ArrayRef(str(group), level="s2")) == f"{where}: no level 's2'; {table}"
    array = group / "s0"
    assert problem(ArrayRef(str(array), level="s0")) == (
        f"{array} (Zarr {zarr_format} array of shape (4, 5, 6)): has no levels; leave out level: s0"
    )


def test_level_whose_array_is_missing(tmp_path):
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [scale(4, 4, 4)]}))
    assert problem(group) == f"no array at {group}/s0: the deepest existing folder, {group}, contains no arrays"


@pytest.mark.parametrize(
    ("shape", "names"), [((5,), "x"), ((2, 3, 4, 5, 6, 7), "?, t, c, z, y, x"), ((2, 1, 4, 5, 6), "a, b, z, y, x")]
)
def test_wrong_dimensionality(tmp_path, shape, names):
    attributes = {"axis_names": names.split(", ")} if "a" in names else {}
    path = write_array(tmp_path / "a.zarr", numbers(*shape), attributes)
    assert problem(path).startswith(f"{path} (Zarr 2 array of shape {shape}): cannot ")
    assert f"its axes ({names})" in problem(path)


def test_several_time_points(tmp_path):
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [scale(1, 4, 4, 4)]}, "tzyx"))
    path = write_array(group / "s0", numbers(3, 4, 5, 6))
    assert problem(group) == (
        f"{path} (Zarr 2 array of shape (3, 4, 5, 6)): has 3 time points; only a single one can be read"
    )


def test_multiscales_that_do_not_fit_their_array(tmp_path):
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [scale(4, 4, 4)]}))
    path = write_array(group / "s0", numbers(2, 4, 5, 6))
    assert problem(group) == (
        f"{path} (Zarr 2 array of shape (2, 4, 5, 6)): the OME multiscales above it describe 3 axes (z, y, x)"
    )


def test_damaged_metadata(tmp_path):
    affine = {"type": "affine", "affine": [1, 2, 3]}
    group = write_group(tmp_path / "a.zarr", multiscale({"s0": [affine]}))
    assert problem(group) == (
        f"{group} (Zarr 2 group): cannot apply the transformation {affine} of its OME multiscales; "
        "it must be a scale or a translation of 3 numbers"
    )
    (group / ".zattrs").write_text('{"multiscales": [{"axes": []}]}')
    assert problem(group) == f"{group} (Zarr 2 group): its OME multiscales are damaged: KeyError('datasets')"
    (group / ".zattrs").write_text("{")
    assert problem(group).startswith(f"{group}/.zattrs: the metadata is not JSON: ")
    (group / ".zattrs").write_text("[]")
    assert problem(group) == f"{group}/.zattrs: the metadata must be a JSON object, got list"


def test_array_that_zarr_cannot_open(tmp_path):
    path = write_array(tmp_path / "a.zarr", DATA, {"voxel_size": [4, 4, 4]})
    document = (path / ".zarray").read_text()
    (path / ".zarray").write_text(document.replace('"zarr_format":2', '"zarr_format":7'))
    message = problem(path)
    assert message.startswith(f"{path} (Zarr 2 array of shape (4, 5, 6)): cannot open: ")
    assert "tensorstore_spec" not in message


def test_folder_without_permission(tmp_path):
    path = write_array(tmp_path / "a.zarr/raw", DATA, {"voxel_size": [4, 4, 4]})
    user = os.geteuid()
    (tmp_path / "a.zarr").chmod(0)
    try:
        if user == 0:
            os.seteuid(65534)
        assert problem(path).startswith(f"cannot open {path}: no permission to read ")
    finally:
        os.seteuid(user)
        (tmp_path / "a.zarr").chmod(0o755)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ""}, "must be the path of an array, got ''"),
        ({"path": "a", "voxel_size_nm": (4, 0, 4)}, "must be > 0 on every axis, got (4, 0, 4)"),
        ({"path": "a", "voxel_size_nm": (4.0,)}, "must be [z, y, x], or [y, x] for 2D, got (4.0,)"),
        ({"path": "a", "offset_nm": (1, 2, 3, 4)}, "must be [z, y, x], or [y, x] for 2D, got (1, 2, 3, 4)"),
    ],
)
def test_fields_are_checked(fields, message):
    with pytest.raises(ValueError) as error:
        ArrayRef(**fields)
    assert str(error.value) == message


def test_open_volume_says_the_same(tmp_path):
    with pytest.raises(UserError, match=r"^no array at"):
        open_volume(str(tmp_path / "a.zarr"))
