"""Blockwise inference: read with context, run the network, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import MemoryVolume, Volume
from dacapo_hd.datasplits import normalise
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, format_box, nm
from dacapo_hd.prediction.blocks import Layout, Shape, aligned_outwards, read_mirrored
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.prediction.stored import create_prediction, quantise, read_prediction
from dacapo_hd.segmentation.base import Prediction

__all__ = ["create_prediction", "predict", "predict_in_memory", "read_prediction"]

MEMORY_BYTES = 2**31


def predict(
    predictor: Predictor,
    source: Volume,
    target: Volume,
    roi: Roi,
    intensity_range: tuple[float, float],
    block_shape_vx: Sequence[int] | None = None,
    memory_bytes: float = MEMORY_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Predict an ROI (femtometres) of `source` into `target` (channel, z, y, x), uint8 or float32, block by block.

    If the architecture is `block_independent`, the values of a voxel depend neither on the blocks nor on the ROI:
    networks downsample on one grid that begins at the source's first voxel. Context comes from the source, also from
    beyond the ROI; where the source ends it is reflected (repeatedly where it is shorter than the context).

    Blocks are as large as `memory_bytes` (of the network's feature maps) allow, unless `block_shape_vx` gives their
    output; a network that is not block-independent gets the blocks it was trained with. `progress` is called with the
    number of blocks done and of all. Raises UserError for volumes that do not fit each other and values that are not
    finite; what reading and writing raise passes through.
    """
    job = _Job(predictor, source, target, intensity_range)
    job.check(roi)
    blocks = list(job.layout(roi).blocks(block_shape_vx or job.block_shape(roi, memory_bytes)))
    # One block is read ahead and one written behind. A failed read or write raises at its `result()`.
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        reading = reader.submit(job.read, *blocks[0])
        writing: Future[None] | None = None
        for number, block in enumerate(blocks, start=1):
            raw = reading.result()
            if number < len(blocks):
                reading = reader.submit(job.read, *blocks[number])
            prediction = predictor(raw)
            if writing is not None:
                writing.result()
                if progress is not None:
                    progress(number - 1, len(blocks))
            writing = writer.submit(job.write, prediction, *block)
        if writing is not None:
            writing.result()
    if progress is not None:
        progress(len(blocks), len(blocks))


def predict_in_memory(
    predictor: Predictor, source: Volume, grid: Grid, intensity_range: tuple[float, float]
) -> Prediction:
    """Predict the part of `source` that `grid` covers, as float32."""
    channels = tuple(channel.name for channel in predictor.task.output_channels())
    target = MemoryVolume(np.empty((len(channels), *grid.shape_vx), np.float32), grid)
    predict(predictor, source, target, grid.roi, intensity_range)
    return Prediction(channels, target.data, grid.voxel_size_nm)


@attrs.frozen(eq=False)
class _Job:
    """What one call of `predict` works on; boxes are in voxels of the source."""

    predictor: Predictor
    source: Volume
    target: Volume
    intensity_range: tuple[float, float]

    def check(self, roi: Roi) -> None:
        """Raise UserError unless the volumes, the ROI and the network fit each other."""
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
        box = self.source.grid.slices(roi)
        begin, end = tuple(s.start for s in box), tuple(s.stop for s in box)
        origin = tuple((self.target.grid.offset - self.source.grid.offset) / self.source.grid.voxel_size)
        return Layout(begin, end, self.predictor.step_vx, self.target.chunk_shape_vx, origin)

    def block_shape(self, roi: Roi, memory_bytes: float) -> Shape:
        from dacapo_hd.architectures.sizes import bytes_per_input_voxel

        architecture = self.predictor.architecture
        if not architecture.block_independent:
            return self.predictor.output_shape_vx(architecture.input_shape_vx)
        input_voxels = memory_bytes / bytes_per_input_voxel(architecture, self.predictor.task)
        return self.layout(roi).largest_block(self.predictor.input_shape_for, input_voxels)

    def read(self, begin: Shape, end: Shape) -> NDArray[np.float32]:
        """Read the network's normalised input for a block."""
        first, output = aligned_outwards(begin, end, self.predictor.step_vx)
        shape = self.predictor.input_shape_for(output)
        margin = self._margin(shape)
        raw = read_mirrored(self.source, [f - m for f, m in zip(first, margin, strict=True)], shape)
        if raw.dtype.kind == "f" and not np.isfinite(raw).all():
            raise UserError(
                f"{self.source.path}: raw is NaN or infinite in or around voxels {format_box(begin, end)}; "
                "replace these values, for example by 0"
            )
        return normalise(raw, self.intensity_range)

    def _margin(self, input_shape: Shape) -> Shape:
        output = self.predictor.output_shape_vx(input_shape)
        return tuple((i - o) // 2 for i, o in zip(input_shape, output, strict=True))

    def write(self, prediction: NDArray[np.float32], begin: Shape, end: Shape) -> None:
        """Write the part of a block's prediction that lies inside the block."""
        box = format_box(begin, end)
        first, _ = aligned_outwards(begin, end, self.predictor.step_vx)
        inner = tuple(slice(b - f, e - f) for b, e, f in zip(begin, end, first, strict=True))
        found = prediction[:, *inner]
        if not np.isfinite(found).all():
            raise UserError(
                f"{self.source.path}: the network predicts NaN or infinity in voxels {box}; its weights are broken"
            )
        shape = tuple(e - b for b, e in zip(begin, end, strict=True))
        quantised = self.target.dtype == np.uint8
        data = quantise(found, self.predictor.task.output_channels()) if quantised else found
        self.target.write(self.source.grid.roi_of(begin, shape), data)


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
