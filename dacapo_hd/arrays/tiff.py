"""TIFF files of one or many pages, read page by page and of each page only the strips or tiles needed."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays.axes import Axis, standard_names
from dacapo_hd.arrays.source import PerProcess, Region, Source, standard_order, stored_region
from dacapo_hd.arrays.units import nm_per
from dacapo_hd.errors import UserError

SUFFIXES = (".tif", ".tiff")
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# unnamed axes of pages are sections
_AXES = {"Z": "z", "I": "z", "Q": "z", "Y": "y", "X": "x", "C": "c", "S": "c", "T": "t"}
_CENTIMETRE = 3
_INCH = 2
# 2540 dots per inch: what is coarser is meant for a printer
COARSEST_PIXEL_NM = 10_000
DAMAGE = (ValueError, OSError, RuntimeError, KeyError, IndexError, TypeError, struct.error, zlib.error)


def is_tiff(file: Path) -> bool:
    """Tell whether a file is a TIFF file, or means to be one."""
    with file.open("rb") as opened:
        return opened.read(4) in SIGNATURES or file.suffix.lower() in SUFFIXES


@attrs.frozen(eq=False)
class TiffStack:
    """What a TIFF file says about its pages: names and lengths of the axes in stored order, dtype, voxel size."""

    file: Path
    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    voxel_size_nm: dict[str, float]

    @property
    def label(self) -> str:
        return f"{self.file} (TIFF of shape {self.shape})"

    def axes(self) -> tuple[Axis, ...]:
        return tuple(Axis(name, self.voxel_size_nm.get(name), unit="nm") for name in self.names)


def find_stack(file: Path) -> TiffStack:
    """Read what a TIFF file says about itself; raises UserError for a damaged one and for pages that differ."""
    pages = Pages(file)
    try:
        return pages.described()
    finally:
        pages.close()


class Pages:
    """The pages of an open TIFF file; several threads may read them at once.

    `names` and `shape` are those of the stored axes, the last ones (y, x[, c]) being those of a page.
    """

    def __init__(self, file: Path) -> None:
        import tifffile

        self.file = file
        self._lock = threading.Lock()
        try:
            self._tiff = tifffile.TiffFile(file)
            self._series = self._series_of_pages()
        except PermissionError as error:
            raise UserError(f"cannot open {file}: no permission to read it") from error
        except (tifffile.TiffFileError, *DAMAGE) as error:
            raise UserError(f"cannot open {file}: not a readable TIFF file: {error}") from error
        series = self._series
        self._key = series.keyframe
        self._offset = series.dataoffset
        self.dtype = np.dtype(series.dtype)
        names = [_AXES.get(letter, letter) for letter in series.axes]
        order = list(range(len(names)))
        if self._in_planes:
            order = [*order[:-3], order[-2], order[-1], order[-3]]
        self.shape = tuple(int(series.shape[i]) for i in order)
        label = f"{file} (TIFF of shape {self.shape})"
        self.names = standard_names(label, [names[i] for i in order], [None] * len(names))
        self.page_shape = self.shape[self.names.index("y") :]

    @property
    def _in_planes(self) -> bool:
        """Tell whether each colour of a page is stored by itself."""
        return bool(self._key.planarconfig == 2 and self._key.samplesperpixel > 1)

    def close(self) -> None:
        self._tiff.close()

    def _series_of_pages(self) -> Any:
        """Return the only image of the file; pages of one shape that were written one by one are one image."""
        import tifffile

        self._require_whole()
        several = self._tiff.series
        if len(several) == 1:
            return several[0]
        pages = [page for series in several for page in series.pages]
        first = pages[0].keyframe
        for number, page in enumerate(pages, start=1):
            key = page.keyframe
            if (key.shape, key.dtype) != (first.shape, first.dtype):
                raise UserError(
                    f"{self.file}: page {number} has the shape {key.shape} and is {key.dtype}, but the first has "
                    f"{first.shape} and is {first.dtype}; the pages of a stack must be equal"
                )
        if any(series.axes.strip("IQZ") != "YX" for series in several):
            kinds = ", ".join(sorted({series.axes for series in several}))
            raise UserError(f"{self.file}: holds {len(several)} images with the axes {kinds}; give a file of one")
        return tifffile.TiffPageSeries(pages, shape=(len(pages), *first.shape), dtype=first.dtype, axes="ZYX")

    def _require_whole(self) -> None:
        """tifffile leaves out pages that a truncated file has lost, and only logs it."""
        tiff, last = self._tiff, self._tiff.pages[-1]
        layout, handle = tiff.tiff, tiff.filehandle
        handle.seek(last.offset)
        (tags,) = struct.unpack(layout.tagnoformat, handle.read(layout.tagnosize))
        handle.seek(tags * layout.tagsize, 1)
        (following,) = struct.unpack(layout.offsetformat, handle.read(layout.offsetsize))
        if following >= handle.size:
            raise ValueError(f"it is truncated after page {len(tiff.pages)}")

    def described(self) -> TiffStack:
        try:
            sizes = _ome_voxel_size(self._tiff) or _imagej_voxel_size(self._tiff) or _tagged_voxel_size(self._key)
        except (*DAMAGE, ElementTree.ParseError) as error:
            raise UserError(f"{self.file}: cannot read its OME, ImageJ or resolution metadata: {error}") from error
        return TiffStack(self.file, self.names, self.shape, self.dtype, sizes)

    @property
    def rows_at_once(self) -> int:
        """How many rows of a page are decoded together."""
        if self._in_planes:
            return self.page_shape[0]
        if self._offset is not None:
            return 1
        return int(self._key.tilelength if self._key.is_tiled else min(self._key.rowsperstrip, self.page_shape[0]))

    def rows(self, number: int, begin: int, end: int) -> NDArray[Any]:
        """Return rows of a page (y, x[, sample])."""
        if self._in_planes:
            with self._lock:
                planes: NDArray[Any] = np.moveaxis(self._series.pages[number].asarray(), 0, -1)
            return planes[begin:end]
        if self._offset is not None:
            return self._stored_rows(self._offset + number * prod(self.page_shape) * self.dtype.itemsize, begin, end)
        with self._lock:
            # tifffile looks at a page when it is first asked for, from the position that all threads share
            page = self._series.pages[number]
        if page is None:
            raise ValueError(f"page {number + 1} is missing")
        out = np.empty((end - begin, *self.page_shape[1:]), self.dtype)
        for index in self._segments(begin, end):
            data = self._bytes(page.dataoffsets[index], page.databytecounts[index])
            decoded, place, _ = self._key.decode(data, index, jpegtables=self._key.jpegtables)
            if decoded is None:
                raise ValueError(f"page {number + 1} has no data in segment {index + 1}")
            top, left = place[-3], place[-2]
            first, last = max(begin, top), min(end, top + decoded.shape[1])
            columns = min(decoded.shape[2], out.shape[1] - left)
            part = decoded[0, first - top : last - top, :columns]
            out[first - begin : last - begin, left : left + columns] = part.reshape(part.shape[:2] + out.shape[2:])
        return out

    def _segments(self, begin: int, end: int) -> Iterator[int]:
        key = self._key
        if not key.is_tiled:
            yield from range(begin // key.rowsperstrip, -(-end // key.rowsperstrip))
            return
        across = -(-key.imagewidth // key.tilewidth)
        for row in range(begin // key.tilelength, -(-end // key.tilelength)):
            yield from range(row * across, (row + 1) * across)

    def _stored_rows(self, offset: int, begin: int, end: int) -> NDArray[Any]:
        row = prod(self.page_shape[1:]) * self.dtype.itemsize
        data = self._bytes(offset + begin * row, (end - begin) * row)
        stored = self.dtype.newbyteorder(self._tiff.byteorder)
        return np.frombuffer(data, stored).reshape(end - begin, *self.page_shape[1:])

    def _bytes(self, offset: int, count: int) -> bytes:
        # pread: threads share the file without sharing a position in it
        data = os.pread(self._tiff.filehandle.fileno(), count, offset)
        if len(data) != count:
            raise ValueError(f"{self.file} is truncated")
        return data


class TiffSource(Source):
    """The pages of one file."""

    def __init__(self, file: Path, axes: tuple[str, ...]) -> None:
        self.file, self.axes = file, axes
        self.pages = PerProcess(lambda: Pages(file))

    def __reduce__(self) -> tuple[Any, ...]:
        return TiffSource, (self.file, self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pages().dtype

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        pages = self.pages()
        return (1, min(pages.rows_at_once, pages.page_shape[0]), pages.page_shape[1])

    def read(self, region: Region) -> NDArray[Any]:
        pages = self.pages()
        stored = stored_region(region, self.axes)
        y = self.axes.index("y")
        leading, rows, rest = stored[:y], stored[y], stored[y + 1 :]
        out = np.empty([s.stop - s.start for s in stored], pages.dtype)
        for index in product(*(range(s.start, s.stop) for s in leading)):
            number = int(np.ravel_multi_index(index, pages.shape[:y])) if index else 0
            place = tuple(i - s.start for i, s in zip(index, leading, strict=True))
            try:
                out[place] = pages.rows(number, rows.start, rows.stop)[(slice(None), *rest)]
            except DAMAGE as error:
                raise ValueError(f"page {number + 1}: {codec_advice(error)}") from error
        return standard_order(out, self.axes)


def codec_advice(error: Exception) -> str:
    """Word a failed decoding; what to install where tifffile lacks a decoder."""
    text = str(error)
    return f"{text}; install it by: pip install 'dacapo_hd[tiff]'" if "imagecodecs" in text else text


def _ome_voxel_size(tiff: Any) -> dict[str, float]:
    if not tiff.is_ome:
        return {}
    root = ElementTree.fromstring(tiff.ome_metadata)
    pixels = next((element for element in root.iter() if element.tag.rpartition("}")[2] == "Pixels"), None)
    found: dict[str, float] = {}
    for name in "zyx" if pixels is not None else "":
        size = pixels.get(f"PhysicalSize{name.upper()}")  # type: ignore[union-attr]
        factor = nm_per(pixels.get(f"PhysicalSize{name.upper()}Unit", "um"))  # type: ignore[union-attr]
        if size is not None and factor is not None:
            found[name] = float(size) * factor
    return found


def _imagej_voxel_size(tiff: Any) -> dict[str, float]:
    if not tiff.is_imagej:
        return {}
    described = tiff.imagej_metadata
    unit = str(described.get("unit", "")).encode("latin-1", "replace").decode("unicode_escape", "replace")
    factor = nm_per(unit)
    if factor is None:
        return {}
    found = _pixel_size(tiff.pages[0], factor)
    return {**found, "z": float(described["spacing"]) * factor} if "spacing" in described else found


def _tagged_voxel_size(page: Any) -> dict[str, float]:
    unit = page.tags.valueof("ResolutionUnit", _INCH)
    factor = {_CENTIMETRE: 1e7, _INCH: 2.54e7}.get(int(unit))
    found = {} if factor is None else _pixel_size(page, factor)
    return {} if any(size >= COARSEST_PIXEL_NM for size in found.values()) else found


def _pixel_size(page: Any, nm_per_unit: float) -> dict[str, float]:
    """Read the resolution tags: pixels per unit, as a fraction."""
    found = {}
    for name in "yx":
        pixels, units = page.tags.valueof(f"{name.upper()}Resolution", (0, 1))
        if pixels > 0:
            found[name] = units / pixels * nm_per_unit
    return found
