"""Segment a stored prediction of any size: the one entry of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import DTypeLike, NDArray

from dacapo_hd.arrays import Volume, create_volume
from dacapo_hd.blockwise import BlockGrid, Compute
from dacapo_hd.config import unstructure
from dacapo_hd.errors import UserError
from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, SeededSegmenter, Segmenter, UnitedBy
from dacapo_hd.segmentation.components import components
from dacapo_hd.segmentation.objects import Objects, unite
from dacapo_hd.segmentation.reading import one_voxel
from dacapo_hd.segmentation.uncertainty import quantity_of
from dacapo_hd.stitching.blocks import BLOCKS_IN_FLIGHT, BYTES_PER_VOXEL, halo_of, largest_blocks
from dacapo_hd.stitching.faces import Rule
from dacapo_hd.stitching.job import Job, claimed
from dacapo_hd.stitching.source import Source
from dacapo_hd.stitching.table import write_table
from dacapo_hd.stitching.work import IdsWork, LinksWork, MaskWork, PiecesWork

CHUNK_VX = (64, 64, 64)
MEMORY_BYTES = 2**31


def segment_volume(
    prediction: Volume,
    segmenter: Segmenter,
    output: str | Path,
    record: str | Path,
    *,
    compute: Compute | None = None,
    roi: Roi | None = None,
    mask: Volume | None = None,
    block_shape_vx: Sequence[int] | None = None,
    chunk_shape_vx: Sequence[int] = CHUNK_VX,
    memory_bytes: float = MEMORY_BYTES,
    create: Callable[..., Volume] = create_volume,
    zarr_format: int = 2,
    attributes: Mapping[str, Any] | None = None,
    fresh: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Write `OUTPUT/CLASS` for each class, and for instances `OUTPUT/CLASS.csv`; returns the paths of the volumes.

    `prediction` is what `create_prediction` made, `roi` (femtometres) the part of it to segment, and voxels outside of
    `mask` (not 0; of the same voxels) are background. Masks are uint8, instances uint32 ids, or uint64 where there are
    more than 2^32 - 1 objects. `create` makes each output as `create_volume` does, all of them in `zarr_format`.

    The folder `record` is needed until all is done: the same call finishes what an interrupted one has begun, with
    the same result; `fresh` begins anew and replaces outputs. Blocks are whole chunks of the output, about
    `block_shape_vx` or as large as `memory_bytes` per worker allow; a segmenter that is neither `pointwise` nor an
    `InstanceSegmenter` gets the whole volume as one block. Raises UserError for outputs that exist, for a record that
    was begun with other settings, and for predictions and masks that do not fit; see also `run_blocks`.
    """
    source = Source.open(prediction, roi, mask)
    classes = _classes(segmenter, source)
    grid, chunk = _blocks(segmenter, source, block_shape_vx, chunk_shape_vx, memory_bytes)
    if isinstance(segmenter, InstanceSegmenter):
        _require_reach(segmenter, source, grid)
    paths = {name: Path(output).absolute() / name for name in classes}
    settings = _settings(segmenter, source, grid, paths.values())
    name = f"segment {segmenter.label}"
    job = Job(Path(record).absolute(), name, settings, source, grid, chunk, compute, progress, zarr_format)
    outputs = _Outputs(job, paths, create, attributes or {})
    with claimed(job.folder, settings, list(paths.values()), fresh):
        if not job.finished():
            if isinstance(segmenter, InstanceSegmenter):
                _stitch(job, segmenter, list(classes), outputs)
            else:
                targets = {name: outputs.volume(name, dtype) for name, dtype in classes.items()}
                job.run(MaskWork(settings, source, segmenter, targets), "masks")
        job.finish()
    return list(paths.values())


@attrs.frozen(eq=False)
class _Outputs:
    """Where the objects of each class go."""

    job: Job
    paths: Mapping[str, Path]
    create: Callable[..., Volume]
    attributes: Mapping[str, Any]

    def volume(self, name: str, dtype: DTypeLike) -> Volume:
        path, grid, chunk = self.paths[name], self.job.source.grid, self.job.chunk_vx
        return self.job.once(
            path,
            lambda: self.create(
                path,
                grid,
                dtype,
                chunk_shape_vx=chunk,
                zarr_format=self.job.zarr_format,
                overwrite=True,
                attributes=self.attributes,
            ),
        )

    def describe(self, name: str, objects: Objects) -> None:
        path = self.paths[name]
        uncertainty = quantity_of(self.job.source.uncertain(name))
        write_table(path.with_name(f"{path.name}.csv"), objects, self.job.source.grid, uncertainty)


@attrs.frozen(eq=False)
class _SeedVolumes(_Outputs):
    """Seeds are needed until the job is finished, and are not described."""

    def describe(self, name: str, objects: Objects) -> None:
        pass


@attrs.frozen
class _Seeds(InstanceSegmenter):
    """Makes each seed of another segmenter an object."""

    united_by: ClassVar[UnitedBy] = "connectivity"

    segmenter: SeededSegmenter

    def pieces(self, prediction: Prediction) -> Mapping[str, NDArray[np.uint32]]:
        return {name: components(mask, 6) for name, mask in self.segmenter.seeds(prediction).items()}


def _stitch(job: Job, segmenter: InstanceSegmenter, classes: Sequence[str], outputs: _Outputs) -> dict[str, Volume]:
    """Cut blocks into pieces, unite these into objects, and write the objects' ids."""
    seeds = _seeds(job, segmenter, classes) if isinstance(segmenter, SeededSegmenter) else {}
    tables = {name: job.tables(name) for name in classes}
    pieces = {name: job.scratch(f"pieces/{name}", np.uint32) for name in classes}
    halo = halo_of(segmenter, job.source.grid, job.grid.shape)
    job.run(PiecesWork(job.settings, job.source, segmenter, job.grid, halo, seeds, pieces, tables), "pieces")
    for table in tables.values():
        table.write_offsets()
    if len(job.grid) > 1:
        rule = Rule(segmenter.united_by, segmenter.connectivity)
        job.run(LinksWork(job.settings, job.grid, rule, tables), "links")
    for name, table in tables.items():
        if not table.has_ids():
            objects = unite(table.all_pieces(), table.all_links(), segmenter.min_size_vx, segmenter.fill_holes)
            outputs.describe(name, objects)
            table.write_ids(objects.ids)
    targets = {name: outputs.volume(name, table.ids().dtype) for name, table in tables.items()}
    job.run(IdsWork(job.settings, pieces, targets, tables), "ids")
    return targets


def _seeds(job: Job, segmenter: SeededSegmenter, classes: Sequence[str]) -> dict[str, Volume]:
    """Number the seeds of the whole volume."""
    inner = attrs.evolve(job, folder=job.folder / "seeds", name=f"{job.name}: seeds")
    paths = {name: job.folder / "volumes" / "seeds" / name for name in classes}
    return _stitch(inner, _Seeds(segmenter), classes, _SeedVolumes(inner, paths, create_volume, {}))


def _classes(segmenter: Segmenter, source: Source) -> dict[str, DTypeLike]:
    """Return the classes that a segmenter labels, each with the dtype of its labels; UserError if it cannot."""
    channels = tuple(channel.name for channel in source.channels)
    found = segmenter.segment(one_voxel(channels, source.grid.voxel_size_nm))
    return {name: labels.dtype for name, labels in found.labels.items()}


def _blocks(
    segmenter: Segmenter,
    source: Source,
    block_shape_vx: Sequence[int] | None,
    chunk_shape_vx: Sequence[int],
    memory_bytes: float,
) -> tuple[BlockGrid, tuple[int, ...]]:
    """Return the blocks, and the chunks that they are made of."""
    shape = source.grid.shape_vx
    wanted = tuple(block_shape_vx or _largest(segmenter, source, chunk_shape_vx, memory_bytes))
    if not segmenter.pointwise and not isinstance(segmenter, InstanceSegmenter):
        wanted = shape
    chunk = tuple(min(c, b, n) for c, b, n in zip(chunk_shape_vx, wanted, shape, strict=True))
    return BlockGrid.over(shape, wanted, chunk), chunk


def _require_reach(segmenter: InstanceSegmenter, source: Source, grid: BlockGrid) -> None:
    """Raise UserError if a block and its halo do not hold the pairs of voxels that the segmenter compares."""
    channels = tuple(channel.name for channel in source.channels)
    # a single voxel would stand for a volume of any size
    shape = [min(2, size) for size in source.grid.shape_vx]
    little = Prediction(channels, np.zeros((len(channels), *shape), np.float32), source.grid.voxel_size_nm)
    halo = halo_of(segmenter, source.grid, grid.shape)
    for axis, (reach, length, margin, count) in enumerate(
        zip(segmenter.reach_vx(little), grid.length, halo, grid.shape, strict=True)
    ):
        if count > 1 and reach >= length + margin:
            raise UserError(
                f"{segmenter.label}: compares voxels that are {reach} apart along {'zyx'[axis]}, but a block of "
                f"{length} with a halo of {margin} does not hold such pairs; choose larger blocks (more --memory), or "
                "a larger halo_vx"
            )


def _largest(
    segmenter: Segmenter, source: Source, chunk_shape_vx: Sequence[int], memory_bytes: float
) -> tuple[int, ...]:
    method = "pointwise"
    halo: tuple[int, ...] = (0, 0, 0)
    per_channel = BLOCKS_IN_FLIGHT * source.volume.dtype.itemsize
    if isinstance(segmenter, InstanceSegmenter):
        method, halo = segmenter.united_by, halo_of(segmenter, source.grid, (2, 2, 2))
        per_channel += segmenter.bytes_per_channel
    voxels = memory_bytes / (per_channel * len(source.channels) + BYTES_PER_VOXEL[method])
    return largest_blocks(source.grid.shape_vx, chunk_shape_vx, halo, voxels)


def _settings(segmenter: Segmenter, source: Source, grid: BlockGrid, paths: Iterable[Path]) -> dict[str, Any]:
    """Return what the result depends on."""
    return {
        "prediction": {"path": source.volume.path, **source.volume.attributes},
        "part": str(source.grid),
        "mask": None if source.mask is None else source.mask.path,
        "segmenter": unstructure(segmenter),
        "blocks": grid.to_dict(),
        "outputs": [str(path) for path in paths],
    }
