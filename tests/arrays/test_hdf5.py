"""Datasets in HDF5 files, written by h5py."""

import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from zarr_files import numbers

from dacapo_hd.arrays import ArrayRef, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = numbers(4, 5, 6)
GIVE = "write `voxel_size_nm: [z, y, x]` at the array, or `assumed_voxel_size_nm: [z, y, x]` in the datasplit"


def write(file, name="volumes/raw", data=DATA, attributes=None, **options):
    with h5py.File(file, "a") as opened:
        dataset = opened.create_dataset(name, data=data, **options)
        dataset.attrs.update({"resolution": [40, 4, 4]} if attributes is None else attributes)
    return file / name


def problem(path):
    with pytest.raises(UserError) as error:
        open_volume(path)
    return str(error.value)


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 3, 4), "compression": "gzip"}], ids=["whole", "chunked"])
def test_a_dataset_is_read_by_roi(tmp_path, options):
    attributes = {"resolution": np.array([40, 4.5, 4]), "offset": (80, 0, -4), "note": b"bytes"}
    volume = open_volume(write(tmp_path / "a.h5", attributes=attributes, **options))
    assert volume.grid == Grid.from_nm((4, 5, 6), (40, 4.5, 4), (80, 0, -4))
    assert volume.path == f"{tmp_path}/a.h5/volumes/raw"
    assert volume.attributes == {"resolution": [40, 4.5, 4], "offset": [80, 0, -4], "note": "bytes"}
    assert volume.chunk_shape_vx == ((2, 3, 4) if options else (1, 1, 6))
    np.testing.assert_array_equal(volume.read(), DATA)
    roi = volume.grid.roi_of((1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(volume.read(roi), DATA[1:3, 2:5, 3:4])


@pytest.mark.parametrize(
    ("attributes", "size", "offset"),
    [
        ({"voxel_size": [8, 4, 4], "units": "nm"}, (8, 4, 4), (0, 0, 0)),
        ({"element_size_um": [0.04, 0.0046, 0.004]}, (40, 4.6, 4), (0, 0, 0)),
        ({"resolution": [0.04, 0.004, 0.004], "offset": [1, 0, 0], "units": ["um"] * 3}, (40, 4, 4), (1000, 0, 0)),
    ],
)
def test_the_voxel_size_is_that_of_several_programs(tmp_path, attributes, size, offset):
    assert open_volume(write(tmp_path / "a.h5", attributes=attributes)).grid == Grid.from_nm((4, 5, 6), size, offset)


def test_labelled_axes_are_put_in_order(tmp_path):
    data = numbers(6, 5, 4, 2)
    path = write(
        tmp_path / "a.h5", data=data, attributes={"resolution": [4, 5, 40, 1]}, dtype=">u2", chunks=(3, 4, 2, 1)
    )
    with h5py.File(tmp_path / "a.h5", "a") as opened:
        for dimension, label in zip(opened["volumes/raw"].dims, "xyzc", strict=True):
            dimension.label = label
    volume = open_volume(path)
    assert (volume.channels, volume.grid.voxel_size_nm, volume.chunk_shape_vx) == (2, (40, 5, 4), (2, 4, 3))
    assert volume.dtype == np.dtype("uint16")
    block = volume.read()
    assert block.flags.c_contiguous
    assert block.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(block, np.einsum("xyzc->czyx", data))
    roi = volume.grid.roi_of((1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(volume.read(roi), np.einsum("xyzc->czyx", data)[:, 1:3, 2:5, 3:4])


def test_2d_data_is_one_section(tmp_path):
    volume = open_volume(write(tmp_path / "a.h5", data=DATA[0], attributes={"resolution": [4, 5]}))
    assert volume.grid == Grid.from_nm((1, 5, 6), (4, 4, 5))
    np.testing.assert_array_equal(volume.read(), DATA[:1])


def test_threads_and_pickled_copies_read_at_once(tmp_path):
    volume = open_volume(write(tmp_path / "a.h5", chunks=(1, 2, 3), compression="gzip"))
    volume.read()
    copy = pickle.loads(pickle.dumps(volume))
    rois = [volume.grid.roi_of((z, y, x), (1, 1, 1)) for z in range(4) for y in range(5) for x in range(6)]
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda roi: copy.read(roi).item(), rois))
    assert values == DATA.ravel().tolist()


FORK = """
    import os, sys
    from dacapo_hd.arrays import open_volume

    volume = open_volume(sys.argv[1])
    volume.read()
    child = os.fork()
    if child == 0:
        os._exit(int(volume.read().sum() != 7140))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_opens_the_file_for_itself(tmp_path):
    path = write(tmp_path / "a.h5")
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(FORK), str(path)]).returncode == 0


def test_it_cannot_be_written(tmp_path):
    volume = open_volume(write(tmp_path / "a.h5"))
    with pytest.raises(UserError) as error:
        volume.write(volume.grid.roi, DATA)
    assert str(error.value) == (
        f"{volume.path}: cannot write: this format can only be read; `dacapo-hd convert` makes an OME-Zarr of it"
    )


def test_missing_datasets_are_named(tmp_path):
    file = tmp_path / "a.h5"
    write(file)
    write(file, "volumes/labels/mito")
    inside = "volumes/labels/mito, volumes/raw"
    assert problem(file / "volumes/rwa") == (
        f"no dataset volumes/rwa in {file}: the file contains {inside}; did you mean 'volumes/raw'?"
    )
    assert problem(file) == f"{file} (HDF5 file): name one of the datasets in it: {inside}"
    assert problem(file / "volumes/labels") == (
        f"{file}/volumes/labels (HDF5 group): name one of the datasets in it: volumes/labels/mito"
    )
    with h5py.File(tmp_path / "b.h5", "w"):
        pass
    assert problem(tmp_path / "b.h5") == f"{tmp_path}/b.h5 (HDF5 file): it contains no datasets"
    assert problem(tmp_path / "b.h5/raw") == f"no dataset raw in {tmp_path}/b.h5: the file contains no datasets"
    assert problem(tmp_path / "c.h5/raw") == (
        f"no array at {tmp_path}/c.h5/raw: the deepest existing folder, {tmp_path}, contains a.h5, b.h5"
    )


def test_an_unknown_voxel_size_is_an_error(tmp_path):
    path = write(tmp_path / "a.h5", attributes={})
    label = f"{path} (HDF5 dataset of shape (4, 5, 6))"
    assert problem(path) == (
        f"{label}: has no voxel size, as none of the attributes 'voxel_size', 'resolution' and 'element_size_um'; "
        f"{GIVE}"
    )
    assert ArrayRef(str(path), voxel_size_nm=(4, 4, 4)).open().grid.voxel_size_nm == (4, 4, 4)
    with pytest.raises(UserError) as error:
        ArrayRef(str(path), level="s0").open()
    assert str(error.value) == f"{label}: has no levels; leave out level: s0"


def test_damaged_files_are_errors(tmp_path):
    path = write(tmp_path / "a.h5", data=numbers(64, 64, 8), chunks=(8, 64, 8), compression="gzip", fletcher32=True)
    file = tmp_path / "a.h5"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert problem(path).startswith(f"cannot open {file}: not a readable HDF5 file: ")
    file.write_bytes(b"<html>not found</html>")
    assert problem(path).startswith(f"cannot open {file}: not a readable HDF5 file: ")
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes(1000) + content[middle + 1000 :])
    with pytest.raises(UserError) as error:
        open_volume(path).read()
    assert str(error.value).startswith(f"{path}: cannot read: ")
    assert "\n" not in str(error.value)


def test_other_files_are_errors(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"\x5c\x01\0\0")
    assert problem(tmp_path / "a.nii") == (
        f"cannot open {tmp_path}/a.nii: unknown format; can be opened: Zarr and N5, HDF5 files, TIFF files, "
        "and folders of TIFF or PNG sections"
    )
