"""The bytes of a stored array, seen as ([c,] z, y, x)."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays.backend import reason, tensorstore
from dacapo_hd.arrays.places import Place, is_refusal, kvstore, read_files, retries
from dacapo_hd.errors import UserError

DRIVERS = {"Zarr 2": "zarr", "Zarr 3": "zarr3", "N5": "n5"}
_DOCUMENTS = {"Zarr 2": ".zarray", "Zarr 3": "zarr.json", "N5": "attributes.json"}
_REWRITE = "for example by zarr-python"
_Options = Mapping[str, tuple[Sequence[Any], Any]]
_LEVEL: _Options = {"level": (range(10), 5)}
_BLOSC: _Options = {
    "cname": (("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"), "lz4"),
    "clevel": (range(10), 5),
    "shuffle": ((0, 1, 2), 1),
    "blocksize": (range(2**31), 0),
}
_ZSTD: _Options = {"level": (range(-(2**17), 23), 3)}
# the options of compressors that tensorstore knows: their values, and the one that stands in for all others; nothing of
# it is needed for reading
_COMPRESSORS: Mapping[str, _Options] = {
    "blosc": _BLOSC,
    "bz2": {"level": (range(1, 10), 1)},
    "bzip2": {"blockSize": (range(1, 10), 9)},
    "gzip": _LEVEL,
    "raw": {},
    "xz": {"preset": (range(10), 6)},
    "zlib": _LEVEL,
    "zstd": _ZSTD,
}
_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_ZARR_3_COMPRESSORS: Mapping[str, _Options] = {
    "blosc": {**_BLOSC, "shuffle": (_SHUFFLES, "noshuffle"), "typesize": (range(1, 256), 1)},
    "gzip": _LEVEL,
    "zstd": {**_ZSTD, "checksum": ((False, True), False)},
}
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


class OneChannel(Source):
    """One channel of an array, seen as (z, y, x)."""

    def __init__(self, source: Source, channel: int) -> None:
        self.source, self.channel = source, channel

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        return self.source.chunk_shape_vx

    def read(self, region: Region) -> NDArray[Any]:
        return self.source.read((slice(self.channel, self.channel + 1), *region))[0]

    def cached(self, cache_bytes: int) -> OneChannel:
        return OneChannel(self.source.cached(cache_bytes), self.channel)


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
        try:
            data: NDArray[Any] = self.handle()[region].read(order="C").result()
        except (ValueError, OSError) as error:
            if not is_refusal(error) or not self._is_readable():
                raise
            return self._read_what_is_given(region)
        return data

    def _is_readable(self) -> bool:
        try:
            return bool(read_files(self.place, [_DOCUMENTS[self.format]], patient=True))
        except UserError:
            return False

    def _read_what_is_given(self, region: Region) -> NDArray[Any]:
        """Read chunk by chunk from a server that refuses chunks that are not there, as buckets without listing do."""
        handle = self.handle()
        data = np.empty([part.stop - part.start for part in region], self.dtype)
        pieces = list(_by_chunk(region, handle.chunk_layout.write_chunk.shape))
        for piece, future in zip(pieces, [handle[piece].read() for piece in pieces], strict=True):
            target = tuple(slice(p.start - r.start, p.stop - r.start) for p, r in zip(piece, region, strict=True))
            try:
                data[target] = future.result()
            except (ValueError, OSError) as error:
                if not is_refusal(error):
                    raise
                data[target] = 0 if handle.fill_value is None else handle.fill_value
        return data

    def write(self, region: Region, data: NDArray[Any]) -> None:
        self.handle()[region].write(data).result()

    def _open(self) -> Any:
        ts = tensorstore()
        spec: dict[str, Any] = {
            "driver": DRIVERS[self.format],
            "kvstore": kvstore(self.place),
            "context": retries(patient=True),
            "metadata": _stored_metadata(self.place, self.format),
            "assume_metadata": True,
        }
        if self.cache_bytes:
            spec["context"]["cache_pool"] = {"total_bytes_limit": self.cache_bytes}
            # what is kept would be asked for again otherwise, to see whether it has changed
            spec["recheck_cached_data"] = "open"
        handle, axes = ts.open(spec).result(), self.axes
        if "t" in axes:
            handle = handle[ts.d[axes.index("t")][0]]
            axes = tuple(axis for axis in axes if axis != "t")
        wanted = [axis for axis in "czyx" if axis in axes]
        handle = handle.transpose([axes.index(axis) for axis in wanted])
        return handle if "z" in axes else handle[(..., ts.newaxis, slice(None), slice(None))]


def _by_chunk(region: Region, chunk: Sequence[int | None]) -> Iterator[Region]:
    """Cut a region at the borders of chunks."""
    axes = []
    for part, length in zip(region, chunk, strict=True):
        step = length or part.stop
        starts = range(part.start // step * step, part.stop, step)
        axes.append([slice(max(begin, part.start), min(begin + step, part.stop)) for begin in starts])
    return product(*axes)


def _stored_metadata(place: Place, format: str) -> dict[str, Any]:
    """Return an array's metadata without what tensorstore refuses although it says nothing of the voxels.

    Raises ValueError for an array that cannot be decoded, and what `read_files` raises.
    """
    name = _DOCUMENTS[format]
    contents = read_files(place, [name], patient=True)
    if name not in contents:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{place}/{name}")
    document = json.loads(contents[name])
    try:
        if format == "N5":
            metadata = _n5_metadata(document)
        else:
            metadata = _zarr_2_metadata(document, place) if format == "Zarr 2" else _zarr_3_metadata(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its metadata are damaged: {error!r}") from error
    _check_metadata(metadata, format)
    return metadata


def _check_metadata(metadata: Mapping[str, Any], format: str) -> None:
    """Let tensorstore read metadata as a file; ValueError for what it refuses.

    In metadata that it is given it would make up what is missing.
    """
    ts = tensorstore()
    store = ts.KvStore.open("memory://").result()
    store[_DOCUMENTS[format]] = json.dumps(metadata)
    try:
        ts.open({"driver": DRIVERS[format]}, kvstore=store).result()
    except ValueError as error:
        codec = re.search(r'"([^"]+)" is not registered', str(error))
        if codec is None:
            raise ValueError(reason(error).rpartition(f'"{_DOCUMENTS[format]}": ')[2]) from error
        raise ValueError(
            f"its codec {codec[1]!r} is not known here; rewrite the array with one such as blosc or zstd, {_REWRITE}"
        ) from error


def _zarr_2_metadata(document: Mapping[str, Any], place: Place) -> dict[str, Any]:
    filters = document.get("filters") or []
    if filters:
        names = ", ".join(str(one.get("id")) for one in filters)
        raise ValueError(f"its filters ({names}) are not known here; rewrite the array without filters, {_REWRITE}")
    dtype, compressor = _number_type(document["dtype"]), document.get("compressor")
    return {
        **{key: document[key] for key in ("zarr_format", "shape", "chunks", "order") if key in document},
        "dtype": document["dtype"] if dtype is None else dtype.str,
        "compressor": compressor and _compressor(compressor, "id"),
        "filters": None,
        "fill_value": _fill_value(document.get("fill_value"), dtype),
        "dimension_separator": document.get("dimension_separator") or _separator(place),
    }


def _separator(place: Place) -> str:
    """Return what stands between the numbers of a chunk in its name where the metadata do not say so.

    That is a dot, but older writers of chunks in folders did not say so either.
    """
    if not isinstance(place, Path):
        return "."
    with os.scandir(place) as entries:
        chunk = next((entry for entry in entries if re.fullmatch(r"\d+(\.\d+)*", entry.name)), None)
    return "/" if chunk is not None and chunk.is_dir() else "."


def _zarr_3_metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    without = ("attributes", "consolidated_metadata")
    metadata = {key: value for key, value in document.items() if key not in without and value is not None}
    metadata["data_type"] = _brief(document["data_type"])
    metadata.update({key: _named(document[key]) for key in ("chunk_grid", "chunk_key_encoding") if key in metadata})
    metadata["codecs"] = [_zarr_3_codec(codec) for codec in document["codecs"]]
    dtype = _number_type(metadata["data_type"])
    fill_value = _fill_value(document.get("fill_value"), dtype)
    metadata["fill_value"] = np.zeros((), dtype).item() if fill_value is None else fill_value
    return metadata


def _named(extension: Any) -> dict[str, Any]:
    """Return a codec or the like with its configuration; one that needs none may be given by its name."""
    given = {"name": extension} if isinstance(extension, str) else extension
    return {key: value for key, value in given.items() if value is not None}


def _brief(extension: Any) -> Any:
    return extension["name"] if isinstance(extension, dict) and not extension.get("configuration") else extension


def _zarr_3_codec(codec: Any) -> dict[str, Any]:
    codec = _named(codec)
    options = codec.get("configuration", {})
    # zarr-python has names of its own for the codecs of numcodecs, with the same bytes
    name = codec["name"].removeprefix("numcodecs.")
    if name in _ZARR_3_COMPRESSORS:
        return {"name": name, "configuration": _known(options, _ZARR_3_COMPRESSORS[name])}
    inside = {key: [_zarr_3_codec(one) for one in options[key]] for key in ("codecs", "index_codecs") if key in options}
    return {**codec, "configuration": {**options, **inside}}


def _compressor(options: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a compressor, named by a key of its options, with only those options that tensorstore knows."""
    known = _COMPRESSORS.get(options[key])
    return dict(options) if known is None else {key: options[key], **_known(options, known)}


def _known(options: Mapping[str, Any], known: _Options) -> dict[str, Any]:
    rows = ((key, options.get(key), allowed, default) for key, (allowed, default) in known.items())
    return {key: value if _is_one_of(value, allowed) else default for key, value, allowed, default in rows}


def _is_one_of(value: Any, allowed: Sequence[Any]) -> bool:
    # anything but an integer would be compared with each number of a range
    return (isinstance(value, int) or not isinstance(allowed, range)) and value in allowed


def _number_type(name: Any) -> np.dtype[Any] | None:
    """Return the dtype of numbers or truth values, None for all others, about which tensorstore decides."""
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except TypeError:
        return None
    return dtype if dtype is not None and dtype.kind in "biuf" else None


def _fill_value(value: Any, dtype: np.dtype[Any] | None) -> Any:
    """Return the value of chunks that are not there as tensorstore takes it, None for zero.

    ValueError for one that the dtype does not have.
    """
    if value is None or value == "":
        return None
    if dtype is None:
        return value
    try:
        return _float(value) if dtype.kind == "f" else _integer(value, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its fill_value ({value!r}) is no {dtype}; correct it in the metadata") from error


def _float(value: Any) -> float | str:
    """Infinity and NaN, which JSON does not have, are texts; so are the bits of a number in Zarr 3."""
    if isinstance(value, str) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"


def _integer(value: Any, dtype: np.dtype[Any]) -> int | bool:
    whole = int(value)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not low <= whole <= high or (whole != value and not isinstance(value, str)):
        raise ValueError(value)
    return bool(whole) if dtype.kind == "b" else whole


def _n5_metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes such as `resolution` are refused too if they do not have an entry for every axis."""
    metadata = {key: document[key] for key in ("dimensions", "blockSize", "dataType") if key in document}
    # N5 1 named the compression alone
    compression = document.get("compression") or document["compressionType"]
    compression = {"type": compression} if isinstance(compression, str) else compression
    zlib = {key: value for key, value in compression.items() if key == "useZlib"}
    return {**metadata, "compression": {**_compressor(compression, "type"), **zlib}}


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
