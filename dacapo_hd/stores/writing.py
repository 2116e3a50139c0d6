"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from dacapo_hd.errors import UserError

LOCK_SECONDS = 300.0


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a crash or a full disk leaves the old content or the new one; raises UserError.

    One process at a time writes a path, so that what a killed one leaves is replaced by the next.
    """
    temporary = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        # a folder that does not exist, or a file in its place, has nothing to remove
        with suppress(OSError):
            temporary.unlink()


def partial_of(path: Path) -> Path:
    """Return where a file is written before it gets its name."""
    return path.with_name(f".{path.name}.partial")


def append_lines(path: Path, data: bytes) -> None:
    """Append whole lines, after cutting off one that a crash left without its end; raises UserError.

    A failed append leaves the lines as they were.
    """
    try:
        is_new = not path.exists()
        with path.open("w+b" if is_new else "r+b", buffering=0) as file:
            end = end_of_lines(file)
            file.truncate(end)
            file.seek(end)
            try:
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise
        if is_new:
            sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def end_of_lines(file: BinaryIO | FileIO, before: int | None = None, block: int = 1 << 16) -> int:
    """Return the position after a file's last newline (the last one before a position), found from the back."""
    end = file.seek(0, os.SEEK_END) if before is None else before
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder last through a loss of power, on systems that can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cannot_read(path: Path, error: OSError) -> UserError:
    """Word an OSError of reading for the user."""
    return UserError(f"cannot read {path}: {error.strerror}; make it readable, or copy it from a backup")


def cannot_write(path: Path, error: OSError) -> UserError:
    """Word an OSError of writing for the user."""
    forbidden = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    first = "get the right to do so" if forbidden else "free space"
    return UserError(f"cannot write {path}: {error.strerror}; {first} or give another folder with --store")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file in a context, for the short time of a write; raises UserError."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.01)
    except Timeout:
        raise UserError(f"another process has held {path} for {LOCK_SECONDS:g} s; end that process") from None
    except NotImplementedError:
        raise UserError(f"cannot lock {path}: its file system has no locks; give another folder with --store") from None
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.release()
