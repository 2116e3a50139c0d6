"""Predictions, objects that cross many blocks, and the passes of stitching without files."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.blockwise import BlockGrid
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction.stored import ATTRIBUTE, read_prediction
from dacapo_hd.segmentation import InstanceSegmenter, SeededSegmenter
from dacapo_hd.segmentation.components import components
from dacapo_hd.segmentation.objects import Objects, unite
from dacapo_hd.stitching.blocks import halo_of
from dacapo_hd.stitching.cutting import Cut
from dacapo_hd.stitching.faces import Rule
from dacapo_hd.stitching.source import Source
from dacapo_hd.stitching.work import LinksWork, PiecesWork

VOXEL_SIZE_NM = (8.0, 8.0, 8.0)


def prediction_of(
    distance: NDArray[np.floating], voxel_size_nm: Sequence[float] = VOXEL_SIZE_NM, **others: NDArray[np.floating]
) -> MemoryVolume:
    """Quantise distances (-1..1) of class `mito`, and of other classes, as `create_prediction` stores them."""
    classes = {"mito": distance, **others}
    data = np.stack([np.rint((values + 1) * 127.5) for values in classes.values()]).astype(np.uint8)
    channels = [{"name": f"{name}/distance", "low": -1.0, "high": 1.0} for name in classes]
    return MemoryVolume(data, Grid.from_nm(distance.shape, voxel_size_nm), "prediction", {ATTRIBUTE: channels})


def in_one_block(prediction: MemoryVolume, segmenter: InstanceSegmenter) -> NDArray[np.uint32]:
    """Segment in memory, without any of the code that stitches."""
    return segmenter.segment(read_prediction(prediction)).labels["mito"]


@attrs.define(eq=False)
class CutTables:
    """What the links pass asks of the tables, from memory."""

    cuts: list[Cut]

    def sizes(self, number: int) -> tuple[int, int]:
        pieces = self.cuts[number].pieces
        return pieces.foreground, len(pieces)

    def read_face(self, number: int, face: tuple[int, int]) -> NDArray[np.uint32]:
        return self.cuts[number].faces[face]

    def offsets(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(cut.pieces) for cut in self.cuts)])


def stitched(
    prediction: MemoryVolume,
    segmenter: InstanceSegmenter,
    block_shape: Sequence[int],
    mask: MemoryVolume | None = None,
) -> tuple[NDArray[np.generic], Objects]:
    """Do the passes of `segment_volume` on class `mito` with blocks of exactly this shape, without files and engine."""
    source = Source.open(prediction, None, mask)
    grid = BlockGrid.over(prediction.grid.shape_vx, block_shape)
    halo = halo_of(segmenter, prediction.grid, grid.shape)
    seeds = {}
    if isinstance(segmenter, SeededSegmenter):
        everything = source.prediction(source.read((0, 0, 0), grid.end))
        seeds["mito"] = MemoryVolume(components(segmenter.seeds(everything)["mito"], 6), prediction.grid)
    function = PiecesWork({}, source, segmenter, grid, halo, seeds, {"mito": None}, {}).open()
    tables = CutTables([function.compute(block, function.read(block))["mito"] for block in grid])
    linking = LinksWork({}, grid, Rule(segmenter.united_by, segmenter.connectivity), {"mito": tables}).open()
    links = [linking.compute(block, linking.read(block))["mito"] for block in grid]
    pieces = [cut.pieces for cut in tables.cuts]
    objects = unite(pieces, links, segmenter.min_size_vx, segmenter.fill_holes)
    result = np.empty(grid.end, objects.ids.dtype)
    for block, cut, offset in zip(grid, tables.cuts, tables.offsets(), strict=False):
        ids = np.concatenate([[0], objects.ids[offset + 1 : offset + 1 + len(cut.pieces)]])
        result[tuple(map(slice, block.begin, block.end))] = ids[cut.labels]
    return result, objects


def noise(shape: Sequence[int], seed: int, level: float = 0.0) -> NDArray[np.float64]:
    """Make noise of few levels, so that watersheds have plateaus."""
    return (np.random.default_rng(seed).integers(-8, 9, shape) / 8 + level).clip(-1, 1)


def smooth(shape: Sequence[int], seed: int, radius: float) -> NDArray[np.float64]:
    """Make smooth blobs, half of the volume above 0."""
    from scipy.ndimage import gaussian_filter

    values = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), radius)
    return (values / (3 * max(values.std(), 1e-9))).clip(-1, 1)


def winding(shape: Sequence[int]) -> NDArray[np.float64]:
    """Make one line that runs to and fro through the whole volume, and a second one between its turns."""
    values = np.full(shape, -1.0)
    for z in range(0, shape[0], 4):
        for y in range(0, shape[1], 4):
            values[z, y, :] = 1.0
            values[z, y + 2 : y + 3, 1:-1] = 0.9
            side = -1 if (y // 4) % 2 == 0 else 0
            values[z, y : y + 5 if y + 4 < shape[1] else y + 1, side] = 1.0
        last = (shape[1] - 1) // 4 * 4
        values[z : z + 5 if z + 4 < shape[0] else z + 1, last if (z // 4) % 2 == 0 else 0, 0] = 1.0
    return values


def shells(shape: Sequence[int], thickness: int = 1) -> NDArray[np.float64]:
    """Make boxes within boxes."""
    index = np.indices(shape)
    depth = np.min([np.minimum(i, n - 1 - i) for i, n in zip(index, shape, strict=True)], axis=0)
    return np.where((depth // thickness) % 2 == 1, 1.0, -1.0)


def checkerboard(shape: Sequence[int]) -> NDArray[np.float64]:
    """Make voxels that touch by their edges only."""
    return np.where(np.indices(shape).sum(axis=0) % 2 == 0, 1.0, -1.0)


def corners(shape: Sequence[int]) -> NDArray[np.float64]:
    """Make voxels of which some touch by their corners only."""
    z, y, x = np.indices(shape)
    return np.where((z % 2 == y % 2) & (y % 2 == x % 2), 1.0, -1.0)
