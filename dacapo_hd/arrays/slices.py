"""Folders of numbered images: a stack of one section per file, TIFF or PNG."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import tiff
from dacapo_hd.arrays.axes import Axis
from dacapo_hd.arrays.naming import AxisNaming
from dacapo_hd.arrays.source import Region, Source, standard_order, stored_region
from dacapo_hd.errors import UserError

SUFFIXES = (".png", *tiff.SUFFIXES)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_THREADS = 8


@attrs.frozen
class Slice:
    """The image of one file: (y, x) or (y, x, sample)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape))} {self.dtype}"


@attrs.frozen(eq=False)
class SliceFolder:
    """The files of a folder in the order of their numbers, and what the first one says."""

    path: Path
    files: tuple[Path, ...]
    first: Slice
    voxel_size_nm: dict[str, float]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.files), *self.first.shape)

    @property
    def names(self) -> tuple[str, ...]:
        return ("z", "y", "x", "c")[: len(self.shape)]

    @property
    def label(self) -> str:
        return f"{self.path} (stack of {len(self.files)} {self.files[0].suffix} files of {self.first})"

    @property
    def format(self) -> str:
        kind = "PNG" if self.files[0].suffix.lower() == ".png" else "TIFF"
        return f"{len(self.files)} {kind} files" if len(self.files) > 1 else f"{kind} file"

    def axes(self, naming: AxisNaming) -> tuple[Axis, ...]:
        """The first axis counts the files."""
        given = naming.given
        if given is not None and len(self.files) == 1 and "z" not in given:
            # a single image is a section
            naming = attrs.evolve(naming, given=f"z{given}")
        names = naming.resolve(self.label, (None,) * len(self.names), self.names)
        return tuple(Axis(name, self.voxel_size_nm.get(name), unit="nm", named=False) for name in names)


def has_slices(folder: Path) -> bool:
    """Tell whether a folder contains images; those beside arrays are pictures of something."""
    suffixes = {child.suffix.lower() for child in folder.iterdir()}
    return not suffixes.isdisjoint(SUFFIXES) and suffixes.isdisjoint((".zarr", ".n5"))


def is_png(file: Path) -> bool:
    """Tell whether a file is a PNG file, or means to be one."""
    with file.open("rb") as opened:
        return opened.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE or file.suffix.lower() == ".png"


def find_slices(path: Path) -> SliceFolder:
    """Look at a folder of images or at a single one.

    Raises UserError naming the files where a number is missing or twice there, names differ in more than one number,
    or kinds are mixed. The images themselves are looked at when they are read, or by `check_slices`.
    """
    files = _numbered(path) if path.is_dir() else (path,)
    pages = None if files[0].suffix.lower() == ".png" else tiff.find_stack(files[0])
    return SliceFolder(path, files, _look(files[0]), {} if pages is None else pages.voxel_size_nm)


def _numbered(folder: Path) -> tuple[Path, ...]:
    files = [child for child in folder.iterdir() if child.suffix.lower() in SUFFIXES and child.name[0] != "."]
    by_kind = {("png" if child.suffix.lower() == ".png" else "TIFF"): child.name for child in sorted(files)}
    if len(by_kind) > 1:
        raise UserError(f"{folder}: contains PNG and TIFF files ({', '.join(by_kind.values())}); a stack has one kind")
    if len(files) == 1:
        return tuple(files)
    split = {child: re.split(r"(\d+)", child.stem) for child in files}
    usual, _ = Counter(tuple(parts[::2]) for parts in split.values()).most_common(1)[0]
    alike = sorted(child for child in files if tuple(split[child][::2]) == usual)
    strange = sorted(child for child in files if tuple(split[child][::2]) != usual or len(usual) < 2)
    if strange:
        raise UserError(
            f"{folder}: {strange[0].name} is not named like {alike[-1].name}; the files of a stack must differ in one "
            "number only"
        )
    first = split[alike[0]]
    places = [i for i in range(1, len(first), 2) if len({int(parts[i]) for parts in split.values()}) > 1]
    if len(places) > 1:
        raise UserError(
            f"{folder}: names differ in more than one number ({min(files).name}, {max(files).name}); rename the files "
            "so that one number counts the sections"
        )
    number = {child: int(parts[places[0] if places else 1]) for child, parts in split.items()}
    ordered = sorted(files, key=lambda child: (number[child], child.name))
    for before, after in pairwise(ordered):
        if number[after] != number[before] + 1:
            problem = (
                f"{before.name} and {after.name} have the same number"
                if number[after] == number[before]
                else f"after {before.name} comes {after.name}: {number[after] - number[before] - 1} missing"
            )
            raise UserError(f"{folder}: {problem}; a stack needs every section once")
    return tuple(ordered)


def check_slices(files: Sequence[Path], first: Slice) -> None:
    """Look at the header of every file; raises UserError naming each (up to 8) that differs from the first."""
    problems: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for file, found in zip(files, pool.map(_outcome, files), strict=True):
            if isinstance(found, UserError):
                problems += found.problems
            elif found != first:
                problems.append(_differs(file, found, files[0], first))
    if problems:
        rest = [f"{files[0].parent}: and {len(problems) - 8} more files"] if len(problems) > 8 else []
        raise UserError(*problems[:8], *rest)


def _outcome(file: Path) -> Slice | UserError:
    try:
        return _look(file)
    except UserError as error:
        return error


def _differs(file: Path, found: Slice, first_file: Path, first: Slice) -> str:
    return f"{file}: is {found}, but the first section, {first_file.name}, is {first}"


def _look(file: Path) -> Slice:
    """Read the header of an image."""
    with _Image(file) as image:
        return image.slice


class _Image:
    """An open image file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._opened: Any = _open_png(file) if file.suffix.lower() == ".png" else tiff.Pages(file)
        self.slice = self._png_slice() if self._is_png else self._tiff_slice()

    def __enter__(self) -> _Image:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def _is_png(self) -> bool:
        return not isinstance(self._opened, tiff.Pages)

    @property
    def rows_at_once(self) -> int:
        return self.slice.shape[0] if self._is_png else self._opened.rows_at_once

    def rows(self, y: slice) -> NDArray[Any]:
        try:
            return np.asarray(self._opened)[y] if self._is_png else self._opened.rows(0, y.start, y.stop)
        except (*tiff.DAMAGE, SyntaxError) as error:
            raise UserError(f"cannot read {self.file}: {tiff.codec_advice(error)}") from error

    def _tiff_slice(self) -> Slice:
        pages = self._opened
        if prod(pages.shape) != prod(pages.page_shape):
            raise UserError(f"{self.file}: has {pages.shape[0]} pages; a file of a stack must have one")
        return Slice(pages.page_shape, pages.dtype)

    def _png_slice(self) -> Slice:
        image = self._opened
        if image.mode == "P":
            raise UserError(f"{self.file}: has a palette of colours; save it as gray values or RGB")
        channels = len(image.getbands())
        dtype = np.dtype(bool if image.mode == "1" else np.uint16 if image.mode.startswith("I") else np.uint8)
        return Slice((image.height, image.width, *((channels,) if channels > 1 else ())), dtype)


def _open_png(file: Path) -> Any:
    # not Image.open: it takes large sections for an attack
    from PIL.PngImagePlugin import PngImageFile

    try:
        return PngImageFile(file)
    except PermissionError as error:
        raise UserError(f"cannot open {file}: no permission to read it") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"cannot open {file}: not a readable PNG file: {error}") from error


class SliceSource(Source):
    """The images of a stack, decoded one by one."""

    def __init__(self, files: Sequence[Path], first: Slice, axes: tuple[str, ...]) -> None:
        self.files, self.first, self.axes = tuple(files), first, axes

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.first.dtype

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        # the first file stands for all: others may be compressed otherwise
        with _Image(self.files[0]) as image:
            stored = (1, min(image.rows_at_once, self.first.shape[0]), *self.first.shape[1:])
        by_name = dict(zip(self.axes, stored, strict=True))
        return tuple(by_name.get(axis, 1) for axis in "zyx")

    def read(self, region: Region) -> NDArray[Any]:
        files, rows, *rest = stored_region(region, self.axes)
        out = np.empty([s.stop - s.start for s in (files, rows, *rest)], self.dtype)
        for place, file in enumerate(self.files[files]):
            with _Image(file) as image:
                if image.slice != self.first:
                    raise UserError(_differs(file, image.slice, self.files[0], self.first))
                out[place] = image.rows(rows)[(slice(None), *rest)]
        return standard_order(out, self.axes)
