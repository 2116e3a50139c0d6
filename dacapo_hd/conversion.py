"""Convert any array that can be opened to OME-Zarr with a pyramid, block by block."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import (
    ArgumentRef,
    ArrayRef,
    Downsampling,
    Volume,
    check_sections,
    create_volume,
    fill_pyramid,
    local_folder,
    open_volume,
)
from dacapo_hd.blockwise import Block, BlockFunction, BlockGrid, BlockWork, Compute, run_blocks
from dacapo_hd.errors import UserError

MEMORY_BYTES = 2**31
CHUNK_VX = (64, 64, 64)
# how often a worker holds a block: two blocks are in flight, and what tensorstore writes it copies
COPIES_IN_MEMORY = 5
# blocks of what can be read in any order are not larger than this, so that there are enough for all workers
USUAL_BLOCK_BYTES = 64 * 2**20
# attributes that say where voxels lie, which the output says in its own way
_COORDINATES = frozenset(
    (
        *("voxel_size", "resolution", "element_size_um", "offset", "units", "axis_names", "axes", "types"),
        *("_ARRAY_DIMENSIONS", "axistags", "axisOrder"),
        *("transform", "pixelResolution", "downsamplingFactors", "scales", "multiscales", "multiScale", "omero", "ome"),
    )
)


def convert(
    source: str,
    output: str | Path,
    *,
    dataset: str | None = None,
    axes: str | None = None,
    voxel_size_nm: tuple[float, ...] | str | None = None,
    assumed_voxel_size_nm: tuple[float, ...] | str | None = None,
    offset_nm: tuple[float, ...] | None = None,
    channel: int | None = None,
    labels: bool | None = None,
    chunk_shape_vx: Sequence[int] = CHUNK_VX,
    shard_shape_vx: Sequence[int] | None = None,
    zarr_format: int = 2,
    compute: Compute | None = None,
    memory_bytes: float = MEMORY_BYTES,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write an OME-Zarr group with all its levels at `output` and return its path.

    `dataset` is the part of `source` to convert, where that is a file or group. `axes`, `voxel_size_nm`,
    `assumed_voxel_size_nm` and `offset_nm` say what the source does not, as in ArrayRef. Coarser levels are the mode of
    `labels`, else the mean; integers of 32 and 64 bits may be either, so that it must be said. `memory_bytes` is for
    each worker. Until all is done, a hidden folder beside the output holds what is done: the same call finishes what an
    interrupted one has begun. Raises UserError for sources that cannot be opened, sections that differ, and an output
    that exists (unless `overwrite`).
    """
    path = source if dataset is None else f"{source.rstrip('/')}/{dataset.strip('/')}"
    opened = ArgumentRef(
        path, voxel_size_nm, offset_nm, axes=axes, channel=channel, assumed_voxel_size_nm=assumed_voxel_size_nm
    ).open()
    check_sections(opened)
    downsampling = _downsampling(opened, labels)
    folder = local_folder(output).absolute()
    _keep_source(opened, folder)
    settings = {
        "source": opened.path,
        "axes": axes,
        "channel": channel,
        "voxel_size_fm": list(opened.grid.voxel_size),
        "offset_fm": list(opened.grid.offset),
        "shape": list(opened.shape),
        "dtype": str(opened.dtype),
        "chunk_shape_vx": list(chunk_shape_vx),
        "shard_shape_vx": None if shard_shape_vx is None else list(shard_shape_vx),
        "zarr_format": zarr_format,
        "downsampling": downsampling,
    }
    with _Begun(folder, settings, overwrite) as begun:
        if not begun.created:
            _create(opened, folder, downsampling, chunk_shape_vx, shard_shape_vx, zarr_format)
            begun.note_created()
        target = open_volume(folder)
        if progress:
            print(opened.described(), file=sys.stderr)
        block, staged = plan(opened, target, memory_bytes)
        work = Copy(opened, target, settings, str(begun.record) if staged else None)
        grid = BlockGrid.over(target.grid.shape_vx, block, chunk=target.chunk_shape_vx)
        run_blocks(work, grid, begun.record / "copy", compute, f"convert {folder.name}", progress)
        if len(ArrayRef(str(folder)).open_levels()) > 1:
            block_bytes = int(min(memory_bytes / COPIES_IN_MEMORY, USUAL_BLOCK_BYTES))
            fill_pyramid(folder, begun.record / "levels", compute, progress, block_bytes=block_bytes)
    return folder


def _keep_source(source: Volume, folder: Path) -> None:
    """UserError where replacing the output would remove the source."""
    path = Path(source.path)
    if folder.resolve() in (path.resolve(), *path.resolve().parents):
        raise UserError(f"{folder}: contains the source, {source.path}; give another output")


def _downsampling(source: Volume, labels: bool | None) -> Downsampling:
    dtype = source.dtype
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise UserError(
            f"{source.path}: {dtype} values cannot be converted; they must be truth values, integers or floats"
        )
    if labels and dtype.kind == "f":
        raise UserError(f"{source.path}: {dtype} values are no labels, which are integers; leave out --labels")
    if labels is None and dtype.kind in "iu" and dtype.itemsize >= 4:
        raise UserError(
            f"{source.path}: {dtype} values may be ids, of which there is no mean; give --labels for ids or masks, "
            "or --intensities"
        )
    return "mode" if labels or dtype.kind == "b" else "mean"


def _create(
    source: Volume,
    folder: Path,
    downsampling: Downsampling,
    chunk_shape_vx: Sequence[int],
    shard_shape_vx: Sequence[int] | None,
    zarr_format: int,
) -> None:
    kept = {key: value for key, value in source.attributes.items() if key not in _COORDINATES}
    names = kept.pop("channel_names", ())
    create_volume(
        folder,
        source.grid,
        source.dtype,
        source.channels,
        names if len(names) == (source.channels or 0) else (),
        chunk_shape_vx,
        zarr_format,
        overwrite=True,
        attributes={**kept, "source": source.path},
        levels=None,
        downsampling=downsampling,
        shard_shape_vx=shard_shape_vx,
    )


class _Begun:
    """The hidden folder beside an output that is being made; removed when it is finished."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
        self.record = folder.with_name(f".{folder.name}.convert")
        self._settings, self._created = dict(settings), self.record / "created.json"
        try:
            if overwrite and self.record.exists():
                shutil.rmtree(self.record)
            if not self.record.exists():
                if folder.exists() and not overwrite:
                    raise UserError(f"{folder} exists; give --overwrite to replace it")
                self.record.mkdir(parents=True)
            self.created = self._created.exists()
            if self.created:
                self._require_same(folder, json.loads(self._created.read_text()))
        except OSError as error:
            raise UserError(f"cannot create {folder}: {error.strerror}") from error

    def _require_same(self, folder: Path, begun: Mapping[str, Any]) -> None:
        different = [key for key, value in self._settings.items() if begun.get(key) != value]
        if different:
            shown = ", ".join(f"{key} was {begun.get(key)}, is {self._settings[key]}" for key in different)
            raise UserError(
                f"{folder} was begun with other settings: {shown}; repeat the command that began it, or give "
                "--overwrite to begin anew"
            )

    def note_created(self) -> None:
        part = self._created.with_suffix(".part")
        part.write_text(json.dumps(self._settings))
        part.replace(self._created)

    def __enter__(self) -> _Begun:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        # without an output there is nothing that could go on
        if kind is None or not self._created.exists():
            shutil.rmtree(self.record)


def plan(source: Volume, target: Volume, memory_bytes: float) -> tuple[tuple[int, ...], bool]:
    """Choose the block shape in voxels, and whether blocks wait in files instead of memory.

    A block covers whole chunks of the target, and where memory allows of the source, which are then decoded once.
    Where single sections are decoded as a whole and as many as a chunk is deep do not fit, they wait in a file.
    """
    chunk, unit = target.chunk_shape_vx, source.chunk_shape_vx
    shape = [-(-n // c) * c for n, c in zip(target.grid.shape_vx, chunk, strict=True)]
    per_voxel = (target.channels or 1) * target.dtype.itemsize
    most = memory_bytes / COPIES_IN_MEMORY
    block = [min(-(-u // c) * c, n) for u, c, n in zip(unit, chunk, shape, strict=True)]
    if prod(block) * per_voxel > most:
        if unit[0] == 1 and unit[1] > chunk[1]:
            return (chunk[0], shape[1], shape[2]), True
        block = list(chunk)
    for axis in (2, 1, 0):
        times = int(min(most, USUAL_BLOCK_BYTES) // (prod(block) * per_voxel))
        block[axis] = min(max(times, 1) * block[axis], shape[axis])
    return tuple(block), False


@attrs.frozen(eq=False)
class Copy(BlockWork):
    """Copies a volume; `staging` is the folder in which blocks that do not fit into the memory wait."""

    in_flight = 2

    source: Volume
    target: Volume
    settings: dict[str, Any]
    staging: str | None

    def identity(self) -> dict[str, Any]:
        return self.settings

    def open(self) -> BlockFunction:
        return _CopyInMemory(self) if self.staging is None else _CopyByFile(self)


@attrs.frozen(eq=False)
class _CopyInMemory(BlockFunction):
    work: Copy

    def read(self, block: Block) -> NDArray[Any]:
        return self.work.source.read(self.work.source.grid.roi_of(block.begin, block.shape))

    def compute(self, block: Block, data: NDArray[Any]) -> NDArray[Any]:
        return data

    def write(self, block: Block, result: NDArray[Any]) -> None:
        self.work.target.write(self.work.target.grid.roi_of(block.begin, block.shape), result)


@attrs.frozen(eq=False)
class _CopyByFile(BlockFunction):
    """Decodes the sections of a block one by one into a file without a name, and writes row after row of chunks."""

    work: Copy

    def read(self, block: Block) -> IO[bytes]:
        source = self.work.source
        # a file without a name is gone with its process, however that ends
        file = tempfile.TemporaryFile(dir=self.work.staging)  # noqa: SIM115 closed when it is written
        for z in range(block.begin[0], block.end[0]):
            begin, shape = (z, *block.begin[1:]), (1, *block.shape[1:])
            file.write(source.read(source.grid.roi_of(begin, shape)).data)
        file.flush()
        return file

    def compute(self, block: Block, data: IO[bytes]) -> IO[bytes]:
        return data

    def write(self, block: Block, result: IO[bytes]) -> None:
        target = self.work.target
        step = target.chunk_shape_vx[1]
        with result as file:
            for y in range(block.begin[1], block.end[1], step):
                end = min(y + step, block.end[1])
                begin, shape = (block.begin[0], y, block.begin[2]), (block.shape[0], end - y, block.shape[2])
                rows = self._rows(file.fileno(), block, y - block.begin[1], end - block.begin[1])
                target.write(target.grid.roi_of(begin, shape), rows)

    def _rows(self, file: int, block: Block, begin: int, end: int) -> NDArray[Any]:
        """Read rows of all sections: ([c,] z, y, x)."""
        source = self.work.source
        channels = source.channels or 1
        out = np.empty((channels, block.shape[0], end - begin, block.shape[2]), source.dtype)
        row = block.shape[2] * source.dtype.itemsize
        for z, channel in product(range(block.shape[0]), range(channels)):
            offset = ((z * channels + channel) * block.shape[1] + begin) * row
            data = os.pread(file, (end - begin) * row, offset)
            out[channel, z] = np.frombuffer(data, source.dtype).reshape(out.shape[2:])
        return out if source.channels is not None else out[0]
