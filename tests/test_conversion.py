"""Converting every format: the same voxels at the same place, restarts, and a memory that does not grow."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore
import tifffile
import yaozarrs
from PIL import Image

from dacapo_hd.arrays import ArrayRef, create_volume, open_volume
from dacapo_hd.arrays.pyramid import downsampled
from dacapo_hd.blockwise import BlocksFailedError, Local
from dacapo_hd.conversion import convert, plan
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

SHAPE = (21, 50, 37)
SIZE = (40.0, 4.5, 4.0)
OFFSET = (80.0, 9.0, -4.0)
DATA = np.random.default_rng(0).integers(0, 2**16, SHAPE, dtype=np.uint16)
CHUNK = (8, 16, 16)


def hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        dataset = file.create_dataset("volumes/raw", data=DATA, chunks=(5, 20, 20), compression="gzip")
        dataset.attrs.update({"resolution": SIZE, "offset": OFFSET, "encoding": "none"})
    return {"source": str(folder / "a.h5"), "dataset": "volumes/raw"}


def n5(folder):
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(folder / "a.n5/raw")}}
    tensorstore.open(spec, create=True, dtype="uint16", shape=SHAPE[::-1]).result()[...] = DATA.T
    document = folder / "a.n5/raw/attributes.json"
    own = {"resolution": SIZE[::-1], "offset": OFFSET[::-1]}
    document.write_text(json.dumps({**json.loads(document.read_text()), **own}))
    return {"source": str(folder / "a.n5/raw")}


def one_tiff(folder):
    tifffile.imwrite(folder / "a.tif", DATA, compression="zlib", photometric="minisblack")
    return {"source": str(folder / "a.tif"), "voxel_size_nm": SIZE, "offset_nm": OFFSET}


def sections(folder, kind="png"):
    (folder / "stack").mkdir()
    for number, section in enumerate(DATA):
        if kind == "png":
            Image.fromarray(section).save(folder / f"stack/s{number:03}.png", compress_level=1)
        else:
            tifffile.imwrite(folder / f"stack/s{number:03}.tif", section)
    return {"source": str(folder / "stack"), "voxel_size_nm": SIZE, "offset_nm": OFFSET}


def zarr_2(folder):
    grid = Grid.from_nm(SHAPE, SIZE, OFFSET)
    create_volume(folder / "a.zarr/raw", grid, "uint16", chunk_shape_vx=(7, 11, 64)).write(grid.roi, DATA)
    return {"source": str(folder / "a.zarr"), "dataset": "raw"}


SOURCES = [hdf5, n5, one_tiff, sections, zarr_2]


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("memory_bytes", [2**31, 40_000], ids=["much memory", "little memory"])
def test_every_format_becomes_the_same_pyramid(tmp_path, make, memory_bytes):
    path = convert(**make(tmp_path), output=tmp_path / "out.zarr", chunk_shape_vx=CHUNK, memory_bytes=memory_bytes)
    levels = ArrayRef(str(path)).open_levels()
    expected, finer = DATA, Grid.from_nm(SHAPE, SIZE, OFFSET)
    for volume in levels.values():
        expected = downsampled(expected, tuple(volume.grid.voxel_size / finer.voxel_size), "mean")
        finer = volume.grid
        np.testing.assert_array_equal(volume.read(), expected)
        assert volume.grid.offset_nm == OFFSET
    assert levels["s0"].grid == Grid.from_nm(SHAPE, SIZE, OFFSET)
    assert levels["s0"].chunk_shape_vx == CHUNK
    assert len(levels) == 6
    assert sorted(entry.name for entry in tmp_path.iterdir() if "convert" in entry.name) == []


def test_processes_share_the_work(tmp_path):
    """Sections that do not fit into the memory, with two workers; Zarr 3 with shards."""
    path = convert(
        **sections(tmp_path), output=tmp_path / "out.zarr", chunk_shape_vx=(4, 16, 16), shard_shape_vx=(4, 32, 32),
        zarr_format=3, memory_bytes=20_000, compute=Local(2),
    )  # fmt: skip
    np.testing.assert_array_equal(open_volume(path).read(), DATA)
    assert yaozarrs.validate_zarr_store(path).ome_metadata().version == "0.5"
    assert open_volume(path).chunk_shape_vx == (4, 32, 32)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("memory_bytes", [2**31, 40_000])
def test_each_section_is_decoded_once_for_each_slab_of_chunks(tmp_path, kind, memory_bytes, monkeypatch):
    from dacapo_hd.arrays import slices

    decoded = []
    rows = slices._Image.rows
    monkeypatch.setattr(slices._Image, "rows", lambda image, y: decoded.append(image.file.name) or rows(image, y))
    given = sections(tmp_path, kind)
    convert(**given, output=tmp_path / "out.zarr", chunk_shape_vx=CHUNK, memory_bytes=memory_bytes)
    if kind == "png":
        assert sorted(decoded) == sorted(path.name for path in Path(given["source"]).iterdir())
    np.testing.assert_array_equal(open_volume(tmp_path / "out.zarr").read(), DATA)


def test_channels_are_kept(tmp_path):
    data = np.random.default_rng(1).integers(0, 255, (3, *SHAPE), dtype=np.uint8)
    (tmp_path / "stack").mkdir()
    for number in range(SHAPE[0]):
        Image.fromarray(np.ascontiguousarray(data[:, number].transpose(1, 2, 0))).save(tmp_path / f"stack/{number}.png")
    for memory_bytes in (2**31, 40_000):
        path = convert(
            str(tmp_path / "stack"), tmp_path / f"{memory_bytes}.zarr", voxel_size_nm=SIZE, memory_bytes=memory_bytes,
            chunk_shape_vx=CHUNK,
        )  # fmt: skip
        np.testing.assert_array_equal(open_volume(path).read(), data)


def test_attributes_are_kept_but_for_coordinates(tmp_path):
    path = convert(**hdf5(tmp_path), output=tmp_path / "out.zarr", voxel_size_nm=(8, 8, 8))
    assert dict(open_volume(path).attributes) == {
        "voxel_size": [8, 8, 8],
        "offset": [80, 9, -4],
        "units": ["nm"] * 3,
        "axis_names": ["z", "y", "x"],
        "types": ["space"] * 3,
        "encoding": "none",
        "source": f"{tmp_path}/a.h5/volumes/raw",
    }


def ids(folder, dtype="uint64"):
    data = np.kron(np.array([[[0, 7], [2**40 + 1 if dtype == "uint64" else 9, 7]]], dtype), np.ones((4, 9, 9), dtype))
    with h5py.File(folder / "ids.h5", "w") as file:
        file.create_dataset("ids", data=data).attrs["resolution"] = [8, 8, 8]
    return data


def test_labels_are_reduced_to_the_mode(tmp_path):
    data = ids(tmp_path)
    path = convert(f"{tmp_path}/ids.h5/ids", tmp_path / "out.zarr", labels=True, chunk_shape_vx=(2, 4, 4))
    levels = ArrayRef(str(path)).open_levels()
    for volume in levels.values():
        assert set(np.unique(volume.read())) <= set(np.unique(data))
    np.testing.assert_array_equal(levels["s1"].read(), downsampled(data, (2, 2, 2), "mode"))


@pytest.mark.parametrize("dtype", ["uint32", "int64", "uint64"])
def test_what_may_be_ids_must_be_said(tmp_path, dtype):
    ids(tmp_path, dtype)
    with pytest.raises(UserError) as error:
        convert(f"{tmp_path}/ids.h5/ids", tmp_path / "out.zarr")
    assert str(error.value) == (
        f"{tmp_path}/ids.h5/ids: {dtype} values may be ids, of which there is no mean; give --labels for ids or masks, "
        "or --intensities"
    )
    convert(f"{tmp_path}/ids.h5/ids", tmp_path / "out.zarr", labels=False)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("float32", "float32 values are no labels, which are integers; leave out --labels"),
        ("complex64", "complex64 values cannot be converted; they must be truth values, integers or floats"),
    ],
)
def test_values_that_are_no_labels(tmp_path, dtype, message):
    ids(tmp_path, dtype)
    with pytest.raises(UserError) as error:
        convert(f"{tmp_path}/ids.h5/ids", tmp_path / "out.zarr", labels=True)
    assert str(error.value) == f"{tmp_path}/ids.h5/ids: {message}"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_sections_that_differ_are_found_before_anything_is_written(tmp_path):
    given = sections(tmp_path)
    Image.fromarray(DATA[0, :20]).save(tmp_path / "stack/s013.png")
    with pytest.raises(UserError) as error:
        convert(**given, output=tmp_path / "out.zarr")
    assert str(error.value) == (
        f"{tmp_path}/stack/s013.png: is 20 x 37 uint16, but the first section, s000.png, is 50 x 37 uint16"
    )
    (tmp_path / "stack/s013.png").unlink()
    with pytest.raises(UserError, match=r"after s012\.png comes s014\.png: 1 missing"):
        convert(**given, output=tmp_path / "out.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]


def test_a_failed_conversion_goes_on_when_the_source_is_repaired(tmp_path):
    given = sections(tmp_path)
    # a block is as many sections as a chunk is deep
    options = {"chunk_shape_vx": CHUNK, "output": tmp_path / "out.zarr", "memory_bytes": 250_000}
    section = tmp_path / "stack/s020.png"
    content = section.read_bytes()
    # the header is as it should be
    section.write_bytes(content[: len(content) // 2])
    with pytest.raises(BlocksFailedError) as error:
        convert(**given, **options)
    assert str(section) in str(error.value)
    first = tmp_path / "out.zarr/s0/0/0/0"
    written = first.stat().st_mtime_ns
    section.write_bytes(content)
    convert(**given, **options)
    assert first.stat().st_mtime_ns == written
    convert(**given, chunk_shape_vx=CHUNK, output=tmp_path / "whole/out.zarr")
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole/out.zarr")


def test_a_begun_conversion_belongs_to_its_settings(tmp_path):
    given = sections(tmp_path)
    section = tmp_path / "stack/s020.png"
    content = section.read_bytes()
    section.write_bytes(content[: len(content) // 2])
    with pytest.raises(BlocksFailedError):
        convert(**given, output=tmp_path / "out.zarr", chunk_shape_vx=CHUNK)
    section.write_bytes(content)
    with pytest.raises(UserError) as error:
        convert(**given, output=tmp_path / "out.zarr", chunk_shape_vx=(8, 8, 8))
    assert str(error.value) == (
        f"{tmp_path}/out.zarr was begun with other settings: chunk_shape_vx was [8, 16, 16], is [8, 8, 8]; repeat the "
        "command that began it, or give --overwrite to begin anew"
    )
    path = convert(**given, output=tmp_path / "out.zarr", chunk_shape_vx=(8, 8, 8), overwrite=True)
    np.testing.assert_array_equal(open_volume(path).read(), DATA)


def test_outputs_are_not_replaced_unasked_and_sources_never(tmp_path):
    given = zarr_2(tmp_path)
    convert(**given, output=tmp_path / "out.zarr")
    before = contents(tmp_path)
    with pytest.raises(UserError) as error:
        convert(**given, output=tmp_path / "out.zarr")
    assert str(error.value) == f"{tmp_path}/out.zarr exists; give --overwrite to replace it"
    for output in (tmp_path / "a.zarr", tmp_path / "a.zarr/raw", tmp_path / "b/../a.zarr/raw/s0"):
        with pytest.raises(UserError) as error:
            convert(**given, output=output, overwrite=True)
        assert str(error.value) == (
            f"{os.path.normpath(output)}: contains the source, {tmp_path}/a.zarr/raw/s0; give another output"
        )
    assert contents(tmp_path) == before
    convert(**given, output=tmp_path / "out.zarr", zarr_format=3, overwrite=True)
    np.testing.assert_array_equal(open_volume(tmp_path / "out.zarr").read(), DATA)


KILLED = """
    import sys
    from dacapo_hd.blockwise import Local
    from dacapo_hd.conversion import convert

    convert(sys.argv[1], sys.argv[2], voxel_size_nm=(40, 4.5, 4), chunk_shape_vx=(1, 16, 16), compute=Local(1),
            memory_bytes=3000)
"""


def test_a_killed_conversion_goes_on(tmp_path):
    sections(tmp_path)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "stack"), str(tmp_path / "out.zarr")]
    for done in (1, 5, 9):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 120
        while process.poll() is None and not (tmp_path / f"out.zarr/s0/{done}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if (tmp_path / ".out.zarr.convert").exists():
        subprocess.run(command, check=True)
    options = {"voxel_size_nm": (40, 4.5, 4), "chunk_shape_vx": (1, 16, 16)}
    convert(str(tmp_path / "stack"), tmp_path / "whole/out.zarr", **options)
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole/out.zarr")
    assert not (tmp_path / ".out.zarr.convert").exists()


MEASURED = """
    import sys
    from pathlib import Path
    from dacapo_hd.arrays import create_volume, open_volume
    from dacapo_hd.conversion import convert
    from dacapo_hd.geometry import Grid

    def peak_mb():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    # everything is imported and every thread started before
    convert(sys.argv[2], Path(sys.argv[3]) / "small.zarr", voxel_size_nm=(8, 8, 8))
    before = peak_mb()
    convert(sys.argv[1], Path(sys.argv[3]) / "large.zarr", voxel_size_nm=(8, 8, 8), memory_bytes=25 * 2**20)
    print(peak_mb() - before)
"""


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_the_memory_does_not_grow_with_the_stack(tmp_path, kind):
    """160 MB of sections with a budget of 25 MB; each slab of chunks has 80 MB, and two are in flight."""
    for name, count, shape in (("small", 2, (64, 64)), ("large", 128, (1120, 1120))):
        (tmp_path / name).mkdir()
        section = np.resize(np.arange(70, dtype=np.uint8), shape)
        for number in range(count):
            section[0, 0] = number
            if kind == "png":
                Image.fromarray(section).save(tmp_path / name / f"{number}.png", compress_level=1)
            else:
                tifffile.imwrite(tmp_path / name / f"{number}.tif", section, compression="zlib")
    command = [sys.executable, "-c", textwrap.dedent(MEASURED)]
    arguments = [str(tmp_path / "large"), str(tmp_path / "small"), str(tmp_path)]
    run = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 110, run.stdout
    volume = open_volume(tmp_path / "large.zarr")
    assert [int(volume.read(volume.grid.roi_of((z, 0, 0), (1, 1, 1))).item()) for z in range(128)] == list(range(128))


def test_blocks_are_planned_by_what_is_decoded_together(tmp_path):
    grid = Grid.from_nm((200, 3000, 4000), (8, 8, 8))
    target = create_volume(tmp_path / "out.zarr", grid, "uint8")
    source = create_volume(tmp_path / "a.zarr", grid, "uint8", chunk_shape_vx=(1, 3000, 4000))
    assert plan(source, target, 2**32) == ((64, 3008, 4032), False)
    assert plan(source, target, 2**30) == ((64, 3008, 4032), True)
    strips = create_volume(tmp_path / "b.zarr", grid, "uint8", chunk_shape_vx=(1, 50, 4000))
    assert plan(strips, target, 2**31) == ((64, 256, 4032), False)
    chunks = create_volume(tmp_path / "c.zarr", grid, "uint8", chunk_shape_vx=(128, 128, 128))
    block, staged = plan(chunks, target, 2**31)
    assert (block[0] % 128, block[1] % 128, staged) == (0, 0, False)
    assert plan(chunks, target, 1)[0] == (64, 64, 64)
