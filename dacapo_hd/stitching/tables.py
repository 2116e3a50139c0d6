"""What is kept of each block while a volume is stitched: files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.segmentation.objects import Links
from dacapo_hd.segmentation.pieces import Int64s, Pieces
from dacapo_hd.stitching.faces import Face, Layer

PIECES = tuple(field.name for field in attrs.fields(Pieces) if field.name != "foreground")
Entry = TypeVar("Entry")
LINKS = tuple(field.name for field in attrs.fields(Links))


@attrs.frozen
class BlockTables:
    """The tables of one class, in a folder; blocks have numbers from 0 to `blocks` - 1."""

    folder: Path
    blocks: int

    def write_pieces(self, number: int, pieces: Pieces, faces: Mapping[Face, Layer]) -> None:
        """Store what one block holds."""
        layers = {_face_name(face): layer for face, layer in faces.items()}
        write(self._faces(number), lambda file: np.savez_compressed(file, allow_pickle=False, **layers))
        columns = {name: getattr(pieces, name) for name in PIECES}
        foreground = np.array(pieces.foreground)
        write(self._pieces(number), lambda file: np.savez(file, allow_pickle=False, foreground=foreground, **columns))

    def read_pieces(self, number: int) -> Pieces:
        with np.load(self._pieces(number)) as stored:
            # what an older version wrote has no uncertainty
            return Pieces(int(stored["foreground"]), **{name: stored[name] for name in PIECES if name in stored})

    def sizes(self, number: int) -> tuple[int, int]:
        """Return how many pieces of objects a block has, and how many pieces in all."""
        with np.load(self._pieces(number)) as stored:
            return int(stored["foreground"]), len(stored["voxels"])

    def read_face(self, number: int, face: Face) -> Layer:
        with np.load(self._faces(number)) as stored:
            return stored[_face_name(face)]

    def write_links(self, number: int, links: Links) -> None:
        columns = {name: getattr(links, name) for name in LINKS}
        write(self._links(number), lambda file: np.savez(file, allow_pickle=False, **columns))

    def read_links(self, number: int) -> Links:
        with np.load(self._links(number)) as stored:
            return Links(**{name: stored[name] for name in LINKS})

    def write_offsets(self) -> None:
        """Number the pieces of all blocks one after the other."""
        counts = [self.sizes(number)[1] for number in range(self.blocks)]
        offsets = np.cumsum([0, *counts], dtype=np.int64)
        write(self.folder / "offsets.npy", lambda file: np.save(file, offsets))

    def offsets(self) -> Int64s:
        """Return how many pieces come before those of each block (blocks + 1,), from disk as needed."""
        found: Int64s = np.load(self.folder / "offsets.npy", mmap_mode="r")
        return found

    def write_ids(self, ids: NDArray[Any]) -> None:
        write(self.folder / "ids.npy", lambda file: np.save(file, ids))

    def has_ids(self) -> bool:
        return (self.folder / "ids.npy").exists()

    def ids(self) -> NDArray[Any]:
        """Return the object of each piece of the volume, from disk as needed; entry 0 is 0."""
        return np.load(self.folder / "ids.npy", mmap_mode="r")

    def all_pieces(self) -> Iterable[Pieces]:
        """Return the pieces of every block; each iteration reads them anew."""
        return _Each(self.read_pieces, self.blocks)

    def all_links(self) -> Iterable[Links]:
        """Return the links of every block; a volume of one block has none."""
        return _Each(self.read_links, self.blocks if self.blocks > 1 else 0)

    def _pieces(self, number: int) -> Path:
        return self.folder / "pieces" / f"{number}.npz"

    def _faces(self, number: int) -> Path:
        return self.folder / "faces" / f"{number}.npz"

    def _links(self, number: int) -> Path:
        return self.folder / "links" / f"{number}.npz"


@attrs.frozen
class _Each(Generic[Entry]):
    read: Callable[[int], Entry]
    count: int

    def __iter__(self) -> Iterator[Entry]:
        return (self.read(number) for number in range(self.count))


def write(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write a file so that readers find it whole or not at all; UserError when the disk refuses."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            save(file)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write: {error.strerror}") from error


def _face_name(face: Face) -> str:
    return "{}-{}".format(*face)
