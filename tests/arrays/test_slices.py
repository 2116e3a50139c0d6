"""Folders of numbered sections."""

import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image
from zarr_files import numbers

from dacapo_hd.arrays import ArrayRef, arrays_in, check_sections, create_volume, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = np.random.default_rng(0).integers(0, 255, (12, 20, 30), dtype=np.uint8)


def write(folder, names, data=DATA):
    folder.mkdir(exist_ok=True)
    for name, section in zip(names, data, strict=False):
        if name.endswith(".png"):
            Image.fromarray(section).save(folder / name)
        else:
            tifffile.imwrite(folder / name, section)
    return folder


def numbered(pattern, first=0, count=12):
    return [pattern.format(number) for number in range(first, first + count)]


def opened(path):
    return ArrayRef(str(path), voxel_size_nm=(8, 4, 4)).open()


def problem(path):
    with pytest.raises(UserError) as error:
        opened(path)
    return str(error.value)


@pytest.mark.parametrize("pattern", ["{}.png", "z{:04}.tif", "2024-01-07_slice_{}.TIFF", "s{:03}_v2.png"])
@pytest.mark.parametrize("first", [0, 5, 998])
def test_sections_are_read_in_the_order_of_their_numbers(tmp_path, pattern, first):
    volume = opened(write(tmp_path / "stack", numbered(pattern, first)))
    assert volume.grid == Grid.from_nm(DATA.shape, (8, 4, 4))
    assert (volume.dtype, volume.channels, volume.path) == (np.dtype("uint8"), None, f"{tmp_path}/stack")
    np.testing.assert_array_equal(volume.read(), DATA)
    roi = volume.grid.roi_of((3, 4, 5), (2, 3, 4))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(roi), DATA[3:5, 4:7, 5:9])


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("png", "uint8"), ("png", "uint16"), ("png", "bool"), ("tif", "uint16"), ("tif", "float32"), ("tif", ">u4")],
)
def test_dtypes_are_kept(tmp_path, kind, dtype):
    data = (numbers(3, 5, 6) % (2 if dtype == "bool" else 255) * (257 if dtype == "uint16" else 1)).astype(dtype)
    volume = opened(write(tmp_path / "stack", numbered(f"{{}}.{kind}"), data))
    assert volume.dtype == data.dtype.newbyteorder("=")
    np.testing.assert_array_equal(volume.read(), data)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_colours_are_channels(tmp_path, kind):
    data = numbers(4, 5, 6, 3, dtype="uint8")
    volume = opened(write(tmp_path / "stack", numbered(f"{{}}.{kind}"), data))
    assert volume.channels == 3
    np.testing.assert_array_equal(volume.read(), np.einsum("zyxc->czyx", data))


def test_a_single_png_is_one_section(tmp_path):
    write(tmp_path, ["a.png"])
    np.testing.assert_array_equal(opened(tmp_path / "a.png").read(), DATA[:1])
    np.testing.assert_array_equal(opened(tmp_path).read(), DATA[:1])


def test_other_files_beside_the_sections_do_not_count(tmp_path):
    folder = write(tmp_path / "stack", numbered("{}.png"))
    (folder / "notes.txt").write_text("7")
    (folder / "._3.png").write_text("left behind by macOS")
    np.testing.assert_array_equal(opened(folder).read(), DATA)


def test_a_picture_beside_arrays_is_no_stack(tmp_path):
    write(tmp_path, ["overview.png"])
    create_volume(tmp_path / "a.zarr", Grid.from_nm((1, 1, 1), (4, 4, 4)), "uint8")
    assert problem(tmp_path) == f"no array at {tmp_path}: that folder contains a.zarr, overview.png"
    assert arrays_in(str(tmp_path)) == [f"{tmp_path}/a.zarr"]


def test_tags_of_the_first_section_give_y_and_x(tmp_path):
    (tmp_path / "stack").mkdir()
    for name, section in zip(numbered("{}.tif"), DATA, strict=True):
        options = {"resolution": (1e7 / 4, 1e7 / 5), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(tmp_path / "stack" / name, section, **options)
    with pytest.raises(UserError) as error:
        open_volume(tmp_path / "stack")
    assert str(error.value) == (
        f"{tmp_path}/stack (stack of 12 .tif files of 20 x 30 uint8): has no voxel size for z (only y 5 nm, x 4 nm); "
        "write `voxel_size_nm: [z, y, x]` at the array, or `assumed_voxel_size_nm: [z, y, x]` in the datasplit"
    )


def test_gaps_and_doubles_are_errors(tmp_path):
    folder = write(tmp_path / "stack", numbered("s{:02}.png"))
    (folder / "s05.png").unlink()
    (folder / "s06.png").unlink()
    assert problem(folder) == (f"{folder}: after s04.png comes s07.png: 2 missing; a stack needs every section once")
    folder = write(tmp_path / "double", [*numbered("s{:02}.png", count=11), "s3.png"])
    assert problem(folder) == (f"{folder}: s03.png and s3.png have the same number; a stack needs every section once")


def test_names_that_do_not_count_are_errors(tmp_path):
    folder = write(tmp_path / "mixed", [*numbered("s{}.png", count=11), "overview.png"])
    assert problem(folder) == (
        f"{folder}: overview.png is not named like s9.png; the files of a stack must differ in one number only"
    )
    folder = write(tmp_path / "times", [f"z{i}_t{i * 7}.png" for i in range(12)])
    assert problem(folder) == (
        f"{folder}: names differ in more than one number (z0_t0.png, z9_t63.png); rename the files so that one number "
        "counts the sections"
    )
    folder = write(tmp_path / "kinds", [*numbered("{}.png", count=6), *numbered("{}.tif", 6, 6)])
    assert problem(folder) == f"{folder}: contains PNG and TIFF files (5.png, 9.tif); a stack has one kind"


def test_sections_that_differ_are_named(tmp_path):
    folder = write(tmp_path / "stack", numbered("{}.png"))
    Image.fromarray(DATA[0, :10]).save(folder / "3.png")
    Image.fromarray(DATA[0].astype(np.uint16) * 256).save(folder / "7.png")
    (folder / "9.png").write_bytes(b"damaged")
    first = "but the first section, 0.png, is 20 x 30 uint8"
    with pytest.raises(UserError) as error:
        opened(folder).read()
    assert str(error.value) == f"{folder}/3.png: is 10 x 30 uint8, {first}"
    with pytest.raises(UserError) as error:
        check_sections(opened(folder))
    assert error.value.problems == (
        f"{folder}/3.png: is 10 x 30 uint8, {first}",
        f"{folder}/7.png: is 20 x 30 uint16, {first}",
        f"cannot open {folder}/9.png: not a readable PNG file: not a PNG file",
    )


def test_at_most_eight_sections_are_listed(tmp_path):
    folder = write(tmp_path / "stack", numbered("{:02}.png"))
    for number in range(1, 12):
        Image.fromarray(DATA[0, :10]).save(folder / f"{number:02}.png")
    with pytest.raises(UserError) as error:
        check_sections(opened(folder))
    assert len(error.value.problems) == 9
    assert error.value.problems[-1] == f"{folder}: and 3 more files"


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_truncated_section_is_an_error(tmp_path, kind):
    folder = write(tmp_path / "stack", numbered(f"{{}}.{kind}"))
    content = (folder / f"3.{kind}").read_bytes()
    (folder / f"3.{kind}").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(UserError, match=f"{folder}/3.{kind}") as error:
        opened(folder).read()
    assert "\n" not in str(error.value)


def test_sections_must_be_plain_images(tmp_path):
    folder = write(tmp_path / "palette", numbered("{}.png"))
    Image.fromarray(DATA[0]).convert("P").save(folder / "0.png")
    assert problem(folder) == f"{folder}/0.png: has a palette of colours; save it as gray values or RGB"
    folder = write(tmp_path / "pages", numbered("{}.tif"))
    tifffile.imwrite(folder / "0.tif", DATA)
    assert problem(folder) == f"{folder}/0.tif: has 12 pages; a file of a stack must have one"


def test_a_section_larger_than_any_photograph_is_opened(tmp_path):
    """Pillow takes images of more than 179 megapixels for an attack."""
    (tmp_path / "stack").mkdir()
    Image.new("1", (20000, 10000)).save(tmp_path / "stack/0.png")
    volume = opened(tmp_path / "stack")
    assert volume.shape == (1, 10000, 20000)
    assert not volume.read(volume.grid.roi_of((0, 9000, 0), (1, 10, 10))).any()
