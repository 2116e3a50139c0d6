"""Neuroglancer's own server, which serves the client, the state and the voxels on one port."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from math import prod
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.arrays.pyramid import downsampled
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.viewing.layers import Layer

# how many voxels may be read for one that is shown, where a pyramid has no fitting level
READ_PER_VOXEL = 64
# blocks of several channels that are kept, because each channel is asked for by itself
CACHED_BLOCKS = 64
_SMALLER = {"bool": "uint8", "float16": "float32", "float64": "float32"}
PANEL_PIXELS = 400


class Reader:
    """Reads blocks of a pyramid at any power-of-two downsampling."""

    def __init__(self, levels: Sequence[Volume], labels: bool) -> None:
        self.levels = [level for level in levels if _fits(level.grid, levels[0].grid)]
        self.method = "mode" if labels else "mean"
        self._blocks: OrderedDict[Any, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        finest = levels[0].grid.voxel_size
        self.factors = [tuple(int(n) for n in level.grid.voxel_size / finest) for level in self.levels]

    @property
    def grid(self) -> Grid:
        return self.levels[0].grid

    def block(self, factors: Sequence[int], begin: Sequence[int], end: Sequence[int]) -> NDArray[Any]:
        """Return the voxels `begin` to `end`, counted in voxels that each cover `factors` of the finest level."""
        number = max(
            n for n, own in enumerate(self.factors) if not any(f % o for f, o in zip(factors, own, strict=True))
        )
        level = self.levels[number]
        rest = tuple(f // own for f, own in zip(factors, self.factors[number], strict=True))
        first = [b * factor for b, factor in zip(begin, rest, strict=True)]
        last = [min(e * factor, n) for e, factor, n in zip(end, rest, level.grid.shape_vx, strict=True)]
        shape = [e - b for b, e in zip(first, last, strict=True)]
        roi = level.grid.roi_of(first, shape)
        if level.channels is None:
            return self._reduced(level.read(roi), rest)
        key = (number, tuple(factors), tuple(begin), tuple(end))
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = self._reduced(level.read(roi), rest)
            self._blocks.move_to_end(key)
            if len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
            return self._blocks[key]

    def _reduced(self, data: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
        return data if max(factors) == 1 else downsampled(data, factors, self.method)


def _fits(level: Grid, finest: Grid) -> bool:
    """Tell whether the voxels of a level each cover whole voxels of the finest, from the same corner.

    Levels without translations all have a centre at 0; whoever wrote them most often meant one corner.
    """
    one_corner = level.offset == finest.offset or all(grid.offset * 2 == -grid.voxel_size for grid in (level, finest))
    if not one_corner or not _divides(finest.voxel_size, level.voxel_size):
        return False
    factors = level.voxel_size / finest.voxel_size
    return level.shape_vx == tuple(-(-n // int(f)) for n, f in zip(finest.shape_vx, factors, strict=True))


def _divides(divisors: Sequence[int], numbers: Sequence[int]) -> bool:
    return not any(number % divisor for number, divisor in zip(numbers, divisors, strict=True))


@attrs.frozen(eq=False)
class Server:
    """A running viewer."""

    viewer: Any
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v/{self.viewer.token}/"

    def state(self) -> dict[str, Any]:
        """Return the state that browsers get."""
        found: dict[str, Any] = self.viewer.state.to_json()
        return found

    def stop(self) -> None:
        import neuroglancer

        neuroglancer.stop()


def serve(layers: Sequence[Layer], port: int = 0) -> Server:
    """Start a server of layers on this machine's loopback interface; port 0 takes any free one.

    Raises UserError where neuroglancer is not installed or the port is taken.
    """
    try:
        import neuroglancer
        import neuroglancer.server
    except ImportError:
        raise UserError("viewing needs neuroglancer; install it by: pip install 'dacapo_hd[view]'") from None
    neuroglancer.set_server_bind_address("127.0.0.1", port)
    try:
        viewer = neuroglancer.Viewer()
    except OSError as error:
        raise UserError(f"cannot listen on port {port}: {error.strerror}; give another --port, or 0 for any") from error
    readers: dict[int, Reader] = {}
    with viewer.txn() as state:
        _set_view(state, layers)
        for layer in layers:
            # channels of one volume share what was read
            reader = readers.setdefault(id(layer.levels[0]), Reader(layer.levels, layer.labels))
            state.layers.append(_managed(neuroglancer, layer, reader))
    return Server(viewer, neuroglancer.server.global_server.port)


def _set_view(state: Any, layers: Sequence[Layer]) -> None:
    """Look at the whole of the first layer; x to the right, y down."""
    import neuroglancer

    grid = layers[0].levels[0].grid
    sizes = grid.voxel_size_nm[::-1]
    state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=sizes)
    middle = [(o / s + n / 2) for o, s, n in zip(grid.offset_nm, grid.voxel_size_nm, grid.shape_vx, strict=True)]
    state.position = middle[::-1]
    # voxels of x per pixel of the screen
    state.cross_section_scale = (
        max(n * s for n, s in zip(grid.shape_vx, grid.voxel_size_nm, strict=True)) / sizes[0] / 400
    )
    state.projection_scale = max(n * s for n, s in zip(grid.shape_vx, grid.voxel_size_nm, strict=True)) / sizes[0] * 2
    state.layout = "4panel"


def _managed(neuroglancer: Any, layer: Layer, reader: Reader) -> Any:
    grid = reader.grid
    names = ["z", "y", "x"]
    space = neuroglancer.CoordinateSpace(names=names, units="nm", scales=grid.voxel_size_nm)
    shift = [offset / size for offset, size in zip(grid.offset, grid.voxel_size, strict=True)]
    matrix = [[float(row == column) for column in range(3)] + [shift[row]] for row in range(3)]
    with_channels = layer.channel is None and reader.levels[0].channels is not None
    if with_channels:
        names = ["c^", *names]
        space = neuroglancer.CoordinateSpace(names=names, units=["", "nm", "nm", "nm"], scales=[1, *grid.voxel_size_nm])
        matrix = [[1.0, 0.0, 0.0, 0.0, 0.0], *([0.0, *row] for row in matrix)]
    source = neuroglancer.LayerDataSource(
        url=_volume(neuroglancer, layer, reader, space),
        transform=neuroglancer.CoordinateSpaceTransform(output_dimensions=space, matrix=matrix),
    )
    if layer.labels:
        colours = dict(layer.colours)
        shown = neuroglancer.SegmentationLayer(source=source, segment_colors=colours, hide_segment_zero=True)
    else:
        shown = neuroglancer.ImageLayer(source=source, shader=layer.shader)
    return neuroglancer.ManagedLayer(layer.name, layer=shown, visible=layer.visible)


def _volume(neuroglancer: Any, layer: Layer, reader: Reader, space: Any) -> Any:
    """Return what neuroglancer takes for an array in memory; it asks a `Reader` for every block."""
    from neuroglancer.chunks import encode_npz

    volume = reader.levels[0]
    dtype = _SMALLER.get(volume.dtype.name, volume.dtype.name)
    channels = (volume.channels,) if layer.channel is None and volume.channels is not None else ()

    class PyramidVolume(neuroglancer.LocalVolume):  # type: ignore[misc]
        def get_encoded_subvolume(
            self, data_format: str, start: NDArray[Any], end: NDArray[Any], scale_key: str
        ) -> tuple[bytes, str]:
            factors = [int(factor) for factor in scale_key.split(",")]
            if data_format != "npz" or len(factors) != self.rank or not all(0 < f <= 2**20 for f in factors):
                raise ValueError("Invalid request")
            lengths = [-(-int(n) // f) for n, f in zip(self.shape, factors, strict=True)]
            if not all(0 <= b < e <= n for b, e, n in zip(start, end, lengths, strict=True)):
                raise ValueError("Out of bounds data request.")
            space_only = [[int(n) for n in values[-3:]] for values in (factors, start, end)]
            try:
                data = reader.block(*space_only)
            except UserError as error:
                raise ValueError(str(error)) from error
            if layer.channel is not None:
                data = data[layer.channel]
            elif channels:
                data = data[start[0] : end[0]]
            return encode_npz(np.ascontiguousarray(data, dtype)), "application/octet-stream"

        def _get_mesh_generator(self) -> Any:
            raise neuroglancer.local_volume.MeshesNotSupportedForVolume

    return PyramidVolume(
        _Described((*channels, *volume.grid.shape_vx), np.dtype(dtype)),
        dimensions=space,
        volume_type="segmentation" if layer.labels else "image",
        max_downsampling=prod(reader.factors[-1]) * READ_PER_VOXEL,
    )


@attrs.frozen
class _Described:
    """Shape and dtype, which are all that neuroglancer looks at."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
