"""Pyramids: what is in the coarser levels, where it lies, and what other programs read."""

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
import tensorstore
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.arrays import ArrayRef, create_volume, fill_pyramid, open_volume
from dacapo_hd.arrays.levels import halved_axes, level_grids
from dacapo_hd.arrays.pyramid import downsampled
from dacapo_hd.blockwise import BlocksFailedError, Local
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

ZARR_GENERATION = int(zarr.__version__.split(".")[0])


def windows(data, factors):
    """Yield the index of each coarse voxel of a 3D array and the values that it covers."""
    shape = [-(-n // factor) for n, factor in zip(data.shape, factors, strict=True)]
    for index in np.ndindex(*shape):
        box = (slice(i * factor, (i + 1) * factor) for i, factor in zip(index, factors, strict=True))
        yield index, shape, data[tuple(box)].ravel().tolist()


def brute_force(data, factors, method):
    if data.ndim == 4:
        return np.stack([brute_force(channel, factors, method) for channel in data])
    out = None
    for index, shape, values in windows(data, factors):
        out = np.zeros(shape, data.dtype) if out is None else out
        out[index] = mode(values) if method == "mode" or data.dtype == bool else mean(values, data.dtype)
    return out


def mode(values):
    counts = Counter(values)
    return min(value for value, count in counts.items() if count == max(counts.values()))


def mean(values, dtype):
    if dtype.kind == "f":
        return np.mean(np.array(values, np.float64))
    # Fraction rounds halves to even
    return round(Fraction(sum(map(int, values)), len(values)))


VALUES = {
    "uint8": st.integers(0, 255),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint64": st.one_of(st.integers(0, 3), st.integers(2**64 - 3, 2**64 - 1)),
    "bool": st.booleans(),
    "float32": st.integers(-1000, 1000).map(lambda n: n / 8),
}


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    data=st.data(),
    dtype=st.sampled_from(list(VALUES)),
    method=st.sampled_from(["mean", "mode"]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    factors=st.tuples(*[st.sampled_from([1, 2])] * 3),
    channels=st.sampled_from([None, 1, 2]),
)
def test_downsampling_equals_the_definition(data, dtype, method, shape, factors, channels):
    shape = shape if channels is None else (channels, *shape)
    few = data.draw(st.lists(VALUES[dtype], min_size=1, max_size=4))
    values = data.draw(st.lists(st.sampled_from(few), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array = np.array(values, dtype).reshape(shape)
    found = downsampled(array, factors, method)
    assert found.dtype == array.dtype
    np.testing.assert_allclose(found, brute_force(array, factors, method), rtol=1e-6, atol=0)
    if dtype != "float32":
        np.testing.assert_array_equal(found, brute_force(array, factors, method))


@pytest.mark.parametrize(
    ("size", "shape", "halved"),
    [
        ((4, 4, 4), (9, 9, 9), (2, 2, 2)),
        ((40, 4, 4), (9, 9, 9), (1, 2, 2)),
        ((40, 32, 32), (9, 9, 9), (2, 2, 2)),
        ((5.24, 4, 4), (9, 9, 9), (2, 2, 2)),
        ((7, 4, 4), (9, 9, 9), (1, 2, 2)),
        ((4, 40, 40), (9, 9, 9), (2, 1, 1)),
        ((4, 4, 4), (1, 9, 9), (1, 2, 2)),
        ((4, 40, 40), (1, 9, 9), (1, 2, 2)),
        ((4, 4, 4), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_axes_that_are_much_coarser_wait(size, shape, halved):
    assert halved_axes(Grid.from_nm(shape, size)) == halved


def test_levels_end_where_one_fits_into_a_chunk():
    grid = Grid.from_nm((100, 1000, 999), (40, 4.6, 4.6), (2.5, 0, 0))
    levels = level_grids(grid, None, (64, 64, 64))
    assert [level.shape_vx for level in levels] == [
        (100, 1000, 999), (100, 500, 500), (100, 250, 250), (100, 125, 125), (50, 63, 63)
    ]  # fmt: skip
    assert [level.voxel_size_nm for level in levels] == [
        (40, 4.6, 4.6), (40, 9.2, 9.2), (40, 18.4, 18.4), (40, 36.8, 36.8), (80, 73.6, 73.6)
    ]  # fmt: skip
    assert {level.offset_nm for level in levels} == {(2.5, 0, 0)}
    assert level_grids(grid, 2, (64, 64, 64)) == levels[:2]
    assert len(level_grids(Grid.from_nm((64, 64, 1), (4, 4, 4)), None, (64, 64, 64))) == 1


GRID = Grid.from_nm((21, 50, 37), (40, 8.5, 8), (2.5, -3.3, 100))
LEVELS = ["s0", "s1", "s2", "s3", "s4"]


def make(folder, dtype="uint16", channels=None, method="mean", zarr_format=2, **options):
    """Create a pyramid of smooth random values, all levels filled; returns the finest data."""
    rng = np.random.default_rng(0)
    shape = (*([] if channels is None else [channels]), *GRID.shape_vx)
    coarse = rng.integers(0, 200, [-(-n // 3) for n in shape]).astype(dtype)
    data = np.repeat(np.repeat(np.repeat(coarse, 3, -1), 3, -2), 3, -3)
    data = data if channels is None else np.repeat(data, 3, 0)
    data = data[tuple(slice(n) for n in shape)]
    names = [f"class {i}" for i in range(channels or 0)]
    volume = create_volume(
        folder, GRID, dtype, channels, names, chunk_shape_vx=(8, 8, 8), zarr_format=zarr_format, levels=None,
        downsampling=method, **options,
    )  # fmt: skip
    volume.write(GRID.roi, data)
    return data


@pytest.mark.parametrize("method", ["mean", "mode"])
@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("compute", [Local(1), Local(2)], ids=["here", "two processes"])
def test_each_level_is_made_from_the_one_before(tmp_path, zarr_format, method, channels, compute):
    if compute.workers > 1 and (channels or zarr_format == 2):
        pytest.skip("one case is enough")
    expected = make(tmp_path / "a.zarr", channels=channels, method=method, zarr_format=zarr_format)
    fill_pyramid(tmp_path / "a.zarr", tmp_path / "record", compute, block_bytes=1 if compute.workers > 1 else 8192)
    levels = ArrayRef(str(tmp_path / "a.zarr")).open_levels()
    assert list(levels) == LEVELS
    finer = GRID
    for name, volume in levels.items():
        if name != "s0":
            expected = brute_force(expected, tuple(volume.grid.voxel_size / finer.voxel_size), method)
        np.testing.assert_array_equal(volume.read(), expected)
        finer = volume.grid


def test_the_blocks_do_not_change_the_result(tmp_path):
    for name, size in (("a", 2**26), ("b", 1), ("c", 40000)):
        make(tmp_path / f"{name}.zarr", "uint64", method="mode")
        fill_pyramid(tmp_path / f"{name}.zarr", tmp_path / f"record_{name}", block_bytes=size)
    for level in LEVELS[1:]:
        first, *others = (open_volume(tmp_path / f"{name}.zarr" / level).read() for name in "abc")
        assert all((first == other).all() for other in others)


def attributes(folder, zarr_format):
    document = "zarr.json" if zarr_format == 3 else ".zattrs"
    content = json.loads((Path(folder) / document).read_text())
    return content["attributes"] if zarr_format == 3 else content


@pytest.mark.parametrize("channels", [None, 2])
def test_models_of_the_specification_accept_it(tmp_path, zarr_format, channels):
    make(tmp_path / "a.zarr", channels=channels, zarr_format=zarr_format)
    group = yaozarrs.open_group(tmp_path / "a.zarr") if zarr_format == 2 else yaozarrs.validate_zarr_store(
        tmp_path / "a.zarr"
    )  # fmt: skip
    parsed = [group.ome_metadata()]
    if zarr_format == 2:
        from ome_zarr_models.v04.image import ImageAttrs

        parsed.append(ImageAttrs.model_validate(attributes(tmp_path / "a.zarr", zarr_format)))
    for found in parsed:
        (multiscale,) = found.multiscales
        assert multiscale.type == "mean"
        assert [axis.name for axis in multiscale.axes] == [*["c"] * bool(channels), "z", "y", "x"]
        assert {axis.unit for axis in multiscale.axes if axis.type == "space"} == {"nanometer"}
        assert [dataset.path for dataset in multiscale.datasets] == LEVELS
        labels = [channel.label for channel in found.omero.channels] if channels else found.omero
        assert labels == (["class 0", "class 1"] if channels else None)


@pytest.mark.skipif(ZARR_GENERATION < 3, reason="ome-zarr-models opens groups of zarr-python 3")
def test_ome_zarr_models_opens_it_with_its_arrays(tmp_path, zarr_format):
    make(tmp_path / "a.zarr", channels=2, zarr_format=zarr_format)
    opened = ome_zarr_models.open_ome_zarr(zarr.open_group(str(tmp_path / "a.zarr"), mode="r"))
    assert type(opened).__name__ == "Image"
    assert opened.ome_zarr_version == {2: "0.4", 3: "0.5"}[zarr_format]


def test_every_level_lies_where_its_voxels_are(tmp_path, zarr_format):
    """A reader that knows OME-NGFF only: voxel i has its centre at i * scale + translation."""
    grid = Grid.from_nm((16, 32, 32), (8, 4, 4), (100, 20, -12))
    volume = create_volume(
        tmp_path / "a.zarr", grid, "float32", chunk_shape_vx=(4, 4, 4), zarr_format=zarr_format, levels=None
    )
    centres = np.meshgrid(
        *((np.arange(n) + 0.5) * s + o for n, s, o in zip(*_numbers(grid), strict=True)), indexing="ij"
    )
    for axis in range(3):
        # the mean of the positions of the voxels that one covers is its own position
        volume.write(grid.roi, centres[axis].astype(np.float32))
        fill_pyramid(tmp_path / "a.zarr", tmp_path / f"record{axis}")
        found = attributes(tmp_path / "a.zarr", zarr_format)
        for dataset in found.get("ome", found)["multiscales"][0]["datasets"]:
            driver = {2: "zarr", 3: "zarr3"}[zarr_format]
            folder = str(tmp_path / "a.zarr" / dataset["path"])
            stored = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": folder}}).result()
            steps = {step["type"]: step[step["type"]] for step in dataset["coordinateTransformations"]}
            positions = np.arange(stored.shape[axis]) * steps["scale"][axis] + steps["translation"][axis]
            values = np.moveaxis(stored.read().result(), axis, 0).reshape(stored.shape[axis], -1)
            np.testing.assert_allclose(values, np.repeat(positions[:, None], values.shape[1], 1), atol=1e-4)


def _numbers(grid):
    return grid.shape_vx, grid.voxel_size_nm, grid.offset_nm


def test_levels_carry_the_attributes_that_funlib_reads(tmp_path):
    from funlib.persistence import open_ds

    make(tmp_path / "a.zarr", zarr_format=ZARR_GENERATION, attributes={"encoding": {"unknown": 255}})
    array = open_ds(tmp_path / "a.zarr/s1")
    assert (list(array.voxel_size), list(array.offset), array.units) == (
        [40000, 17000, 16000], [2500, -3300, 100000], ["pm"] * 3
    )  # fmt: skip
    assert open_volume(tmp_path / "a.zarr/s2").attributes["encoding"] == {"unknown": 255}


def test_shards_hold_several_chunks(tmp_path):
    data = make(tmp_path / "a.zarr", zarr_format=3, shard_shape_vx=(16, 32, 16))
    fill_pyramid(tmp_path / "a.zarr", tmp_path / "record", Local(2))
    levels = ArrayRef(str(tmp_path / "a.zarr")).open_levels()
    assert [volume.chunk_shape_vx for volume in levels.values()][:3] == [(16, 32, 16), (16, 32, 16), (16, 16, 16)]
    np.testing.assert_array_equal(levels["s0"].read(), data)
    np.testing.assert_array_equal(levels["s1"].read(), brute_force(data, (1, 2, 2), "mean"))
    files = [path for path in (tmp_path / "a.zarr/s0/c").rglob("*") if path.is_file()]
    assert len(files) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("zarr_format", "shard", "message"),
    [
        (2, (64, 64, 64), "Zarr 2 has no shards; give --zarr-format 3"),
        (3, (8, 12, 8), "shards of (8, 12, 8) voxels are not whole numbers of chunks of (8, 8, 8)"),
    ],
)
def test_shards_that_do_not_fit_are_refused(tmp_path, zarr_format, shard, message):
    with pytest.raises(UserError) as error:
        make(tmp_path / "a.zarr", zarr_format=zarr_format, shard_shape_vx=shard)
    assert str(error.value) == message
    assert not (tmp_path / "a.zarr").exists()


def test_an_interrupted_pyramid_goes_on(tmp_path):
    make(tmp_path / "whole.zarr")
    fill_pyramid(tmp_path / "whole.zarr", tmp_path / "record_whole", block_bytes=1)
    make(tmp_path / "a.zarr")
    chunk = tmp_path / "a.zarr/s0/2/3/2"
    content = chunk.read_bytes()
    chunk.write_bytes(b"damaged")
    with pytest.raises(BlocksFailedError):
        fill_pyramid(tmp_path / "a.zarr", tmp_path / "record", block_bytes=1)
    assert not any(open_volume(tmp_path / "a.zarr/s2").read().ravel())
    chunk.write_bytes(content)
    done = open_volume(tmp_path / "a.zarr/s1")
    first = done.grid.roi_of((0, 0, 0), (8, 8, 8))
    done.write(first, np.full((8, 8, 8), 7, np.uint16))
    fill_pyramid(tmp_path / "a.zarr", tmp_path / "record", block_bytes=1)
    # what was done before was not done again
    assert (open_volume(tmp_path / "a.zarr/s1").read(first) == 7).all()
    done.write(first, open_volume(tmp_path / "whole.zarr/s1").read(first))
    np.testing.assert_array_equal(done.read(), open_volume(tmp_path / "whole.zarr/s1").read())
    fill_pyramid(tmp_path / "a.zarr", tmp_path / "record", block_bytes=1, fresh=True)
    for level in LEVELS[1:]:
        files = [
            {path.relative_to(root): path.read_bytes() for path in (root / level).rglob("*") if path.is_file()}
            for root in (tmp_path / "a.zarr", tmp_path / "whole.zarr")
        ]
        assert files[0] == files[1]


def test_a_group_must_say_how_its_levels_are_made(tmp_path):
    create_volume(tmp_path / "a.zarr", GRID, "uint8")
    with pytest.raises(UserError) as error:
        fill_pyramid(tmp_path / "a.zarr", tmp_path / "record")
    assert str(error.value) == (
        f"{tmp_path}/a.zarr (Zarr 2 group): does not say whether its levels are a mean or a mode; create it with levels"
    )


def test_a_pyramid_can_be_overwritten(tmp_path):
    make(tmp_path / "a.zarr")
    data = make(tmp_path / "a.zarr", overwrite=True)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read(), data)


def test_empty_blocks_take_no_space(tmp_path, zarr_format):
    create_volume(tmp_path / "a.zarr", GRID, "uint8", zarr_format=zarr_format, levels=None, chunk_shape_vx=(8, 8, 8))
    fill_pyramid(tmp_path / "a.zarr", tmp_path / "record")
    stored = {path.name for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()}
    assert stored <= {".zarray", ".zattrs", ".zgroup", "zarr.json"}
