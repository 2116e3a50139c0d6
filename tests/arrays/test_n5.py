"""N5 as its various writers describe it; the bytes through tensorstore."""

import json

import numpy as np
import pytest
import tensorstore
from zarr_files import multiscale, numbers, scale, translation

from dacapo_hd.arrays import ArrayRef, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = numbers(4, 5, 6)
GIVE_ANOTHER = "write `voxel_size_nm: [z, y, x]` at the array"
GIVE = f"{GIVE_ANOTHER}, or `assumed_voxel_size_nm: [z, y, x]` in the datasplit"


def write_n5(folder, data, attributes=None):
    """Write an array, given slowest axis first, as N5 does: fastest axis first."""
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": str(folder)},
        "metadata": {"blockSize": [3] * data.ndim},
    }
    tensorstore.open(spec, create=True, dtype=data.dtype, shape=data.shape[::-1]).result()[...] = data.T
    document = folder / "attributes.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), **(attributes or {})}))
    return folder


def write_group(folder, attributes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attributes.json").write_text(json.dumps(attributes))
    return folder


def transform(size, shift, axes="zyx", unit="nm"):
    return {"axes": list(axes), "scale": size, "translate": shift, "units": [unit] * len(axes)}


def test_plain_attributes_begin_with_x(tmp_path):
    attributes = {"resolution": [4, 4.5, 40], "offset": [1, 2, 3]}
    volume = open_volume(write_n5(tmp_path / "a.n5/raw", DATA, attributes))
    assert volume.grid == Grid.from_nm((4, 5, 6), (40, 4.5, 4), (3, 2, 1))
    np.testing.assert_array_equal(volume.read(), DATA)
    roi = volume.grid.roi_of((1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(volume.read(roi), DATA[1:3, 2:5, 3:4])
    assert (volume.dtype, volume.channels, volume.chunk_shape_vx) == (np.dtype("uint16"), None, (3, 3, 3))
    assert dict(volume.attributes) == attributes


def test_it_can_be_written(tmp_path):
    volume = open_volume(write_n5(tmp_path / "a.n5/raw", DATA, {"resolution": [4, 4, 4]}))
    roi = volume.grid.roi_of((1, 2, 3), (2, 3, 1))
    volume.write(roi, np.zeros((2, 3, 1), np.uint16))
    expected = DATA.copy()
    expected[1:3, 2:5, 3:4] = 0
    np.testing.assert_array_equal(open_volume(tmp_path / "a.n5/raw").read(), expected)


def test_channels_come_last_in_the_file(tmp_path):
    data = numbers(2, 4, 5, 6)
    volume = open_volume(write_n5(tmp_path / "a.n5/raw", data, {"resolution": [4, 5, 6]}))
    assert (volume.channels, volume.grid.voxel_size_nm) == (2, (6, 5, 4))
    np.testing.assert_array_equal(volume.read(), data)


def test_cosem_multiscales(tmp_path):
    levels = {"s0": transform([5.24, 4, 4], [2.62, 2, 2]), "s1": transform([10.48, 8, 8], [5.24, 4, 4])}
    datasets = [{"path": name, "transform": one} for name, one in levels.items()]
    group = write_group(
        tmp_path / "a.n5/em", {"multiscales": [{"name": "em", "datasets": datasets}], "axes": ["x", "y", "z"]}
    )
    write_n5(group / "s0", DATA, {"transform": levels["s0"]})
    # the arrays of other writers carry no transform of their own
    write_n5(group / "s1", DATA[:2, :3, :3], {"pixelResolution": {"dimensions": [8, 8, 10], "unit": "nm"}})
    write_n5(tmp_path / "b.n5/s0", DATA, {"transform": transform([4, 5.24, 4], [0.002, 0, 0], "yzx", "nm")})
    assert open_volume(group).grid == Grid.from_nm((4, 5, 6), (5.24, 4, 4))
    for coarse in (
        ArrayRef(str(group)).open((10.48, 8, 8)),
        open_volume(group / "s1"),
        ArrayRef(str(group), level="s1").open(),
    ):
        assert coarse.grid == Grid.from_nm((2, 3, 3), (10.48, 8, 8))
    assert open_volume(tmp_path / "b.n5/s0").grid == Grid.from_nm((4, 5, 6), (5.24, 4, 4), (-2.62, -1.998, -2))


def test_ome_multiscales_in_n5(tmp_path):
    levels = {"s0": [scale(40, 4, 4), translation(20, 2, 2)], "s1": [scale(40, 8, 8), translation(20, 4, 4)]}
    group = write_group(tmp_path / "a.n5/em", {"multiscales": [multiscale(levels)]})
    write_n5(group / "s0", DATA)
    write_n5(group / "s1", DATA)
    assert open_volume(group).grid == Grid.from_nm((4, 5, 6), (40, 4, 4))
    assert open_volume(group / "s1").grid == Grid.from_nm((4, 5, 6), (40, 8, 8))


@pytest.mark.parametrize("where", ["each level", "the group", "the group of older versions"])
def test_n5_viewer_pyramids_share_their_corner(tmp_path, where):
    """https://github.com/saalfeldlab/n5-viewer: the first voxel of the finest level has its centre at 0."""
    size = {"pixelResolution": {"dimensions": [0.004, 0.004, 0.04], "unit": "um"}}
    factors = [[1, 1, 1], [2, 2, 1]]
    shared = {
        "each level": {},
        "the group": {**size, "downsamplingFactors": factors},
        "the group of older versions": {**size, "scales": factors},
    }[where]
    group = write_group(tmp_path / "a.n5/c0", shared)
    for number, factor in enumerate(factors):
        own = {**size, **({"downsamplingFactors": factor} if number else {})} if where == "each level" else {}
        write_n5(group / f"s{number}", DATA, own)
    fine, coarse = open_volume(group), ArrayRef(str(group)).open((40, 8, 8))
    assert fine.grid == Grid.from_nm((4, 5, 6), (40, 4, 4), (-20, -2, -2))
    assert coarse.grid == Grid.from_nm((4, 5, 6), (40, 8, 8), (-20, -2, -2))
    assert open_volume(group / "s1").grid == coarse.grid


FINEST = {"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}}


@pytest.mark.parametrize("key", ["scales", "downsamplingFactors"])
@pytest.mark.parametrize(
    ("own", "size"),
    [
        ({}, (40, 12, 12)),
        ({"pixelResolution": {"dimensions": [12, 12, 40], "unit": "nm"}}, (40, 12, 12)),
        ({"pixelResolution": {"dimensions": [0.012, 0.012, 0.04], "unit": "um"}}, (40, 12, 12)),
        ({**FINEST, "downsamplingFactors": [2, 2, 2]}, (80, 8, 8)),
        ({"downsamplingFactors": [2, 2, 2]}, (80, 8, 8)),
    ],
)
def test_what_a_level_says_itself_counts_more_than_what_its_group_says(tmp_path, key, own, size):
    group = write_group(tmp_path / "a.n5/em", {**FINEST, key: [[1, 1, 1], [3, 3, 1], [9, 9, 1]]})
    for name, attributes in (("s0", {}), ("s1", own), ("s2", {})):
        write_n5(group / name, DATA, attributes)
    levels = ArrayRef(str(group)).open_levels()
    corner = (-20, -2, -2)
    expected = {"s0": (40, 4, 4), "s1": size, "s2": (40, 36, 36)}
    assert {name: volume.grid for name, volume in levels.items()} == {
        name: Grid.from_nm((4, 5, 6), voxel_size_nm, corner) for name, voxel_size_nm in expected.items()
    }
    for name, volume in levels.items():
        assert open_volume(group / name).grid == volume.grid


def test_a_transform_of_a_level_counts_more_than_what_its_group_says(tmp_path):
    group = write_group(tmp_path / "a.n5/em", {**FINEST, "scales": [[1, 1, 1], [2, 2, 1]]})
    write_n5(group / "s0", DATA)
    write_n5(group / "s1", DATA, {"transform": transform([30, 7, 7], [15, 3.5, 3.5]), **FINEST})
    assert ArrayRef(str(group), level="s1").open().grid == Grid.from_nm((4, 5, 6), (30, 7, 7))
    assert open_volume(group / "s1").grid == Grid.from_nm((4, 5, 6), (30, 7, 7))


def test_levels_that_are_links(tmp_path):
    group = write_group(tmp_path / "a.n5/em", {**FINEST, "scales": [[1, 1, 1], [2, 2, 1]]})
    for name in ("s0", "s1"):
        write_n5(group / name, DATA)
    # in a plain folder, in a group that says nothing, and in one that says something else
    write_group(tmp_path / "b.n5", {"n5": "2.5.1"})
    own = write_group(tmp_path / "c.n5", {**FINEST, "scales": [[1, 1, 1], [4, 4, 1]]})
    (tmp_path / "links").mkdir()
    for folder, name, size in (("links", "raw", 8), ("b.n5", "raw", 8), (own.name, "s1", 16)):
        (tmp_path / folder / name).symlink_to(group / "s1")
        volume = open_volume(tmp_path / folder / name)
        assert volume.grid == Grid.from_nm((4, 5, 6), (40, size, size), (-20, -2, -2))
        np.testing.assert_array_equal(volume.read(), DATA)


def test_paintera_pyramids(tmp_path):
    group = write_group(tmp_path / "a.n5/raw", {"multiScale": True, "resolution": [4, 4, 40], "offset": [8, 0, 80]})
    write_n5(group / "s0", DATA)
    write_n5(group / "s1", DATA, {"downsamplingFactors": [2, 2, 1]})
    assert open_volume(group).grid == Grid.from_nm((4, 5, 6), (40, 4, 4), (80, 0, 8))
    assert open_volume(group / "s1").grid == Grid.from_nm((4, 5, 6), (40, 8, 8), (80, 0, 8))


def test_bigdataviewer_has_its_unit_elsewhere(tmp_path):
    group = write_group(tmp_path / "a.n5/setup0/timepoint0", {"multiScale": True, "resolution": [0.1, 0.1, 0.2]})
    path = write_n5(group / "s0", DATA, {"downsamplingFactors": [1, 1, 1]})
    with pytest.raises(UserError) as error:
        open_volume(path)
    assert str(error.value) == (
        f"{path} (N5 array of shape (6, 5, 4)): axis 'x' has the unknown unit 'as in the XML file' "
        f"(known: m, cm, mm, um, nm, angstrom, pm, fm); {GIVE_ANOTHER}"
    )
    assert ArrayRef(str(group), voxel_size_nm=(200, 100, 100)).open().grid.voxel_size_nm == (200, 100, 100)


def test_groups_need_no_metadata(tmp_path):
    write_group(tmp_path / "a.n5", {"n5": "2.5.1"})
    write_n5(tmp_path / "a.n5/volumes/raw", DATA)
    with pytest.raises(UserError) as error:
        open_volume(tmp_path / "a.n5/volumes/rwa")
    assert str(error.value) == (
        f"no array at {tmp_path}/a.n5/volumes/rwa: the deepest existing folder, {tmp_path}/a.n5/volumes, contains raw; "
        "did you mean 'raw'?"
    )
    with pytest.raises(UserError) as error:
        open_volume(tmp_path / "a.n5")
    assert str(error.value) == (f"{tmp_path}/a.n5 (N5 group): has no levels; name one of the arrays in it: volumes/raw")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {},
            "has no voxel size, neither in the multiscales of a group nor as its attribute 'transform', "
            "'pixelResolution' or 'resolution'; " + GIVE,
        ),
        ({"resolution": [4] * 4}, "its attribute 'resolution' is [4, 4, 4, 4], not one entry per axis (x, y, z)"),
        ({"transform": {"axes": ["z"]}}, "its attributes about voxel size are damaged: KeyError('scale')"),
        (
            {"pixelResolution": [1.5, 1.5, 1.5]},
            "axis 'x' has no unit (known: m, cm, mm, um, nm, angstrom, pm, fm); " + GIVE_ANOTHER,
        ),
        ({"downsamplingFactors": 3, "pixelResolution": {"dimensions": [1, 1, 1], "unit": "nm"}}, "are damaged: "),
    ],
)
def test_attributes_that_make_no_sense(tmp_path, attributes, message):
    path = write_n5(tmp_path / "a.n5/raw", DATA, attributes)
    with pytest.raises(UserError) as error:
        open_volume(path)
    assert str(error.value).startswith(f"{path} (N5 array of shape (6, 5, 4)): ")
    assert message in str(error.value)


def test_a_compression_that_is_not_known_is_named(tmp_path):
    path = write_n5(tmp_path / "a.n5/raw", DATA, {"resolution": [4, 4, 4], "compression": {"type": "lz4"}})
    with pytest.raises(UserError) as error:
        open_volume(path)
    assert str(error.value).startswith(f"{path} (N5 array of shape (6, 5, 4)): cannot open: ")
    assert "lz4" in str(error.value)
