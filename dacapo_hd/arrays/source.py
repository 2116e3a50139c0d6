"""The bytes of a stored array, seen as ([c,] z, y, x)."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays.backend import tensorstore
from dacapo_hd.arrays.places import Place, kvstore, read_files, retries

DRIVERS = {"Zarr 2": "zarr", "Zarr 3": "zarr3", "N5": "n5"}
_T = TypeVar("_T")
Region = tuple[slice, ...]


class Source(ABC):
    """A stored array seen as ([c,] z, y, x): picklable, and read by several threads at once.

    Reading and writing raise ValueError, OSError or UserError.
    """

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]: ...

    @property
    @abstractmethod
    def chunk_shape_vx(self) -> tuple[int, ...]:
        """The box (z, y, x) that is stored, and at least read, as one; the shard in a sharded array."""

    @abstractmethod
    def read(self, region: Region) -> NDArray[Any]:
        """Return a new C-contiguous array in the machine's byte order."""

    def cached(self, cache_bytes: int) -> Source:
        """Return the same array, of which up to so many decoded bytes are kept for reading them again.

        Nobody may write to it meanwhile. Files that are read as a whole are left as they are.
        """
        return self

    def write(self, region: Region, data: NDArray[Any]) -> None:
        raise ValueError("this format can only be read; `dacapo-hd convert` makes an OME-Zarr of it")


class PerProcess(Generic[_T]):
    """What a file has to be opened for, opened at the first use in each process and never pickled."""

    def __init__(self, opener: Callable[[], _T]) -> None:
        self._opener = opener
        self._opened: tuple[int, _T] | None = None

    def __call__(self) -> _T:
        # threads that race here each open the file, and one wins: harmless
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self._opener())
        return self._opened[1]


class StoreSource(Source):
    """A Zarr or N5 array, reached through tensorstore.

    `axes` names the stored axes in their order ("t", "c", "z", "y", "x"); a missing z is inserted, t is dropped.
    """

    def __init__(self, place: Place, format: str, axes: tuple[str, ...], cache_bytes: int = 0) -> None:
        self.place, self.format, self.axes, self.cache_bytes = place, format, axes, cache_bytes
        self.handle = PerProcess(self._open)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreSource, (self.place, self.format, self.axes, self.cache_bytes)

    def cached(self, cache_bytes: int) -> StoreSource:
        return StoreSource(self.place, self.format, self.axes, cache_bytes)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.handle().dtype.numpy_dtype
        return dtype

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        return tuple(n or 1 for n in self.handle().chunk_layout.write_chunk.shape[-3:])

    def read(self, region: Region) -> NDArray[Any]:
        data: NDArray[Any] = self.handle()[region].read(order="C").result()
        return data

    def write(self, region: Region, data: NDArray[Any]) -> None:
        self.handle()[region].write(data).result()

    def _open(self) -> Any:
        ts = tensorstore()
        spec: dict[str, Any] = {
            "driver": DRIVERS[self.format],
            "kvstore": kvstore(self.place),
            "context": retries(8, 10),
        }
        if self.cache_bytes:
            spec["context"]["cache_pool"] = {"total_bytes_limit": self.cache_bytes}
            # what is kept would be asked for again otherwise, to see whether it has changed
            spec["recheck_cached_data"] = "open"
        if self.format == "N5":
            spec.update(_n5_metadata(self.place))
        handle, axes = ts.open(spec).result(), self.axes
        if "t" in axes:
            handle = handle[ts.d[axes.index("t")][0]]
            axes = tuple(axis for axis in axes if axis != "t")
        wanted = [axis for axis in "czyx" if axis in axes]
        handle = handle.transpose([axes.index(axis) for axis in wanted])
        return handle if "z" in axes else handle[(..., ts.newaxis, slice(None), slice(None))]


def _n5_metadata(place: Place) -> dict[str, Any]:
    """Return what tensorstore needs of an N5 array's metadata.

    It would read the file itself, but refuses one whose attributes, such as `resolution`, do not have an entry for
    every axis.
    """
    document = json.loads(read_files(place, ["attributes.json"])["attributes.json"])
    metadata = {key: document[key] for key in ("dimensions", "blockSize", "dataType") if key in document}
    # N5 1 named the compression alone
    metadata["compression"] = document.get("compression") or {"type": document.get("compressionType")}
    return {"metadata": metadata, "assume_metadata": True}


def stored_region(region: Region, axes: Sequence[str]) -> tuple[slice, ...]:
    """Turn a region ([c,] z, y, x) into one of the stored axes."""
    by_name = dict(zip("czyx"[-len(region) :], region, strict=True))
    return tuple(by_name.get(axis, slice(0, 1)) for axis in axes)


def standard_order(data: NDArray[Any], axes: Sequence[str]) -> NDArray[Any]:
    """Turn data with the stored axes into a C-contiguous array ([c,] z, y, x) in the machine's byte order."""
    if "t" in axes:
        data = data[(slice(None),) * axes.index("t") + (0,)]
    left = [axis for axis in axes if axis != "t"]
    data = data.transpose([left.index(axis) for axis in "czyx" if axis in left])
    data = data if "z" in left else np.expand_dims(data, -3)
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))
