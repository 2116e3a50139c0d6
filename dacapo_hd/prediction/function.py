"""What is done with a block: read with context, run the network, write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.blockwise import Block, BlockFunction, BrokenWorkerError
from dacapo_hd.blockwise.grid import Shape
from dacapo_hd.datasplits import normalise
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import format_box, format_shape, nm
from dacapo_hd.prediction.blocks import Layout, read_mirrored
from dacapo_hd.prediction.flips import predict_flipped
from dacapo_hd.prediction.inside import covered
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.prediction.stored import quantise


class BlockTooLargeError(UserError):
    """The network's memory for a block is more than there is."""


@attrs.frozen(eq=False)
class PredictFunction(BlockFunction):
    """Predicts blocks of `source` (boxes in its voxels) into `target`.

    `flips` averages over mirrored copies. With `skip_empty` blocks whose raw data, context included, are one constant
    are not computed, nor with a `mask` those that hold no voxel of it; they are left as they are, and other voxels
    outside the mask get the low end of each channel's range, which is 0 in uint8.
    """

    predictor: Predictor
    source: Volume
    target: Volume
    intensity_range: tuple[float, ...]
    flips: bool = False
    skip_empty: bool = False
    mask: Volume | None = None

    def check(self, roi: Roi) -> None:
        """Raise UserError unless the volumes, the ROI (femtometres) and the network fit each other."""
        source, target = self.source, self.target
        if source.grid.voxel_size != target.grid.voxel_size:
            raise UserError(
                f"{target.path}: voxel size {target.grid.voxel_size_nm} nm, but {source.path} has "
                f"{source.grid.voxel_size_nm} nm; they must be equal"
            )
        for volume in (source, target):
            _check_inside(volume, roi)
        expected = self.predictor.architecture.in_channels
        if (source.channels or 1) != expected:
            raise UserError(f"{source.path}: {source.channels or 1} channels, but the network takes {expected}")
        outputs = len(self.predictor.task.output_channels())
        if target.channels != outputs or target.dtype not in (np.uint8, np.float32):
            raise UserError(
                f"{target.path}: must be uint8 or float32 with {outputs} channels, "
                f"got {target.dtype} with {target.channels}"
            )

    def layout(self, roi: Roi) -> Layout:
        """Return how an ROI (femtometres) may be cut into blocks."""
        origin = tuple((self.target.grid.offset - self.source.grid.offset) / self.source.grid.voxel_size)
        return Layout.of(self.source.grid, roi, self.predictor.step_vx, self.target.chunk_shape_vx, origin)

    def read(self, block: Block) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None] | None:
        """Return the network's normalised input, and which voxels are inside the mask."""
        inside = None
        if self.mask is not None:
            inside = covered(self.mask, self.source.grid, block.begin, block.end)
            if not inside.any():
                return None
        raw = self._read_raw(block)
        if self.skip_empty and all(channel.min() == channel.max() for channel in raw):
            return None
        return normalise(raw, self.intensity_range), inside

    def compute(
        self, block: Block, data: tuple[NDArray[np.float32], NDArray[np.bool_] | None]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Return the network's prediction, which may be larger than the block, and the mask."""
        raw, inside = data
        try:
            return (predict_flipped(self.predictor, raw) if self.flips else self.predictor(raw)), inside
        except RuntimeError as error:
            raise _worded(error, raw.shape[1:]) from error

    def write(self, block: Block, result: tuple[NDArray[np.float32], NDArray[np.bool_] | None]) -> None:
        """Write the part of a prediction that lies inside the block."""
        prediction, inside = result
        box = format_box(block.begin, block.end)
        first, _ = self._window(block)
        inner = tuple(slice(b - f, e - f) for b, e, f in zip(block.begin, block.end, first, strict=True))
        found = prediction[:, *inner]
        if not np.isfinite(found).all():
            raise UserError(
                f"{self.source.path}: the network predicts NaN or infinity in voxels {box}; its weights are broken"
            )
        channels = self.predictor.task.output_channels()
        if inside is not None:
            for values, channel in zip(found, channels, strict=True):
                values[~inside] = channel.low
        data: NDArray[Any] = quantise(found, channels) if self.target.dtype == np.uint8 else found
        self.target.write(self.source.grid.roi_of(block.begin, block.shape), data)

    def _read_raw(self, block: Block) -> NDArray[np.generic]:
        first, output = self._window(block)
        shape = self.predictor.input_shape_for(output)
        margin = self._margin(shape)
        raw = read_mirrored(self.source, [f - m for f, m in zip(first, margin, strict=True)], shape)
        if raw.dtype.kind == "f" and not np.isfinite(raw).all():
            raise UserError(
                f"{self.source.path}: raw is NaN or infinite in or around voxels {format_box(block.begin, block.end)}; "
                "replace these values, for example by 0"
            )
        return raw

    def _window(self, block: Block) -> tuple[Shape, Shape]:
        return self.predictor.window(block.begin, block.end, self.source.grid.shape_vx)

    def _margin(self, input_shape: Shape) -> Shape:
        output = self.predictor.output_shape_vx(input_shape)
        return tuple((i - o) // 2 for i, o in zip(input_shape, output, strict=True))


def _check_inside(volume: Volume, roi: Roi) -> None:
    grid = volume.grid
    if not grid.aligned(roi):
        raise UserError(
            f"{volume.path}: the ROI begins at {nm(roi.offset)} nm and cuts voxels of {grid.voxel_size_nm} nm"
        )
    if not grid.roi.contains(roi):
        begin, end = ((corner - grid.offset) / grid.voxel_size for corner in (roi.begin, roi.end))
        raise UserError(
            f"{volume.path}: ROI {format_box(begin, end)} is not inside the volume of shape {grid.shape_vx} voxels"
        )


def _worded(error: RuntimeError, shape: Sequence[int]) -> Exception:
    """Word what torch says of a device without memory or with an error that only a new process gets rid of."""
    import torch

    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return BlockTooLargeError(
            f"a block with an input of {format_shape(shape)} voxels needs more memory than there is; give less --memory"
        )
    if "CUDA error" in text:
        return BrokenWorkerError(text.splitlines()[0])
    return error
