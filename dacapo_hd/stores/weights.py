"""Files of weights: their names, their checksums, and which of them a store lists."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.rows import CheckpointRow
from dacapo_hd.stores.writing import cannot_write, partial_of

CHUNK_BYTES = 4 << 20

_WEIGHTS = re.compile(r"\d+\.(pt|pt\.damaged|sha256)|\.\d+\.pt\.partial")

Progress = Callable[[int], None]
"""Called with the number of bytes that were read since the last call."""


def no_progress(count: int) -> None:
    """Show nothing."""


def checkpoint_file(folder: Path, iteration: int) -> Path:
    """Return where a checkpoint lies."""
    return folder / f"{iteration:08d}.pt"


def partial_file(folder: Path, iteration: int) -> Path:
    """Return where a checkpoint is written before it gets its name."""
    return partial_of(checkpoint_file(folder, iteration))


class UnreadableError(UserError):
    """A file of weights that is missing or cannot be read."""


def read_chunks(path: Path, progress: Progress = no_progress) -> Iterator[bytes]:
    """Yield a file's bytes, never all of them at once; raises UnreadableError."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                progress(len(chunk))
    except FileNotFoundError:
        raise UnreadableError("the file is missing") from None
    except OSError as error:
        raise UnreadableError(f"the file cannot be read: {error.strerror}") from error


def write_chunks(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write a file that lasts, and return its size and SHA-256; a failure leaves nothing. Raises UserError."""
    digest, size = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    return size, digest.hexdigest()


def problem_of(path: Path, row: CheckpointRow, progress: Progress = no_progress) -> str:
    """Say what is wrong with a checkpoint's file, in a few words; empty if it is what the row says."""
    if not path.is_file():
        return "the file is missing"
    size = path.stat().st_size
    if size != row.bytes:
        return difference(row, size, "")
    digest = hashlib.sha256()
    try:
        for chunk in read_chunks(path, progress):
            digest.update(chunk)
    except UnreadableError as error:
        return str(error)
    return difference(row, size, digest.hexdigest())


def difference(row: CheckpointRow, size: int, sha256: str) -> str:
    """Say how a file differs from its row; empty if it does not."""
    if size != row.bytes:
        return f"it has {size} bytes instead of {row.bytes}"
    return "" if sha256 == row.sha256 else "its SHA-256 differs"


def existing_file(folder: Path, iteration: int) -> Path:
    """Return a listed checkpoint's file, which has no name yet if the process that wrote it was killed just then."""
    final, partial = checkpoint_file(folder, iteration), partial_file(folder, iteration)
    return partial if partial.is_file() and not final.is_file() else final


def side_file(folder: Path, iteration: int) -> Path:
    """Return where schema 1 kept a checkpoint's SHA-256, in the place of a list."""
    return checkpoint_file(folder, iteration).with_suffix(".sha256")


def listed_checkpoints(store: Store, name: str) -> list[CheckpointRow]:
    """Return a run's checkpoints by ascending iteration; also those of schema 1, which are listed by files."""
    rows = {row.iteration: row for row in store.checkpoints(name)}
    try:
        folder = store.checkpoint_folder(name)
    except UserError:
        # the list can be read also where the folder of the weights cannot
        return list(rows.values())
    for side in folder.glob("*.sha256"):
        path = side.with_suffix(".pt")
        if side.stem.isdigit() and int(side.stem) not in rows and path.is_file():
            found = path.stat()
            created = datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC).isoformat(timespec="seconds")
            row = CheckpointRow(int(side.stem), side.read_text().strip(), found.st_size, created)
            rows[row.iteration] = row
    return sorted(rows.values(), key=lambda row: row.iteration)


def orphans(folder: Path, listed: Sequence[CheckpointRow]) -> list[Path]:
    """Return the files of weights in a run's folder that no listed checkpoint needs, sorted."""
    needed = {existing_file(folder, row.iteration) for row in listed}
    needed |= {side_file(folder, row.iteration) for row in listed}
    return sorted(path for path in folder.glob("*") if _WEIGHTS.fullmatch(path.name) and path not in needed)


def is_newer(path: Path, iteration: int) -> bool:
    """Tell whether an orphan is a checkpoint behind the newest that is listed: then the list has lost it."""
    return path.suffix == ".pt" and int(path.stem) > iteration
