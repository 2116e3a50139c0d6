"""TIFF files of one and many pages, written by tifffile and Pillow as other programs write them."""

import json
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

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
GIVE = "write `voxel_size_nm: [z, y, x]` at the array, or `assumed_voxel_size_nm: [z, y, x]` in the datasplit"
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


@pytest.mark.parametrize(
    ("units", "spacing", "size"),
    [
        ({"unit": "um", "zunit": "nm"}, 40, (40, 5, 4)),
        ({"unit": "\\u00B5m", "zunit": "nm"}, 40, (40, 5, 4)),
        ({"unit": "nm", "yunit": "um", "zunit": "\\u00B5m"}, 0.04, (40, 5, 0.004)),
        ({"unit": "micron", "yunit": "nm"}, 0.04, (40, 0.005, 4)),
        ({"unit": "mm", "yunit": "um", "zunit": "Angstrom"}, 400, (40, 5, 4000)),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
def test_each_axis_of_imagej_has_its_unit(tmp_path, units, spacing, size):
    options = {"resolution": (250, 200), "metadata": {"axes": "ZYX", "spacing": spacing, **units}}
    tifffile.imwrite(tmp_path / "a.tif", DATA, imagej=True, **options)
    np.testing.assert_allclose(open_volume(tmp_path / "a.tif").grid.voxel_size_nm, size)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"unit": "um", "zunit": "section", "spacing": 40}, "has no voxel size for z (only y 5 nm, x 4 nm)"),
        ({"unit": "pixel", "zunit": "nm", "spacing": 40}, "has no voxel size for y, x (only z 40 nm)"),
        ({"zunit": "nm", "spacing": 40}, "has no voxel size for y, x (only z 40 nm)"),
        ({"unit": "um", "yunit": "?", "spacing": 0.04}, "has no voxel size for y (only z 40 nm, x 4 nm)"),
        ({"unit": "um", "zunit": "nm"}, "has no voxel size for z (only y 5 nm, x 4 nm)"),
        (
            {"unit": "", "spacing": 40},
            "has no voxel size, neither in OME or ImageJ metadata nor in its resolution tags",
        ),
        ({"spacing": 40}, "has no voxel size, neither in OME or ImageJ metadata nor in its resolution tags"),
    ],
)
def test_an_unknown_unit_of_imagej_is_about_its_axis(tmp_path, metadata, said):
    options = {"resolution": (250, 200), "metadata": {"axes": "ZYX", **metadata}}
    tifffile.imwrite(tmp_path / "a.tif", DATA, imagej=True, **options)
    assert problem(tmp_path / "a.tif") == f"{tmp_path}/a.tif (TIFF of shape (5, 70, 90)): {said}; {GIVE}"


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
    assert problem(file) == (
        f"{file} (TIFF of shape (5, 70, 90)): has 5 time points; write `axes: zyx` at the array if they are sections"
    )
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


OME = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{}>{}</OME>'
SIZES = " ".join(
    f'PhysicalSize{axis}="{size}" PhysicalSize{axis}Unit="nm"' for axis, size in {"X": 4, "Y": 5, "Z": 40}.items()
)
LAYOUTS = {
    "plain": {},
    "strips": {"compression": "zlib", "rowsperstrip": 16},
    "big-endian": {"compression": "zlib", "predictor": True, "byteorder": ">"},
    "tiles": {"compression": "zlib", "tile": (32, 48)},
    "plain tiles": {"tile": (16, 16)},
    "BigTIFF": {"bigtiff": True},
    "big-endian BigTIFF": {"bigtiff": True, "byteorder": ">"},
}


def uuid_of(name):
    return f"urn:uuid:{name}"


def root_uuid(name):
    return f' UUID="{uuid_of(name)}"'


def ome_data(name, plane, lengths, order="XYZCT", attributes='IFD="0" PlaneCount="1"'):
    """Say that the planes from one on, counted in the order of the axes, are in a file."""
    firsts = np.unravel_index(plane, [lengths.get(axis, 1) for axis in order[:1:-1]])
    place = " ".join(f'First{axis}="{first}"' for axis, first in zip(order[:1:-1], firsts, strict=True))
    return f'<TiffData {place} {attributes}><UUID FileName="{name}">{uuid_of(name)}</UUID></TiffData>'


def ome_image(planes, lengths, data, order="XYZCT", samples=1, sizes=SIZES):
    shape = {"X": planes.shape[2], "Y": planes.shape[1], "T": 1, **lengths, "C": lengths.get("C", 1) * samples}
    attributes = " ".join(f'Size{axis}="{length}"' for axis, length in shape.items())
    return (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="{planes.dtype}" '
        f'{attributes} {sizes}><Channel ID="Channel:0:0" SamplesPerPixel="{samples}"/>{"".join(data)}</Pixels></Image>'
    )


def write_pages(file, planes, description, **options):
    with tifffile.TiffWriter(
        file, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("byteorder", "<")
    ) as writer:
        for number, plane in enumerate(planes):
            given = {"description": description} if number == 0 else {}
            writer.write(plane, contiguous=False, **{**PLAIN, **options, **given})


def write_set(folder, planes, lengths=None, per_file=1, order="XYZCT", options=({},), describe=None):
    """Write planes (n, y, x[, c]) to files of so many pages, each of which describes all of the image."""
    lengths = {"Z": 1, **(lengths or {"Z": len(planes)})}
    begins = range(0, len(planes), per_file)
    names = [f"part{number}.ome.tif" for number in range(len(begins))]
    parts = [planes[begin : begin + per_file] for begin in begins]
    counts = [f'IFD="0" PlaneCount="{len(part)}"' for part in parts]
    samples = prod(planes.shape[3:])
    data = [ome_data(*row, lengths, order, count) for *row, count in zip(names, begins, counts, strict=True)]
    image = ome_image(planes, lengths, data, order, samples)
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        text = describe(name, image) if describe else OME.format(root_uuid(name), image)
        write_pages(folder / name, part, text, **options[number % len(options)])
    return [folder / name for name in names]


@pytest.mark.parametrize("per_file", [1, 2, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_page_of_an_image_in_several_files_is_read_from_its_file(tmp_path, layout, per_file):
    for file in write_set(tmp_path, DATA, per_file=per_file, options=[LAYOUTS[layout]]):
        volume = open_volume(file)
        assert volume.grid == Grid.from_nm(DATA.shape, (40, 5, 4))
        assert (volume.dtype, volume.channels, volume.path) == (DATA.dtype, None, str(file))
        np.testing.assert_array_equal(volume.read(), DATA)
        np.testing.assert_array_equal(volume.read(), tifffile.imread(file))
        np.testing.assert_array_equal(
            volume.read(volume.grid.roi_of((1, 17, 33), (3, 30, 40))), DATA[1:4, 17:47, 33:73]
        )


def test_files_of_an_image_may_be_stored_in_different_ways(tmp_path):
    files = write_set(tmp_path, DATA, options=list(LAYOUTS.values()))
    np.testing.assert_array_equal(open_volume(files[3]).read(), DATA)
    # and pages of a file too
    with tifffile.TiffWriter(files[0], ome=False) as writer:
        writer.write(DATA[0], compression="zlib", **PLAIN)
        writer.write(DATA[4], compression="zlib", predictor=True, tile=(16, 32), **PLAIN)
    data = [ome_data(file.name, plane, {"Z": 4}) for plane, file in enumerate([files[0], files[1], files[2]])]
    second = ome_data(files[0].name, 3, {"Z": 4}, attributes='IFD="1"')
    image = ome_image(DATA, {"Z": 4}, [*data, second])
    tifffile.imwrite(files[1], DATA[1], description=OME.format(root_uuid(files[1].name), image), **PLAIN)
    np.testing.assert_array_equal(open_volume(files[1]).read(), DATA[[0, 1, 2, 4]])


@pytest.mark.parametrize("per_file", [1, 2, 4])
@pytest.mark.parametrize("order", ["XYZCT", "XYCZT", "XYTCZ"])
def test_channels_may_be_in_several_files(tmp_path, order, per_file):
    planes = numbers(6, 5, 7)
    for file in write_set(tmp_path, planes, {"Z": 3, "C": 2}, per_file, order):
        volume = open_volume(file)
        assert volume.channels == 2
        slowest = next(axis for axis in reversed(order) if axis in "CZ")
        expected = planes.reshape(2, 3, 5, 7) if slowest == "C" else np.swapaxes(planes.reshape(3, 2, 5, 7), 0, 1)
        np.testing.assert_array_equal(volume.read(), expected)


@pytest.mark.parametrize("kind", [{}, {"compression": "zlib", "tile": (16, 16)}, {"planarconfig": "separate"}])
def test_colours_may_be_in_several_files(tmp_path, kind):
    planes = numbers(3, 5, 7, 3, dtype="uint8")
    files = write_set(tmp_path, planes)
    description = tifffile.tiffcomment(files[0])
    for file, plane in zip(files, planes, strict=True):
        stored = np.moveaxis(plane, -1, 0) if "planarconfig" in kind else plane
        write_pages(file, [stored], description.replace(files[0].stem, file.stem, 1), photometric="rgb", **kind)
    volume = open_volume(files[1])
    np.testing.assert_array_equal(volume.read(), np.einsum("zyxc->czyx", planes))


def test_pages_may_be_listed_in_any_form(tmp_path):
    """Without a number of planes it is the page that is named, or else all pages of the file."""
    names = ["whole.tif", "some.tif", "one.tif"]
    lengths = {"Z": 5}
    data = [
        ome_data("whole.tif", 0, lengths, attributes=""),
        ome_data("some.tif", 2, lengths, attributes='IFD="1" NumPlanes="2"'),
        ome_data("one.tif", 4, lengths, attributes='IFD="2"'),
    ]
    parts = [DATA[:2], DATA[[0, 2, 3]], DATA[[0, 0, 4]]]
    for name, part in zip(names, parts, strict=True):
        write_pages(tmp_path / name, part, OME.format(root_uuid(name), ome_image(DATA, lengths, data[::-1])))
    for name in names:
        np.testing.assert_array_equal(open_volume(tmp_path / name).read(), DATA)


def test_missing_files_of_an_image_are_errors_when_it_is_opened(tmp_path):
    files = write_set(tmp_path, DATA)
    advice = "copy all files of the image into one folder"
    files[3].unlink()
    assert problem(files[0]) == f"{files[0]}: its OME metadata list 5 files, but {files[3]} is missing; {advice}"
    files[0].unlink()
    said = f"its OME metadata list 5 files, but {files[0]} and 1 more are missing; {advice}"
    assert problem(files[4]) == f"{files[4]}: {said}"


def test_a_file_that_goes_away_is_an_error_when_it_is_read(tmp_path):
    files = write_set(tmp_path, DATA)
    volume = open_volume(files[0])
    files[3].unlink()
    np.testing.assert_array_equal(volume.read(volume.grid.roi_of((0, 0, 0), (3, 70, 90))), DATA[:3])
    with pytest.raises(UserError) as error:
        volume.read()
    assert str(files[3]) in str(error.value)


def test_files_of_an_image_that_differ_are_errors(tmp_path):
    files = write_set(tmp_path, DATA)
    tifffile.imwrite(files[2], DATA[2, :60], **PLAIN)
    end = f"but the pages of {files[0]} have (70, 90) and are uint16; the pages of an image must be equal"
    assert problem(files[1]) == f"{files[2]}: its pages have the shape (60, 90) and are uint16, {end}"
    tifffile.imwrite(files[2], DATA[2].astype("float32"), **PLAIN)
    assert problem(files[1]) == f"{files[2]}: its pages have the shape (70, 90) and are float32, {end}"
    write_pages(files[2], [DATA[2], DATA[2, 1:]], None)
    assert problem(files[1]).startswith(f"{files[2]}: page 2 has the shape (69, 90) and is uint16, but the first has ")
    tifffile.imwrite(files[2], DATA[2], description=" & OME>", **PLAIN, ome=False)
    assert problem(files[1]) == f"{files[2]}: its OME metadata do not begin as XML does; save the file again"
    files[2].write_bytes(b"<html>")
    assert problem(files[1]).startswith(f"cannot open {files[2]}: not a readable TIFF file: ")


def test_a_file_of_an_image_with_too_few_pages_is_an_error(tmp_path):
    files = write_set(tmp_path, DATA, per_file=2)
    tifffile.imwrite(files[1], DATA[2], **PLAIN)
    assert problem(files[0]) == (
        f"{files[1]}: has 1 pages, but the OME metadata of {files[0]} name its page 2; copy the whole file again"
    )


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated_files_of_an_image_are_errors_that_name_them(tmp_path, compression):
    files = write_set(tmp_path, DATA, per_file=2, options=[{"compression": compression}])
    content = files[1].read_bytes()
    for length in range(2, len(content), len(content) // 30):
        files[1].write_bytes(content[:length])
        with pytest.raises(UserError) as error:
            open_volume(files[0]).read()
        assert str(files[1]) in str(error.value)
        assert "\n" not in str(error.value)


def test_files_of_an_image_that_are_renamed(tmp_path):
    files = write_set(tmp_path, DATA)
    renamed = files[2].rename(tmp_path / "renamed.tif")
    np.testing.assert_array_equal(open_volume(renamed).read(), DATA)
    assert problem(files[0]).startswith(f"{files[0]}: its OME metadata list 5 files, but {files[2]} is missing; ")
    renamed.rename(files[2])
    files[0].rename(tmp_path / "other.tif")
    files[1].rename(files[0])
    (tmp_path / "other.tif").rename(files[1])
    for file in files:
        found = problem(file)
        assert f"than the OME metadata of {file} expect; give the files their original names again" in found
        assert found.startswith((f"{files[0]}: ", f"{files[1]}: "))


def test_files_of_an_image_without_uuids_of_their_own(tmp_path):
    files = write_set(tmp_path, DATA, describe=lambda name, image: OME.format("", image))
    for file in files:
        np.testing.assert_array_equal(open_volume(file).read(), DATA)
    renamed = files[2].rename(tmp_path / "renamed.tif")
    assert problem(renamed).startswith(f"{renamed}: its OME metadata list 5 files, but {files[2]} is missing; ")


def test_files_of_an_image_with_one_description(tmp_path):
    """Some programs copy it as it is, with the UUID of the first file."""
    files = write_set(tmp_path, DATA, describe=lambda name, image: OME.format(root_uuid("part0.ome.tif"), image))
    for file in files:
        np.testing.assert_array_equal(open_volume(file).read(), DATA)


@pytest.mark.parametrize("uuid", ["", root_uuid("part0.ome.tif")], ids=["without UUID", "with UUID"])
def test_a_single_file_that_is_renamed_or_copied_is_read_itself(tmp_path, uuid):
    planes, other = numbers(6, 5, 7), numbers(6, 5, 7) + 1
    describe = lambda name, image: OME.format(uuid, image)  # noqa: E731
    (file,) = write_set(tmp_path, planes, {"Z": 3, "C": 2}, per_file=6, describe=describe)
    renamed = file.rename(tmp_path / "renamed.tif")
    np.testing.assert_array_equal(open_volume(renamed).read(), planes.reshape(2, 3, 5, 7))
    write_set(tmp_path, other, {"Z": 3, "C": 2}, per_file=6, describe=describe)
    np.testing.assert_array_equal(open_volume(file).read(), other.reshape(2, 3, 5, 7))
    np.testing.assert_array_equal(open_volume(renamed).read(), planes.reshape(2, 3, 5, 7))


@pytest.mark.parametrize("companion", [False, True])
def test_metadata_may_be_in_one_of_the_files_or_beside_them(tmp_path, companion):
    master = "image.companion.ome" if companion else "part0.ome.tif"

    def describe(name, image):
        if companion:
            (tmp_path / master).write_text(OME.format(root_uuid(master), image))
        only = f'<BinaryOnly MetadataFile="{master}" UUID="{uuid_of(master)}"/>'
        return OME.format(root_uuid(name), image if name == master else only)

    files = write_set(tmp_path, DATA, describe=describe)
    for file in files:
        volume = open_volume(file)
        assert volume.grid == Grid.from_nm(DATA.shape, (40, 5, 4))
        np.testing.assert_array_equal(volume.read(), DATA)
    if companion:
        (tmp_path / master).write_text("<OME>")
        assert problem(files[1]).startswith(f"{files[1]}: cannot read its OME metadata: no element found")
    (tmp_path / master).unlink()
    assert problem(files[1]) == (
        f"{files[1]}: its OME metadata are in {tmp_path / master}, which is missing; "
        "copy all files of the image into one folder"
    )


def test_of_several_images_in_several_files_that_of_the_file_is_read(tmp_path):
    names = ["a0.tif", "a1.tif", "b0.tif", "b1.tif"]
    images = [
        ome_image(DATA, {"Z": 2}, [ome_data(name, plane, {"Z": 2}) for plane, name in enumerate(of)], sizes=sizes)
        for of, sizes in ((names[:2], SIZES), (names[2:], SIZES.replace("40", "80")))
    ]
    for name, plane in zip(names, DATA, strict=False):
        tifffile.imwrite(tmp_path / name, plane, description=OME.format(root_uuid(name), "".join(images)), **PLAIN)
    for name, planes, z in (("a1.tif", DATA[:2], 40), ("b0.tif", DATA[2:4], 80)):
        volume = open_volume(tmp_path / name)
        assert volume.grid == Grid.from_nm(planes.shape, (z, 5, 4))
        np.testing.assert_array_equal(volume.read(), planes)
    tifffile.imwrite(tmp_path / "c.tif", DATA[0], description=OME.format(root_uuid("c"), "".join(images)), **PLAIN)
    assert problem(tmp_path / "c.tif") == (
        f"{tmp_path}/c.tif: its OME metadata describe 2 images in several files; save one image alone"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'FirstZ="3"',
            'FirstZ="2"',
            "its OME metadata list 4 planes, but the image has 5; save it again",
        ),
        (
            'SizeZ="5"',
            'SizeZ="6"',
            "its OME metadata list 5 planes, but the image has 6; save it again",
        ),
        ('FirstZ="3"', 'FirstZ="7"', "cannot read its OME metadata: a page is said to have Z = 7, but there are 5"),
        ('SizeZ="5"', 'SizeZ="five"', "cannot read its OME metadata: invalid literal for int() with base 10: 'five'"),
        ('SamplesPerPixel="1"', 'SamplesPerPixel="0"', "cannot read its OME metadata: a page has 0 samples"),
        (
            'PhysicalSizeX="4"',
            'PhysicalSizeX="four"',
            "cannot read its OME metadata: could not convert string to float",
        ),
        ("</Image>", "</image>", "cannot read its OME metadata: mismatched tag"),
    ],
)
def test_metadata_that_do_not_tell_where_pages_are_are_errors(tmp_path, old, new, said):
    files = write_set(tmp_path, DATA, describe=lambda name, image: OME.format(root_uuid(name), image).replace(old, new))
    assert problem(files[0]).startswith(f"{files[0]}: {said}")


def test_the_voxel_size_of_an_image_in_several_files_may_be_in_tags(tmp_path):
    options = {"resolution": (1e7 / 4, 1e7 / 5), "resolutionunit": "CENTIMETER"}
    files = write_set(
        tmp_path, DATA, options=[options], describe=lambda name, image: OME.format("", image.replace(SIZES, ""))
    )
    label = f"{files[0]} (TIFF of shape (5, 70, 90))"
    assert problem(files[0]) == f"{label}: has no voxel size for z (only y 5 nm, x 4 nm); {GIVE}"


def test_threads_and_pickled_copies_read_many_files_and_leave_none_open(tmp_path):
    planes = np.repeat(DATA, 20, axis=0) + np.arange(100, dtype="uint16")[:, None, None]
    volume = open_volume(write_set(tmp_path, planes, options=[{}, {"compression": "zlib"}])[7])
    copy = pickle.loads(pickle.dumps(volume))
    rois = [volume.grid.roi_of((z, y, 0), (20, 10, 90)) for y in range(0, 70, 10) for z in range(0, 100, 20)]
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(copy.read, rois))
    rows = [np.concatenate(blocks[first : first + 5]) for first in range(0, len(blocks), 5)]
    np.testing.assert_array_equal(np.concatenate(rows, axis=1), planes)
    still_open = [file.resolve() for file in Path("/proc/self/fd").glob("*")]
    assert not [file for file in still_open if tmp_path in file.parents]


def test_a_folder_with_the_files_of_an_image_is_a_stack_of_sections(tmp_path):
    write_set(tmp_path, DATA)
    volume = open_volume(tmp_path)
    assert volume.grid == Grid.from_nm(DATA.shape, (40, 5, 4))
    np.testing.assert_array_equal(volume.read(), DATA)


def ndtiff(file, plane, pixels_at=512):
    """Write a page as Micro-Manager does; it puts an index beside its files."""
    summary = b'{"a": 1}'
    values = {
        256: plane.shape[1],
        257: plane.shape[0],
        258: 8,
        259: 1,
        262: 1,
        273: pixels_at,
        277: 1,
        278: plane.shape[0],
    }
    tags = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in {**values, 279: plane.size}.items()]
    tags.append(struct.pack("<HHII", 51123, 2, len(summary), 24))
    begin = struct.pack("<2sHI", b"II", 42, 64) + struct.pack("<4I", 483729, 3, 2355492, len(summary)) + summary
    page = struct.pack("<H", len(tags)) + b"".join(tags) + struct.pack("<I", 0)
    file.write_bytes((begin.ljust(64, b"\0") + page).ljust(pixels_at, b"\0") + plane.tobytes())


def test_images_in_several_files_that_are_no_ome_tiff_are_errors(tmp_path):
    planes = numbers(2, 5, 6, dtype="uint8")
    index = b""
    for z, plane in enumerate(planes):
        ndtiff(tmp_path / f"{z}.tif", plane)
        axes, name = json.dumps({"z": z}).encode(), f"{z}.tif".encode()
        index += struct.pack("<i", len(axes)) + axes + struct.pack("<i", len(name)) + name
        index += struct.pack("<8i", 512, 6, 5, 0, 0, 0, 0, 0)
    (tmp_path / "NDTiff.index").write_bytes(index)
    assert problem(tmp_path / "1.tif") == (
        f"{tmp_path}/1.tif: its ndtiff metadata spread the image over several files; save it as OME-TIFF or in one file"
    )
