"""TIFF images in one or several files, read page by page and of each page only the strips or tiles needed."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays.axes import SPATIAL, Axis, standard_names
from dacapo_hd.arrays.naming import AxisNaming
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
_THREADS = 8
_FILES_REMEMBERED = 16
_BEGIN_OF_XML = 16_384
_COPY_ALL = "copy all files of the image into one folder"


def is_tiff(file: Path) -> bool:
    """Tell whether a file is a TIFF file, or means to be one."""
    with file.open("rb") as opened:
        return opened.read(4) in SIGNATURES or file.suffix.lower() in SUFFIXES


@attrs.frozen(eq=False)
class TiffStack:
    """What a TIFF file says about its pages: its letters for the axes and their lengths, dtype, voxel size.

    `order` is that in which the axes are read, where it is not the file's.
    """

    file: Path
    letters: tuple[str, ...]
    file_shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: np.dtype[Any]
    voxel_size_nm: dict[str, float]

    @property
    def label(self) -> str:
        return f"{self.file} (TIFF of shape {self.file_shape})"

    @property
    def shape(self) -> tuple[int, ...]:
        """As it is read."""
        return tuple(self.file_shape[place] for place in self.order)

    @property
    def may_be_sections(self) -> bool:
        """Whether there are several channels before y and x, and no z: as a stack that was saved as something else."""
        lengths = dict(zip(self.letters, self.file_shape, strict=True))
        before = [letter for letter in self.letters[: self.letters.index("Y")] if letter in "CS"]
        return "Z" not in lengths and any(lengths[letter] > 1 for letter in before)

    def axes(self, naming: AxisNaming) -> tuple[Axis, ...]:
        """Name the axes as they are read; only z, y, x are certain, as sections are often saved as something else."""
        said = [name if name in SPATIAL else None for name in map(str.lower, self.letters)]
        usual = [_AXES.get(letter, letter) for letter in self.letters]
        names = standard_names(self.label, naming.resolve(self.label, said, usual), [None] * len(said))
        pairs = zip(names, said, strict=True)
        axes = [Axis(name, self.voxel_size_nm.get(name), unit="nm", named=one is not None) for name, one in pairs]
        return tuple(axes[place] for place in self.order)


def find_stack(file: Path) -> TiffStack:
    """Read what a TIFF file, and the other files of its image, say about themselves.

    Raises UserError for files that are damaged or missing, and for pages that differ.
    """
    with closing(_open_pages(file)) as pages:
        return pages.described()


def _open_pages(file: Path) -> Pages | PagesOfFiles:
    """Open the whole image that a TIFF file is a part of."""
    pages = Pages(file)
    if pages.ome is None or not pages.ome.is_spread:
        return pages
    pages.close()
    return PagesOfFiles(file, pages.ome)


class Pages:
    """The pages of an open TIFF file; several threads may read them at once.

    `shape` is that of the stored axes as they are read, the last ones (y, x[, c]) being those of a page. Of an image in
    several files they are only the pages of this one, as a stack; with `alone` nobody asks whether there are others.
    """

    def __init__(self, file: Path, alone: bool = False) -> None:
        import tifffile

        self.file = file
        self._lock = threading.Lock()
        try:
            self._tiff = tifffile.TiffFile(file)
            self._require_whole()
            self.ome = None if alone else _ome_metadata(file, self._tiff)
            self._series = self._stack() if alone or (self.ome and self.ome.is_spread) else self._image()
        except PermissionError as error:
            raise UserError(f"cannot open {file}: no permission to read it") from error
        except (tifffile.TiffFileError, *DAMAGE) as error:
            raise UserError(f"cannot open {file}: not a readable TIFF file: {error}") from error
        series = self._series
        self._key = series.keyframe
        self._offset = series.dataoffset
        self.dtype = np.dtype(series.dtype)
        order = list(range(len(series.axes)))
        if self._in_planes:
            order = [*order[:-3], order[-2], order[-1], order[-3]]
        self.order = tuple(order)
        self.shape = tuple(int(series.shape[place]) for place in order)
        self.page_shape = self.shape[[series.axes[place] for place in order].index("Y") :]

    @property
    def _in_planes(self) -> bool:
        """Tell whether each colour of a page is stored by itself."""
        return bool(self._key.planarconfig == 2 and self._key.samplesperpixel > 1)

    def close(self) -> None:
        self._tiff.close()

    def reopen(self) -> None:
        self._tiff.filehandle.open()

    def _image(self) -> Any:
        """Return the only image of the file; pages of one shape that were written one by one are one image."""
        several = self._tiff.series
        if len(several) == 1:
            if several[0].is_multifile:
                raise UserError(
                    f"{self.file}: its {several[0].kind} metadata spread the image over several files; "
                    "save it as OME-TIFF or in one file"
                )
            return several[0]
        stack = self._stack([page for series in several for page in series.pages])
        if any(series.axes.strip("IQZ") != "YX" for series in several):
            kinds = ", ".join(sorted({series.axes for series in several}))
            raise UserError(f"{self.file}: holds {len(several)} images with the axes {kinds}; give a file of one")
        return stack

    def _stack(self, pages: list[Any] | None = None) -> Any:
        """Return pages as sections, by default all pages of the file."""
        import tifffile

        pages = pages or list(self._tiff.pages)
        first = pages[0].keyframe
        for number, page in enumerate(pages, start=1):
            key = page.keyframe
            if (key.shape, key.dtype) != (first.shape, first.dtype):
                raise UserError(
                    f"{self.file}: page {number} has the shape {key.shape} and is {key.dtype}, but the first has "
                    f"{first.shape} and is {first.dtype}; the pages of a stack must be equal"
                )
        return tifffile.TiffPageSeries(pages, (len(pages), *first.shape), first.dtype, f"Z{first.axes}")

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
        pixels = None if self.ome is None else self.ome.root.find(".//{*}Pixels")
        try:
            sizes = _ome_voxel_size(pixels) or _imagej_voxel_size(self._tiff) or _tagged_voxel_size(self._key)
        except DAMAGE as error:
            raise UserError(f"{self.file}: cannot read its OME, ImageJ or resolution metadata: {error}") from error
        series = self._series
        shape = tuple(map(int, series.shape))
        return TiffStack(self.file, tuple(series.axes), shape, self.order, self.dtype, sizes)

    @property
    def count(self) -> int:
        return prod(self.shape[: len(self.shape) - len(self.page_shape)])

    @property
    def page_letters(self) -> tuple[str, ...]:
        """The file's letters for the axes of a page."""
        return tuple(self._series.axes[place] for place in self.order[-len(self.page_shape) :])

    @property
    def uuid(self) -> str | None:
        """The UUID that OME metadata in the file give it."""
        if not self._tiff.is_ome:
            return None
        # only the first element is parsed: each of thousands of files may describe them all
        parser: Any = ElementTree.XMLPullParser(("start",))
        parser.feed(self._tiff.ome_metadata[:_BEGIN_OF_XML])
        try:
            _, root = next(parser.read_events())
        except (StopIteration, ElementTree.ParseError) as error:
            raise UserError(f"{self.file}: its OME metadata do not begin as XML does; save the file again") from error
        uuid: str | None = root.get("UUID")
        return uuid

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
        for index in _segments(page.keyframe, begin, end):
            data = self._bytes(page.dataoffsets[index], page.databytecounts[index])
            decoded, place, _ = page.keyframe.decode(data, index, jpegtables=page.jpegtables)
            if decoded is None:
                raise ValueError(f"page {number + 1} has no data in segment {index + 1}")
            top, left = place[-3], place[-2]
            first, last = max(begin, top), min(end, top + decoded.shape[1])
            columns = min(decoded.shape[2], out.shape[1] - left)
            part = decoded[0, first - top : last - top, :columns]
            out[first - begin : last - begin, left : left + columns] = part.reshape(part.shape[:2] + out.shape[2:])
        return out

    def _stored_rows(self, offset: int, begin: int, end: int) -> NDArray[Any]:
        row = prod(self.page_shape[1:]) * self.dtype.itemsize
        data = self._bytes(offset + begin * row, (end - begin) * row)
        stored = self.dtype.newbyteorder(self._tiff.byteorder)
        return np.frombuffer(data, stored).reshape(end - begin, *self.page_shape[1:])

    def _bytes(self, offset: int, count: int) -> bytes:
        # pread: threads share the file without sharing a position in it
        data = os.pread(self._tiff.filehandle.fileno(), count, offset)
        if len(data) != count:
            raise ValueError("the file is truncated")
        return data


def _segments(key: Any, begin: int, end: int) -> Iterator[int]:
    """Yield the numbers of the strips or tiles with rows of a page."""
    if not key.is_tiled:
        yield from range(begin // key.rowsperstrip, -(-end // key.rowsperstrip))
        return
    across = -(-key.imagewidth // key.tilewidth)
    for row in range(begin // key.tilelength, -(-end // key.tilelength)):
        yield from range(row * across, (row + 1) * across)


class PagesOfFiles:
    """The pages of an image in several OME-TIFF files; several threads may read them at once.

    `shape` and `page_shape` are as in `Pages`. A file is open only while it is read: a process can open fewer at a time
    than there may be.
    """

    def __init__(self, file: Path, ome: OmeMetadata) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._idle: list[Pages] = []
        try:
            self._ome = ome.followed()
            self._image = self._ome.image_with(file)
        except (*DAMAGE, ElementTree.ParseError) as error:
            raise UserError(f"{file}: cannot read its OME metadata: {error}") from error
        self._first = self._image.places[0][0]
        with self._opened(self._first) as first:
            self.dtype, self.page_shape, self.rows_at_once = first.dtype, first.page_shape, first.rows_at_once
            self._letters = (*self._image.lengths, *first.page_letters)
        self.shape = (*self._image.lengths.values(), *self.page_shape)

    def close(self) -> None:
        self._idle.clear()

    def described(self) -> TiffStack:
        """Look at every file; raises UserError naming one that is damaged or differs from the first."""
        needed = {file: place + 1 for file, place in sorted(self._image.places)}
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(self._check, needed, needed.values()))
        with self._opened(self._first) as first:
            tagged = first.described().voxel_size_nm
        try:
            sizes = _ome_voxel_size(self._image.pixels) or tagged
        except DAMAGE as error:
            raise UserError(f"{self.file}: cannot read its OME metadata: {error}") from error
        order = tuple(range(len(self.shape)))
        return TiffStack(self.file, self._letters, self.shape, order, self.dtype, sizes)

    def _check(self, file: Path, needed: int) -> None:
        with closing(Pages(file, alone=True)) as pages:
            shape, dtype, count, uuid = pages.page_shape, pages.dtype, pages.count, pages.uuid
        if (shape, dtype) != (self.page_shape, self.dtype):
            raise UserError(
                f"{file}: its pages have the shape {shape} and are {dtype}, but the pages of {self._first} have "
                f"{self.page_shape} and are {self.dtype}; the pages of an image must be equal"
            )
        if count < needed:
            raise UserError(
                f"{file}: has {count} pages, but the OME metadata of {self.file} name its page {needed}; "
                "copy the whole file again"
            )
        if not self._ome.allows(file, uuid):
            raise UserError(
                f"{file}: has another UUID ({uuid}) than the OME metadata of {self.file} expect; "
                "give the files their original names again"
            )

    def rows(self, number: int, begin: int, end: int) -> NDArray[Any]:
        """Return rows of a page (y, x[, sample])."""
        file, place = self._image.places[number]
        with self._opened(file) as pages:
            try:
                return pages.rows(place, begin, end)
            except DAMAGE as error:
                raise ValueError(f"{file}: {error}") from error

    @contextmanager
    def _opened(self, file: Path) -> Iterator[Pages]:
        """Lend an open file to one thread at a time, so that none is closed while it is read."""
        with self._lock:
            known = next((pages for pages in self._idle if pages.file == file), None)
            if known is not None:
                self._idle.remove(known)
        pages = known or Pages(file, alone=True)
        try:
            pages.reopen()
            yield pages
        finally:
            pages.close()
            with self._lock:
                self._idle = [*self._idle, pages][-_FILES_REMEMBERED:]


class TiffSource(Source):
    """The pages of an image, of whose files one is named."""

    def __init__(self, file: Path, axes: tuple[str, ...]) -> None:
        self.file, self.axes = file, axes
        self.pages = PerProcess(lambda: _open_pages(file))

    def __reduce__(self) -> tuple[Any, ...]:
        return TiffSource, (self.file, self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pages().dtype

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        pages = self.pages()
        leading = len(pages.shape) - len(pages.page_shape)
        stored = (1,) * leading + (min(pages.rows_at_once, pages.page_shape[0]), *pages.page_shape[1:])
        by_name = dict(zip(self.axes, stored, strict=True))
        return tuple(by_name.get(axis, 1) for axis in "zyx")

    def read(self, region: Region) -> NDArray[Any]:
        pages = self.pages()
        stored = stored_region(region, self.axes)
        y = len(pages.shape) - len(pages.page_shape)
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


@attrs.frozen(eq=False)
class OmeImage:
    """An image that OME metadata describe.

    `lengths` are those of its axes T, C and Z in stored order, without those of length 1; `places` are the file of each
    plane and the number of the page in it, in C order of these axes.
    """

    pixels: Element
    lengths: dict[str, int]
    places: tuple[tuple[Path, int], ...]


@attrs.frozen(eq=False)
class OmeMetadata:
    """What OME metadata say about the files of images; `home` is the file that the metadata are in."""

    home: Path
    root: Element
    _uuids: dict[Path, str] = attrs.field(init=False)

    @_uuids.default
    def _stated_uuids(self) -> dict[Path, str]:
        stated = [uuid for uuid in self.root.iterfind(".//{*}UUID") if "FileName" in uuid.attrib]
        return {self.home.parent / uuid.attrib["FileName"]: _text(uuid) for uuid in stated}

    @property
    def is_spread(self) -> bool:
        """Tell whether an image, or its description, is in other files than `home`, or in `home` by a former name."""
        files = {self._file_of(data) for data in self.root.iterfind(".//{*}TiffData")}
        return self._master is not None or not files <= {self.home} or self._is_renamed

    @property
    def _master(self) -> Path | None:
        """The file that is said to have the metadata of all."""
        element = self.root.find("{*}BinaryOnly")
        return None if element is None else self.home.parent / element.attrib["MetadataFile"]

    @property
    def _is_renamed(self) -> bool:
        """Tell whether the only file of an image was given another name, and has no UUID to know it by."""
        only = len(self._uuids) == 1 and self.home.suffix.lower() in SUFFIXES
        return only and self.home not in self._uuids and self.root.get("UUID") is None

    def _file_of(self, data: Element) -> Path:
        uuid = data.find("{*}UUID")
        if uuid is None:
            return self.home
        # copies of one description have one UUID, so names that are right count more
        if self._is_renamed or (self.home not in self._uuids and _text(uuid) == self.root.get("UUID")):
            return self.home
        if "FileName" not in uuid.attrib:
            raise ValueError(f"its OME metadata do not say which file has the UUID {_text(uuid)}")
        return self.home.parent / uuid.attrib["FileName"]

    def allows(self, file: Path, uuid: str | None) -> bool:
        """Tell whether a file with a UUID may be the one that is meant; copies of one description all have one."""
        return uuid in (None, self._uuids.get(file, uuid), self.root.get("UUID"))

    def followed(self) -> OmeMetadata:
        """Return the metadata of all files, where these only say which file has them."""
        if self._master is None:
            return self
        if not self._master.is_file():
            raise UserError(f"{self.home}: its OME metadata are in {self._master}, which is missing; {_COPY_ALL}")
        if not is_tiff(self._master):
            return OmeMetadata(self._master, ElementTree.fromstring(self._master.read_bytes()))
        with closing(Pages(self._master)) as pages:
            if pages.ome is None:
                raise UserError(f"{self._master}: has no OME metadata, but {self.home} says so; {_COPY_ALL}")
            return pages.ome

    def image_with(self, file: Path) -> OmeImage:
        """Return the only image, or of several the only one with pages in a file; UserError if one is not complete."""
        described = [pixels for pixels in self.root.iterfind(".//{*}Pixels") if pixels.find("{*}TiffData") is not None]
        inside = [pixels for pixels in described if file in map(self._file_of, pixels.iterfind("{*}TiffData"))]
        chosen = inside if len(inside) == 1 else described
        if len(chosen) != 1:
            raise UserError(
                f"{file}: its OME metadata describe {len(chosen)} images in several files; save one image alone"
            )
        return self._image(file, chosen[0])

    def _image(self, file: Path, pixels: Element) -> OmeImage:
        runs = [(self._file_of(data), data) for data in pixels.iterfind("{*}TiffData")]
        files = dict.fromkeys(found for found, _ in runs)
        missing = [found for found in files if not found.is_file()]
        if missing:
            which = f"{missing[0]} and {len(missing) - 1} more are" if len(missing) > 1 else f"{missing[0]} is"
            raise UserError(f"{file}: its OME metadata list {len(files)} files, but {which} missing; {_COPY_ALL}")
        lengths = _lengths(pixels)
        places: dict[int, tuple[Path, int]] = {}
        for found, data in runs:
            plane, page = _first_plane(data, lengths), int(data.get("IFD", 0))
            for step in range(_planes_of(data, found)):
                places[plane + step] = (found, page + step)
        planes = range(prod(lengths.values()))
        if sorted(places) != list(planes):
            raise UserError(
                f"{file}: its OME metadata list {len(places)} planes, but the image has {len(planes)}; save it again"
            )
        return OmeImage(pixels, {a: n for a, n in lengths.items() if n > 1}, tuple(places[plane] for plane in planes))


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _lengths(pixels: Element) -> dict[str, int]:
    """Return the lengths of the axes T, C and Z, the fastest last; the samples of a page are one channel."""
    lengths = {
        axis: int(pixels.attrib[f"Size{axis}"]) for axis in reversed(pixels.attrib["DimensionOrder"]) if axis in "TCZ"
    }
    channel = pixels.find("{*}Channel")
    samples = 1 if channel is None else int(channel.get("SamplesPerPixel", 1))
    if samples < 1:
        raise ValueError(f"a page has {samples} samples")
    return {**lengths, "C": lengths["C"] // samples}


def _first_plane(data: Element, lengths: dict[str, int]) -> int:
    plane = 0
    for axis, length in lengths.items():
        first = int(data.get(f"First{axis}", 0))
        if not 0 <= first < length:
            raise ValueError(f"a page is said to have {axis} = {first}, but there are {length}")
        plane = plane * length + first
    return plane


def _planes_of(data: Element, file: Path) -> int:
    """Return how many planes are given at once; without a number the page that is named, or else all of the file."""
    stated = data.get("PlaneCount", data.get("NumPlanes", "1" if "IFD" in data.attrib else None))
    if stated is not None:
        return int(stated)
    with closing(Pages(file, alone=True)) as pages:
        return pages.count


def _ome_metadata(file: Path, tiff: Any) -> OmeMetadata | None:
    if not tiff.is_ome:
        return None
    try:
        return OmeMetadata(file, ElementTree.fromstring(tiff.ome_metadata))
    except ElementTree.ParseError as error:
        raise UserError(f"{file}: cannot read its OME metadata: {error}") from error


def _ome_voxel_size(pixels: Element | None) -> dict[str, float]:
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
    described, found = tiff.imagej_metadata, {}
    in_units = _pixel_size(tiff.pages[0], 1.0)
    if "spacing" in described:
        in_units["z"] = float(described["spacing"])
    for name, size in in_units.items():
        # the unit of x is that of the others too, unless they have their own
        unit = str(described.get(f"{name}unit", described.get("unit", "")))
        factor = nm_per(unit.encode("latin-1", "replace").decode("unicode_escape", "replace"))
        if factor is not None:
            found[name] = size * factor
    return found


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
