"""Reading and writing ROIs: the same for Zarr and for memory."""

import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from zarr_files import numbers, write_array

from dacapo_hd.arrays import MemoryVolume, create_volume, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

GRID = Grid.from_nm((4, 5, 6), (4.6, 9.8, 9.8), (2.5, -3.3, 0))
DATA = numbers(2, 4, 5, 6)


@pytest.fixture(params=["zarr2", "zarr3", "memory"])
def volume(request, tmp_path):
    if request.param == "memory":
        return MemoryVolume(DATA.copy(), GRID)
    volume = create_volume(
        tmp_path / "a.zarr", GRID, DATA.dtype, channels=2, chunk_shape_vx=(2, 3, 4), zarr_format=int(request.param[-1])
    )
    volume.write(GRID.roi, DATA)
    return volume


def test_it_reads_and_writes_rois(volume):
    roi = GRID.roi_of((1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(volume.read(roi), DATA[:, 1:3, 2:5, 3:4])
    volume.write(roi, np.zeros((2, 2, 3, 1), np.uint8))
    expected = DATA.copy()
    expected[:, 1:3, 2:5, 3:4] = 0
    np.testing.assert_array_equal(volume.read(), expected)
    assert (volume.shape, volume.channels, volume.dtype) == ((2, 4, 5, 6), 2, np.dtype("uint16"))


def test_what_it_reads_is_a_copy(volume):
    block = volume.read()
    block[:] = 0
    assert block.flags.c_contiguous
    np.testing.assert_array_equal(volume.read(), DATA)


def test_it_survives_pickling_before_and_after_it_was_read(volume):
    for _ in range(2):
        copy = pickle.loads(pickle.dumps(volume))
        assert copy.grid == GRID
        np.testing.assert_array_equal(copy.read(), volume.read())


def test_threads_read_at_once(volume):
    rois = [GRID.roi_of((z, y, x), (1, 1, 1)) for z in range(4) for y in range(5) for x in range(6)]
    with ThreadPoolExecutor(8) as pool:
        values = [block[:, 0, 0, 0] for block in pool.map(pickle.loads(pickle.dumps(volume)).read, rois)]
    np.testing.assert_array_equal(np.stack(values, 1).reshape(DATA.shape), DATA)


def test_rois_that_do_not_fit_are_refused(volume):
    grid = "2.5:20.9,-3.3:45.7,0:58.8 nm with voxels of [4.6, 9.8, 9.8] nm"
    outside = GRID.roi_of((0, 0, 0), (5, 5, 6))
    cutting = Roi(GRID.offset + Coordinate(1, 0, 0), GRID.voxel_size)
    for roi, problem in (
        (outside, f"ROI 2.5:25.5,-3.3:45.7,0:58.8 nm is not inside the grid {grid}"),
        (cutting, f"ROI 2.500001:7.100001,-3.3:6.5,0:9.8 nm cuts voxels of the grid {grid}"),
    ):
        for action in (lambda r=roi: volume.read(r), lambda r=roi: volume.write(r, DATA)):
            with pytest.raises(ValueError) as error:
                action()
            assert str(error.value) == f"{volume.path}: {problem}"


def test_data_that_does_not_fit_is_refused(volume):
    with pytest.raises(ValueError) as error:
        volume.write(GRID.roi, DATA[0])
    assert str(error.value) == f"{volume.path}: cannot write data of shape (4, 5, 6) to an ROI of shape (2, 4, 5, 6)"
    with pytest.raises(ValueError) as error:
        volume.write(GRID.roi, DATA.astype(np.float32))
    assert str(error.value) == f"{volume.path}: cannot write float32 data to a uint16 volume without loss"


def test_memory_must_fill_the_grid():
    with pytest.raises(ValueError) as error:
        MemoryVolume(DATA[:, :3], GRID)
    assert str(error.value) == "memory: data of shape (2, 3, 5, 6) does not fill the grid (4, 5, 6)"


def test_funlib_sees_the_same_voxels_in_femtometres(volume):
    array = volume.to_funlib()
    assert (array.roi, array.voxel_size, array.units) == (GRID.roi, GRID.voxel_size, ["fm"] * 3)
    roi = GRID.roi_of((1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(array[roi], DATA[:, 1:3, 2:5, 3:4])
    array[roi] = np.zeros((2, 2, 3, 1), np.uint16)
    assert volume.read(roi).max() == 0
    np.testing.assert_array_equal(volume.read()[:, 0], DATA[:, 0])


def test_chunks_are_given_in_space_and_for_lifted_data(tmp_path):
    volume = create_volume(tmp_path / "a.zarr", GRID, "uint8", channels=2, chunk_shape_vx=(2, 3, 4))
    assert volume.chunk_shape_vx == (2, 3, 4)
    flat = open_volume(str(write_array(tmp_path / "b.zarr", numbers(5, 6), {"voxel_size": [4, 4]})))
    assert flat.chunk_shape_vx == (1, 5, 6)
    assert MemoryVolume(DATA, GRID).chunk_shape_vx == (4, 5, 6)


def test_a_damaged_chunk_is_an_error(tmp_path, zarr_format):
    volume = create_volume(tmp_path / "a.zarr", GRID, "uint16", zarr_format=zarr_format)
    volume.write(GRID.roi, DATA[0])
    chunk = next(path for path in (tmp_path / "a.zarr/s0").rglob("0/0/0"))
    chunk.write_bytes(b"damaged")
    with pytest.raises(UserError) as error:
        open_volume(str(tmp_path / "a.zarr")).read()
    assert str(error.value).startswith(f"{volume.path}: cannot read: ")
    assert "tensorstore_spec" not in str(error.value)


FULL_DISK = """
    import resource, sys
    import numpy as np
    from dacapo_hd.arrays import open_volume
    from dacapo_hd.errors import UserError

    volume = open_volume(sys.argv[1])
    noise = np.random.default_rng(0).integers(0, 2**16, volume.shape, dtype=np.uint16)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        volume.write(volume.grid.roi, noise)
    except UserError as error:
        print(error)
"""


def test_a_disk_that_takes_no_more_is_an_error_and_keeps_the_old_content(tmp_path):
    volume = create_volume(tmp_path / "a.zarr", GRID, "uint16")
    volume.write(GRID.roi, DATA[0])
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "a.zarr")]
    # a process of its own: the limit holds for every file that a process writes
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.startswith(f"{volume.path}: cannot write: ")
    assert output.rstrip().endswith("File too large")
    np.testing.assert_array_equal(volume.read(), DATA[0])


FORK = """
    import os, sys
    from dacapo_hd.arrays import open_volume

    volume = open_volume(sys.argv[1])
    volume.read()
    child = os.fork()
    if child == 0:
        try:
            volume.read()
        except RuntimeError as error:
            print(error, flush=True)
        os._exit(0)
    sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_forked_child_gets_an_error_instead_of_an_abort(tmp_path):
    create_volume(tmp_path / "a.zarr", GRID, "uint16")
    command = [sys.executable, "-c", textwrap.dedent(FORK), str(tmp_path / "a.zarr")]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ}).stdout
    assert output == (
        "arrays were opened before this process was forked from its parent, which tensorstore does not allow; "
        "start worker processes by 'spawn' or 'forkserver'\n"
    )
