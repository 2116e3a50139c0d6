"""Blockwise inference in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np
from funlib.geometry import Roi

from dacapo_hd.arrays import MemoryVolume, Volume
from dacapo_hd.blockwise import run_directly
from dacapo_hd.blockwise.grid import Shape
from dacapo_hd.blockwise.memory import usable_bytes
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, format_shape
from dacapo_hd.prediction.function import BlockTooLargeError, PredictFunction
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.segmentation.base import Prediction

logger = logging.getLogger(__name__)

MEMORY_BYTES = 2**31
# a network that sees far may need larger blocks: with a shorter input nearly all of it would be context
MOST_TIMES_COMPUTED = 8


def predict(
    predictor: Predictor,
    source: Volume,
    target: Volume,
    roi: Roi,
    intensity_range: tuple[float, ...],
    block_shape_vx: Sequence[int] | None = None,
    memory_bytes: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Predict an ROI (femtometres) of `source` into `target` (channel, z, y, x), uint8 or float32, block by block.

    If the architecture is `block_independent`, the values of a voxel depend neither on the blocks nor on the ROI:
    networks downsample on one grid that begins at the source's first voxel. Context comes from the source, also from
    beyond the ROI; where the source ends it is reflected (repeatedly where it is shorter than the context).

    Blocks are as large as `memory_bytes` (of the network's feature maps) allow, unless `block_shape_vx` gives their
    output. Without either that is 2 GB, and more, up to half of the memory that there is, while each voxel would be
    computed more than 8 times. Blocks that do not fit into the memory after all are halved, with a warning. A network
    that is not block-independent gets the blocks it was trained with. `progress`
    is called with the number of blocks done and of all. Raises UserError for volumes that do not fit each other and
    values that are not finite; what reading and writing raise passes through.
    """
    function = PredictFunction(predictor, source, target, intensity_range)
    function.check(roi)
    layout = function.layout(roi)
    shape: Shape | None = tuple(block_shape_vx) if block_shape_vx else _block_shape(function, roi, memory_bytes)
    while shape is not None:
        grid = layout.grid(shape)
        try:
            run_directly(function, grid, partial(_done, progress, len(grid)))
            return
        except (BlockTooLargeError, MemoryError) as error:
            found, shape = shape, _smaller(function, roi, shape)
            if shape is None:
                raise UserError(
                    f"{source.path}: a block of {format_shape(found)} voxels does not fit into the memory of "
                    f"{predictor.device}, and there is no smaller one; use another device, or a smaller network"
                ) from error
            words = (format_shape(found), predictor.device, format_shape(shape))
            logger.warning("blocks of %s voxels do not fit into the memory of %s; going on with %s", *words)


def _done(progress: Callable[[int, int], None], total: int, done: int) -> None:
    progress(done, total)


def _smaller(function: PredictFunction, roi: Roi, shape: Shape) -> Shape | None:
    """Return a block shape that takes at most half of what another does; None if there is none."""
    predictor = function.predictor
    if not predictor.architecture.block_independent:
        return None
    voxels = prod(predictor.input_shape_for(shape)) / 2
    found = function.layout(roi).largest_block(predictor.input_shape_for, voxels)
    return found if prod(found) < prod(shape) else None


def predict_in_memory(
    predictor: Predictor, source: Volume, grid: Grid, intensity_range: tuple[float, ...]
) -> Prediction:
    """Predict the part of `source` that `grid` covers, as float32."""
    channels = tuple(channel.name for channel in predictor.task.output_channels())
    target = MemoryVolume(np.empty((len(channels), *grid.shape_vx), np.float32), grid)
    predict(predictor, source, target, grid.roi, intensity_range)
    return Prediction(channels, target.data, grid.voxel_size_nm)


def _block_shape(function: PredictFunction, roi: Roi, memory_bytes: float | None) -> Shape:
    predictor = function.predictor
    architecture = predictor.architecture
    if not architecture.block_independent:
        return predictor.output_shape_vx(architecture.input_shape_vx)
    layout = function.layout(roi)
    most = memory_bytes or max(MEMORY_BYTES, _device_bytes(predictor) / 2)
    allowed = memory_bytes or MEMORY_BYTES
    while True:
        shape = layout.largest_block(predictor.input_shape_for, allowed / predictor.bytes_per_input_voxel)
        if allowed >= most or layout.times_computed(shape, predictor.input_shape_for) <= MOST_TIMES_COMPUTED:
            return shape
        allowed = min(2 * allowed, most)


def _device_bytes(predictor: Predictor) -> int:
    """Return the size of the memory that the network runs in; 0 if it is unknown."""
    import torch

    device = torch.device(predictor.device)
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else usable_bytes()
