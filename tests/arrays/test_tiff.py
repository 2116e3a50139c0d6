"""TIFF files of one and many pages, written by tifffile and Pillow as other programs write them."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr_files import numbers

from dacapo_hd.arrays import ArrayRef, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = np.random.default_rng(0).integers(0, 2**16, (5, 70, 90), dtype=np.uint16)
GIVE = "give voxel_size_nm: [z, y, x] in the config, or --voxel-size on the command line"
PLAIN = {"metadata": None, "photometric": "minisblack"}


def opened(path):
    return ArrayRef(str(path), voxel_size_nm=(8, 4, 4)).open()


def problem(path):
    with pytest.raises(UserError) as error:
        open_volume(path)
    return str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True, "byteorder": ">"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {**PLAIN, "rowsperstrip": 16},
        {**PLAIN, "compression": "zlib", "rowsperstrip": 16},
        {**PLAIN, "compression": "zlib", "predictor": True, "byteorder": ">"},
        {**PLAIN, "compression": "zlib", "tile": (32, 48)},
        {**PLAIN, "compression": "lzw", "rowsperstrip": 11},
        {**PLAIN, "compression": "zstd", "tile": (16, 16)},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_any_layout_of_pages_is_read_by_roi(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", DATA, **options)
    volume = opened(tmp_path / "a.tif")
    assert (volume.dtype, volume.channels, volume.shape) == (np.dtype("uint16"), None, DATA.shape)
    block = volume.read()
    assert block.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(block, DATA)
    for begin, end in (((1, 17, 33), (4, 18, 34)), ((4, 0, 0), (5, 70, 1)), ((0, 31, 47), (1, 66, 90))):
        roi = volume.grid.roi_of(begin, np.subtract(end, begin))
        np.testing.assert_array_equal(volume.read(roi), DATA[tuple(map(slice, begin, end))])


boxes = st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in DATA.shape))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(box=boxes, tile=st.sampled_from([None, (16, 16), (32, 16)]), rows=st.sampled_from([1, 7, 64, 70]))
def test_strips_and_tiles_are_put_together_as_the_page_was(tmp_path_factory, box, tile, rows):
    file = tmp_path_factory.mktemp("tiff") / "a.tif"
    layout = {"tile": tile} if tile else {"rowsperstrip": rows}
    tifffile.imwrite(file, DATA, compression="zlib", **PLAIN, **layout)
    volume = opened(file)
    begin = [b for b, _ in box]
    shape = [min(n, size - b) for (b, n), size in zip(box, DATA.shape, strict=True)]
    expected = DATA[tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))]
    np.testing.assert_array_equal(volume.read(volume.grid.roi_of(begin, shape)), expected)


def test_only_the_strips_of_the_roi_are_read(tmp_path):
    """The strips beyond it are destroyed."""
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, DATA, compression="zlib", rowsperstrip=10, **PLAIN)
    with tifffile.TiffFile(file) as tiff:
        strips = [(page.dataoffsets[6], page.databytecounts[6]) for page in tiff.pages]
    content = bytearray(file.read_bytes())
    for offset, count in strips:
        content[offset : offset + count] = bytes(count)
    file.write_bytes(content)
    volume = opened(file)
    np.testing.assert_array_equal(volume.read(volume.grid.roi_of((0, 0, 0), (5, 60, 90))), DATA[:, :60])
    with pytest.raises(UserError) as error:
        volume.read()
    assert str(error.value).startswith(f"{file}: cannot read: page 1: ")
    assert volume.chunk_shape_vx == (1, 10, 90)


def test_channels_and_colours(tmp_path):
    data = numbers(4, 2, 5, 6)
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZCYX"})
    volume = opened(tmp_path / "a.tif")
    assert volume.channels == 2
    np.testing.assert_array_equal(volume.read(), np.einsum("zcyx->czyx", data))
    colours = numbers(4, 5, 6, 3, dtype="uint8")
    for options in ({}, {"compression": "zlib", "rowsperstrip": 2}, {"compression": "zlib", "tile": (16, 16)}):
        tifffile.imwrite(tmp_path / "b.tif", colours, photometric="rgb", **options)
        np.testing.assert_array_equal(opened(tmp_path / "b.tif").read(), np.einsum("zyxc->czyx", colours))
    planes = np.einsum("zyxc->zcyx", colours)
    tifffile.imwrite(tmp_path / "c.tif", planes, photometric="rgb", planarconfig="separate", compression="zlib")
    volume = opened(tmp_path / "c.tif")
    np.testing.assert_array_equal(volume.read(), np.einsum("zcyx->czyx", planes))
    roi = volume.grid.roi_of((1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(volume.read(roi), np.einsum("zcyx->czyx", planes)[:, 1:3, 2:5, 3:4])


def test_a_single_page_is_one_section(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DATA[0])
    volume = ArrayRef(str(tmp_path / "a.tif"), voxel_size_nm=(4, 5)).open()
    assert volume.grid == Grid.from_nm((1, 70, 90), (4, 4, 5))
    np.testing.assert_array_equal(volume.read(), DATA[:1])


def test_pages_that_were_written_one_by_one_are_a_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in DATA:
            writer.write(page, contiguous=False)
    np.testing.assert_array_equal(opened(tmp_path / "a.tif").read(), DATA)


def imagej(pixels_per_unit, spacing, unit):
    metadata = {"spacing": spacing, "unit": unit, "axes": "ZYX"}
    return {"imagej": True, "resolution": pixels_per_unit, "metadata": metadata}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (
            {"imagej": True, "resolution": (250, 200), "metadata": {"spacing": 0.04, "unit": "um", "axes": "ZYX"}},
            (40, 5, 4),
        ),
        (
            {
                "imagej": True,
                "resolution": (250, 200),
                "metadata": {"spacing": 0.04, "unit": "\\u00B5m", "axes": "ZYX"},
            },
            (40, 5, 4),
        ),
        (
            {"imagej": True, "resolution": (0.25, 0.2), "metadata": {"spacing": 40, "unit": "nm", "axes": "ZYX"}},
            (40, 5, 4),
        ),
        (
            {
                "ome": True,
                "metadata": {
                    "axes": "ZYX",
                    "PhysicalSizeX": 4,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 0.005,
                    "PhysicalSizeZ": 0.00524,
                    "PhysicalSizeZUnit": "\u00b5m",
                },
            },
            (5.24, 5, 4),
        ),
    ],
    ids=["micrometre", "escaped", "nanometre", "OME"],
)
def test_the_voxel_size_comes_from_the_metadata(tmp_path, options, size):
    tifffile.imwrite(tmp_path / "a.tif", DATA, **options)
    assert open_volume(tmp_path / "a.tif").grid == Grid.from_nm(DATA.shape, size)


def test_resolution_tags_give_y_and_x(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, DATA[0], resolution=(1e7 / 4, 1e7 / 5), resolutionunit="CENTIMETER")
    assert open_volume(file).grid.voxel_size_nm == (5, 5, 4)
    tifffile.imwrite(file, DATA, resolution=(1e7 / 4, 1e7 / 5), resolutionunit="CENTIMETER")
    label = f"{file} (TIFF of shape (5, 70, 90))"
    assert problem(file) == f"{label}: has no voxel size for z (only y 5 nm, x 4 nm); {GIVE}"
    nowhere = f"{label}: has no voxel size, neither in OME or ImageJ metadata nor in its resolution tags; {GIVE}"
    for resolution, unit in (((300, 300), "INCH"), ((1, 1), "NONE"), ((0, 0), "CENTIMETER")):
        tifffile.imwrite(file, DATA, resolution=resolution, resolutionunit=unit)
        assert problem(file) == nowhere
    tifffile.imwrite(file, DATA, imagej=True, metadata={"unit": "pixel", "spacing": 1, "axes": "ZYX"})
    assert problem(file) == nowhere


def test_threads_and_pickled_copies_read_at_once(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DATA, compression="zlib", rowsperstrip=8, **PLAIN)
    volume = opened(tmp_path / "a.tif")
    volume.read()
    copy = pickle.loads(pickle.dumps(volume))
    rois = [volume.grid.roi_of((z, y, 0), (1, 10, 90)) for z in range(5) for y in range(0, 70, 10)]
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(copy.read, rois))
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1).reshape(DATA.shape), DATA)


def test_pages_that_differ_are_an_error(tmp_path):
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        for page in (DATA[0], DATA[1], DATA[2, :60]):
            writer.write(page, **PLAIN)
    assert problem(file) == (
        f"{file}: page 3 has the shape (60, 90) and is uint16, but the first has (70, 90) and is uint16; "
        "the pages of a stack must be equal"
    )


def test_time_points_and_strange_axes_are_errors(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, DATA, imagej=True, metadata={"axes": "TYX"})
    assert problem(file) == f"{file} (TIFF of shape (5, 70, 90)): has 5 time points; only a single one can be read"
    tifffile.imwrite(file, numbers(2, 2, 5, 6, 3, dtype="uint8"), imagej=True, metadata={"axes": "ZCYXS"})
    assert problem(file) == (
        f"{file} (TIFF of shape (2, 2, 5, 6, 3)): cannot use its axes (z, c, y, x, c); "
        "they must be (y, x), (z, y, x) or (c, z, y, x), in any order"
    )


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated_files_are_errors_wherever_they_end(tmp_path, compression):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, DATA, compression=compression, **PLAIN)
    content = file.read_bytes()
    for length in range(2, len(content), len(content) // 50):
        file.write_bytes(content[:length])
        with pytest.raises(UserError) as error:
            opened(file).read()
        assert str(file) in str(error.value)
        assert "\n" not in str(error.value)


def test_other_content_is_an_error(tmp_path):
    file = tmp_path / "a.tif"
    file.write_bytes(b"<html>")
    assert problem(file).startswith(f"cannot open {file}: not a readable TIFF file: ")
    tifffile.imwrite(file, DATA)
    assert problem(file / "raw") == f"cannot open {file}/raw: a.tif is a single image; leave out /raw"
