"""Neuroglancer's real client in a real browser: what it draws of ours, and how it reads OME-Zarr by itself."""

import functools
import http.server
import io
import shutil
import subprocess
import threading
from concurrent.futures import Future
from contextlib import contextmanager

import neuroglancer
import numpy as np
import pytest
from PIL import Image

from dacapo_hd.arrays import create_volume, fill_pyramid
from dacapo_hd.geometry import Grid
from dacapo_hd.viewing import layers_of_paths, serve

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DEADLINE_SECONDS = 240
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=800,600"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    # stays open until it is killed
    "--remote-debugging-port=0",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@contextmanager
def browsing(url, folder):
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}/profile", url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def screenshot(viewer):
    """Wait until the browser has loaded and drawn everything; returns the picture."""
    drawn = Future()
    viewer.async_screenshot(drawn.set_result)
    return np.asarray(Image.open(io.BytesIO(drawn.result(DEADLINE_SECONDS).screenshot.image)).convert("RGB"))


def pyramid(folder, data, grid, method="mean", zarr_format=2):
    volume = create_volume(
        folder, grid, data.dtype, chunk_shape_vx=(8, 8, 8), zarr_format=zarr_format, levels=None, downsampling=method
    )
    volume.write(grid.roi, data)
    fill_pyramid(folder, folder.with_suffix(".record"))
    return str(folder)


def test_the_browser_draws_images_and_segmentations_where_they_lie(tmp_path):
    """A bright half of the volume, and a segment in one quarter of it; anisotropic voxels."""
    grid = Grid.from_nm((16, 64, 64), (40, 10, 10), (400, 100, -300))
    raw = np.full(grid.shape_vx, 20, np.uint8)
    raw[:, :, 32:] = 220
    # the segment has its own voxels and covers y 420 to 740 nm, x 20 to 340 nm
    of_segment = Grid.from_nm((16, 16, 16), (40, 20, 20), (400, 420, 20))
    ids = np.full(of_segment.shape_vx, 7, np.uint32)
    layers = layers_of_paths(
        [pyramid(tmp_path / "raw.zarr", raw, grid), pyramid(tmp_path / "ids.zarr", ids, of_segment)]
    )
    server = serve(layers)
    try:
        with server.viewer.txn() as state:
            # one voxel of x per pixel, x to the right and y down
            state.layout = "xy"
            state.cross_section_scale = 1
            state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
            state.layers["ids.zarr"].segment_colors = {7: "#ff0000"}
            state.layers["ids.zarr"].selected_alpha = 1
        with browsing(server.url, tmp_path):
            picture = screenshot(server.viewer)
    finally:
        server.stop()
    rows, columns = (n // 2 for n in picture.shape[:2])
    # the middle of the volume is in the middle of the panel, which other controls may have moved down
    red = np.argwhere((picture == (255, 0, 0)).all(-1))
    (top, left), (bottom, right) = red.min(0), red.max(0) + 1
    assert (bottom - top, right - left) == (32, 32)
    assert abs(left - columns) <= 1
    white = (picture == picture[top - 5, left + 5]).all(-1)
    assert picture[top - 5, left + 5].min() > 200
    assert abs(int(np.argwhere(white)[:, 0].min()) - (top - 32)) <= 1
    dark = picture[top - 5, left - 5]
    assert dark.max() < 60
    assert abs(rows - top) < 60


class CorsHandler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(CorsHandler, directory=str(folder)))
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("zarr_format", [2, 3], ids=["OME-Zarr 0.4", "OME-Zarr 0.5"])
def test_neuroglancer_reads_ome_zarr_by_itself(tmp_path, zarr_format):
    """The files alone, over HTTP: voxel size, position of all voxels, and voxels of a coarse level."""
    grid = Grid.from_nm((64, 96, 128), (40, 8, 4), (400, 80, -200))
    raw = np.full(grid.shape_vx, 200, np.uint8)
    pyramid(tmp_path / "raw.zarr", raw, grid, zarr_format=zarr_format)
    neuroglancer.set_server_bind_address("127.0.0.1", 0)
    viewer = neuroglancer.Viewer()
    try:
        with serving(tmp_path) as files:
            source = f"zarr{zarr_format}://http://127.0.0.1:{files.server_port}/raw.zarr/"
            with viewer.txn() as state:
                state.layers["raw"] = neuroglancer.ImageLayer(source=source)
                state.layout = "xy"
                state.show_axis_lines = state.show_scale_bar = False
                state.show_default_annotations = False
            with browsing(viewer.get_viewer_url(), tmp_path):
                screenshot(viewer)
                found = viewer.state
                with viewer.txn() as state:
                    # one pixel is 16 nm: 4 voxels of x
                    state.cross_section_scale = 4
                picture = screenshot(viewer)
    finally:
        neuroglancer.stop()
    dimensions = found.dimensions.to_json()
    assert {name: dimensions[name] for name in "zyx"} == {
        "z": [pytest.approx(4e-8), "m"], "y": [pytest.approx(8e-9), "m"], "x": [pytest.approx(4e-9), "m"]
    }  # fmt: skip
    # it looks at the middle of all voxels, in voxels from the origin of the world
    middle = dict(zip(found.dimensions.names, found.position, strict=True))
    expected = {"z": 10 + 32, "y": 10 + 48, "x": -50 + 64}
    assert {name: middle[name] for name in "zyx"} == pytest.approx(expected, abs=0.51)
    assert any("/s1/" in request or "/s2/" in request for request in files.requests)
    bright = np.argwhere((picture > 150).all(-1))
    # z to the right and y down, as the axes come in the file: 64 voxels of 40 nm and 96 of 8 nm, at 16 nm per pixel
    assert np.ptp(bright, axis=0).tolist() == [pytest.approx(47, abs=2), pytest.approx(159, abs=2)]
