"""The real server: what a browser gets from it."""

import io
import json
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.arrays import ArrayRef, MemoryVolume, create_volume, fill_pyramid
from dacapo_hd.arrays.pyramid import downsampled
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.viewing import layers_of_paths, serve, view
from dacapo_hd.viewing.server import Reader

GRID = Grid.from_nm((20, 30, 40), (40, 4, 4.5), (2.5, -3, 100))
DATA = np.random.default_rng(0).integers(0, 255, GRID.shape_vx, dtype=np.uint8)


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pyramid")
    volume = create_volume(folder / "raw.zarr", GRID, "uint8", chunk_shape_vx=(8, 8, 8), levels=None)
    volume.write(GRID.roi, DATA)
    fill_pyramid(folder / "raw.zarr", folder / "record")
    return str(folder / "raw.zarr")


@pytest.fixture
def start():
    servers = []

    def start(layers, port=0):
        servers.append(serve(layers, port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def fetch(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def volume_url(server, number, kind):
    token = server.state()["layers"][number]["source"][0]["url"].removeprefix("python://volume/")
    return f"http://127.0.0.1:{server.port}/neuroglancer/{kind}/{token}"


def block(server, number, factors, begin, end):
    place = "/".join(",".join(map(str, values)) for values in (factors, begin, end))
    found = np.load(io.BytesIO(zlib.decompress(fetch(f"{volume_url(server, number, 'npz')}/{place}"))))
    return np.ascontiguousarray(found)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(data=st.data(), exponents=st.tuples(*[st.integers(0, 3)] * 3), labels=st.booleans())
def test_a_block_is_read_at_any_power_of_two(pyramid, data, exponents, labels):
    """From the coarsest level that fits, and reduced from there."""
    levels = list(ArrayRef(pyramid).open_levels().values())
    factors = tuple(2**n for n in exponents)
    reader = Reader(levels, labels)
    own = max(own for own in reader.factors if all(f % o == 0 for f, o in zip(factors, own, strict=True)))
    stored = levels[reader.factors.index(own)].read()
    expected = downsampled(stored, [f // o for f, o in zip(factors, own, strict=True)], "mode" if labels else "mean")
    begin = [data.draw(st.integers(0, n - 1)) for n in expected.shape]
    end = [data.draw(st.integers(b + 1, n)) for b, n in zip(begin, expected.shape, strict=True)]
    found = reader.block(factors, begin, end)
    np.testing.assert_array_equal(found, expected[tuple(map(slice, begin, end))])


def test_levels_that_do_not_share_the_corner_are_not_used():
    fine = MemoryVolume(DATA, GRID)
    shifted = Grid(tuple(-(-n // 2) for n in GRID.shape_vx), GRID.voxel_size * 2, GRID.offset + GRID.voxel_size / 2)
    shorter = Grid((10, 15, 19), GRID.voxel_size * 2, GRID.offset)
    others = [MemoryVolume(np.zeros(grid.shape_vx, np.uint8), grid) for grid in (shifted, shorter)]
    reader = Reader([fine, *others], labels=False)
    assert reader.factors == [(1, 1, 1)]
    np.testing.assert_array_equal(
        reader.block((2, 2, 2), (0, 0, 0), (10, 15, 20)), downsampled(DATA, (2, 2, 2), "mean")
    )


def test_levels_without_translations_are_taken_to_share_the_corner():
    grids = [
        Grid(tuple(-(-n // f) for n in GRID.shape_vx), GRID.voxel_size * f, GRID.voxel_size * f / -2) for f in (1, 2)
    ]
    levels = [MemoryVolume(DATA, grids[0]), MemoryVolume(downsampled(DATA, (2, 2, 2), "mean"), grids[1])]
    assert Reader(levels, labels=False).factors == [(1, 1, 1), (2, 2, 2)]


def test_a_browser_gets_the_client_the_state_and_the_voxels(start, pyramid):
    server = start(layers_of_paths([pyramid]))
    assert b"<html" in fetch(server.url).lower()
    info = json.loads(fetch(volume_url(server, 0, "info")))
    assert info["coordinateSpace"] == {"z": [4e-8, "m"], "y": [4e-9, "m"], "x": [4.5e-9, "m"]}
    assert (info["shape"], info["dataType"], info["volumeType"]) == ([20, 30, 40], "uint8", "image")
    np.testing.assert_array_equal(block(server, 0, (1, 1, 1), (2, 3, 4), (12, 13, 40)), DATA[2:12, 3:13, 4:40])
    coarse = downsampled(DATA, (1, 2, 2), "mean")
    np.testing.assert_array_equal(block(server, 0, (1, 2, 2), (0, 0, 0), (20, 15, 20)), coarse)


def test_the_state_says_where_voxels_lie(start, pyramid, tmp_path):
    other = create_volume(tmp_path / "labels/mito", Grid.from_nm((5, 5, 5), (80, 8, 8), (-40, 4, 0)), "uint32").path
    state = start(layers_of_paths([pyramid, other])).state()
    assert state["dimensions"] == {"x": [4.5e-9, "m"], "y": [4e-9, "m"], "z": [4e-8, "m"]}
    assert state["position"] == pytest.approx([100 / 4.5 + 20, -3 / 4 + 15, 2.5 / 40 + 10])
    image, labels = state["layers"]
    assert (image["type"], image["name"]) == ("image", "raw.zarr")
    transform = image["source"][0]["transform"]
    assert transform["outputDimensions"] == {"z": [4e-8, "m"], "y": [4e-9, "m"], "x": [4.5e-9, "m"]}
    # the lower corner in voxels of the layer
    assert [row[-1] for row in transform["matrix"]] == pytest.approx([2.5 / 40, -3 / 4, 100 / 4.5])
    assert [row[:3] for row in transform["matrix"]] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert (labels["type"], labels["hideSegmentZero"]) == ("segmentation", True)
    transform = labels["source"][0]["transform"]
    assert transform["outputDimensions"] == {"z": [8e-8, "m"], "y": [8e-9, "m"], "x": [8e-9, "m"]}
    assert [row[-1] for row in transform["matrix"]] == [-0.5, 0.5, 0]


def test_channels_are_served_one_by_one_or_together(start, tmp_path):
    data = np.random.default_rng(1).integers(0, 255, (3, 8, 9, 10), dtype=np.uint8)
    grid = Grid.from_nm((8, 9, 10), (4, 4, 4), (8, 0, 0))
    for name, channels in (("two", 2), ("rgb", 3)):
        create_volume(tmp_path / name, grid, "uint8", channels).write(grid.roi, data[:channels])
    server = start(layers_of_paths([f"{tmp_path}/two", f"{tmp_path}/rgb"]))
    state = server.state()
    assert [layer["name"] for layer in state["layers"]] == ["two 0", "two 1", "rgb"]
    assert [layer.get("visible", True) for layer in state["layers"]] == [True, False, True]
    for number in (0, 1, 0):
        np.testing.assert_array_equal(block(server, number, (1, 1, 1), (0, 0, 0), (8, 9, 10)), data[number])
    found = block(server, 2, (1, 1, 2, 2), (0, 0, 0, 0), (3, 8, 5, 5))
    np.testing.assert_array_equal(found, downsampled(data, (1, 2, 2), "mean"))
    transform = state["layers"][2]["source"][0]["transform"]
    assert transform["outputDimensions"] == {"c^": [1, ""], **{name: [4e-9, "m"] for name in "zyx"}}
    assert transform["matrix"] == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 2], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("dtype", "shown"), [("bool", "uint8"), ("float64", "float32"), ("int16", "int16"), ("uint64", "uint64")]
)
def test_dtypes_are_those_that_browsers_know(start, tmp_path, dtype, shown):
    data = (DATA % 2).astype(dtype)
    create_volume(tmp_path / "a", GRID, dtype).write(GRID.roi, data)
    server = start(layers_of_paths([f"{tmp_path}/a"]))
    found = block(server, 0, (1, 1, 1), (0, 0, 0), GRID.shape_vx)
    assert json.loads(fetch(volume_url(server, 0, "info")))["dataType"] == found.dtype.name == shown
    np.testing.assert_array_equal(found, data)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("1,1,1/0,0,0/21,1,1", 400),
        ("1,1,1/2,2,2/2,2,2", 400),
        ("0,1,1/0,0,0/1,1,1", 400),
        ("1,1/0,0/1,1", 400),
        ("1,1,1/0,0/1,1,1", 400),
    ],
)
def test_requests_that_make_no_sense_are_refused(start, pyramid, place, code):
    server = start(layers_of_paths([pyramid]))
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(f"{volume_url(server, 0, 'npz')}/{place}")
    assert error.value.code == code


def test_nobody_reads_without_the_address(start, pyramid):
    server = start(layers_of_paths([pyramid]))
    for path in ("v/guessed/", "neuroglancer/info/guessed.guessed", "neuroglancer/npz/a.b/1,1,1/0,0,0/1,1,1"):
        with pytest.raises(urllib.error.HTTPError) as error:
            fetch(f"http://127.0.0.1:{server.port}/{path}")
        assert error.value.code == 404


def test_a_port_that_is_taken_is_an_error(pyramid):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as error:
            serve(layers_of_paths([pyramid]), port)
    assert (
        str(error.value) == f"cannot listen on port {port}: Address already in use; give another --port, or 0 for any"
    )


def test_viewing_prints_the_address_and_ends(pyramid):
    written, until = [], threading.Event()

    def write(text):
        written.append(text)
        if len(written) == 2:
            assert b"<html" in fetch(written[0]).lower()
            until.set()

    view([pyramid], None, open_browser=False, write=write, until=until)
    port = written[0].split(":")[2].split("/")[0]
    assert written[1] == (
        f"from another machine: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}, and open the same address; "
        "Ctrl-C ends it"
    )
    with pytest.raises(urllib.error.URLError):
        fetch(written[0])


def test_nothing_to_view_is_an_error():
    with pytest.raises(UserError) as error:
        view([], None)
    assert str(error.value) == "nothing to view; name runs or arrays"


WITHOUT = """
    import sys
    sys.modules["neuroglancer"] = None
    from dacapo_hd.errors import UserError
    from dacapo_hd.viewing import serve

    try:
        serve([])
    except UserError as error:
        print(error)
"""


def test_without_neuroglancer_it_says_what_to_install():
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(WITHOUT)], capture_output=True, text=True, check=True)
    assert run.stdout == "viewing needs neuroglancer; install it by: pip install 'dacapo_hd[view]'\n"
