"""How the voxels of a created array are laid out in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from dacapo_hd.arrays.backend import tensorstore
from dacapo_hd.arrays.source import DRIVERS
from dacapo_hd.errors import UserError

DEFAULT_CHUNK_VX = (64, 64, 64)


@attrs.frozen
class Layout:
    """Chunks of all channels, compressed by zstd; `shard_vx` puts several into one file."""

    zarr_format: int
    channels: int | None
    chunk_vx: tuple[int, ...]
    shard_vx: tuple[int, ...] | None

    @classmethod
    def of(
        cls, zarr_format: int, channels: int | None, chunk_vx: Sequence[int] | None, shard_vx: Sequence[int] | None
    ) -> Layout:
        """Raises UserError for shards in Zarr 2 and for shards that are not whole chunks."""
        chunk = tuple(int(n) for n in chunk_vx or DEFAULT_CHUNK_VX)
        if shard_vx is None:
            return cls(zarr_format, channels, chunk, None)
        shard = tuple(int(n) for n in shard_vx)
        if zarr_format != 3:
            raise UserError("Zarr 2 has no shards; give --zarr-format 3")
        if any(s % c or s < c for s, c in zip(shard, chunk, strict=True)):
            raise UserError(f"shards of {shard} voxels are not whole numbers of chunks of {chunk}")
        return cls(zarr_format, channels, chunk, shard)

    @property
    def axes(self) -> tuple[str, ...]:
        return ("z", "y", "x") if self.channels is None else ("c", "z", "y", "x")

    def create(self, folder: Path, shape_vx: Sequence[int], dtype: np.dtype[Any]) -> None:
        """Create an array of zeros; raises ValueError and OSError."""
        leading = () if self.channels is None else (self.channels,)
        chunk = tuple(min(c, n) for c, n in zip(self.chunk_vx, shape_vx, strict=True))
        metadata = self._zarr_2(dtype) if self.zarr_format == 2 else self._zarr_3(dtype)
        metadata["shape"] = (*leading, *shape_vx)
        metadata["fill_value"] = False if dtype.kind == "b" else 0
        if self.zarr_format == 2:
            metadata["chunks"] = (*leading, *chunk)
        else:
            stored = chunk
            if self.shard_vx is not None:
                whole = zip(self.shard_vx, chunk, shape_vx, strict=True)
                stored = tuple(min(s, -(-n // c) * c) // c * c for s, c, n in whole)
                metadata["codecs"] = [_sharding((*leading, *chunk), metadata["codecs"])]
            grid = {"name": "regular", "configuration": {"chunk_shape": (*leading, *stored)}}
            metadata["chunk_grid"] = grid
        spec = {"driver": DRIVERS[f"Zarr {self.zarr_format}"], "kvstore": {"driver": "file", "path": str(folder)}}
        tensorstore().open({**spec, "metadata": metadata, "create": True}).result()

    def _zarr_2(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        compressor = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1, "blocksize": 0}
        return {"compressor": compressor, "dimension_separator": "/", "dtype": dtype.str}

    def _zarr_3(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        blosc = {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "typesize": dtype.itemsize, "blocksize": 0}
        codecs = [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "blosc", "configuration": blosc},
        ]
        return {"data_type": dtype.name, "codecs": codecs, "dimension_names": self.axes}


def _sharding(chunk: tuple[int, ...], codecs: list[dict[str, Any]]) -> dict[str, Any]:
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    configuration = {"chunk_shape": chunk, "codecs": codecs, "index_codecs": index, "index_location": "end"}
    return {"name": "sharding_indexed", "configuration": configuration}
