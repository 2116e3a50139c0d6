"""The default store: a folder with one folder per run, in files that people can read."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import attrs
import yaml
from filelock import FileLock, Timeout

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import RunRecord, ScoreRow, StatRow, Store, refuse_changed

Row = TypeVar("Row", StatRow, ScoreRow)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a crash or a full disk leaves the old content or the new one; raises UserError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        # a folder that does not exist, or a file in its place, has nothing to remove
        with suppress(OSError):
            temporary.unlink()


def cannot_write(path: Path, error: OSError) -> UserError:
    """Word an OSError of writing for the user."""
    return UserError(f"cannot write {path}: {error.strerror}; free space or give another folder with --store")


def _append(path: Path, data: bytes) -> None:
    """Append whole lines; a failed append leaves the file as it was."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise cannot_write(path, error) from error


def _acquired(path: Path, timeout: float = -1) -> AbstractContextManager[Any]:
    """Acquire a lock file; leaving the context that is returned releases it. Raises filelock's Timeout."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path).acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        raise cannot_write(path, error) from error


def _encode(rows: Sequence[Any]) -> bytes:
    return "".join(json.dumps(attrs.asdict(row)) + "\n" for row in rows).encode()


def _decode(path: Path, kind: type[Row]) -> list[Row]:
    """Read a file of rows; a last line without its end was being written in a crash and does not count."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(kind(**json.loads(line)))
        except (ValueError, TypeError):
            raise UserError(f"{path}:{number}: damaged line; remove it to go on without that row") from None
    return rows


@attrs.frozen
class FileStore(Store):
    """A folder `NAME/` per run with `run.yaml`, `stats.jsonl`, `scores.jsonl` and `checkpoints/`."""

    folder: Path = attrs.field(converter=Path)

    def __str__(self) -> str:
        return str(self.folder)

    def add_run(self, record: RunRecord) -> None:
        path = self._path(record.name, "run.yaml")
        if path.exists():
            refuse_changed(_read_record(path), record)
            return
        text = yaml.safe_dump(attrs.asdict(record), sort_keys=False)
        write_atomically(path, text.encode())

    def runs(self) -> tuple[RunRecord, ...]:
        return tuple(_read_record(path) for path in sorted(self.folder.glob("*/run.yaml")))

    def append_stats(self, name: str, rows: Sequence[StatRow]) -> None:
        _append(self._path(name, "stats.jsonl"), _encode(rows))

    def stats(self, name: str) -> list[StatRow]:
        return _decode(self._path(name, "stats.jsonl"), StatRow)

    def write_scores(self, name: str, rows: Sequence[ScoreRow]) -> None:
        replaced = {(row.iteration, row.crop) for row in rows}
        path = self._path(name, "scores.jsonl")
        # `validate` may write while the run is being trained
        with _acquired(path.with_name(".scores.lock")):
            kept = [row for row in self.scores(name) if (row.iteration, row.crop) not in replaced]
            write_atomically(path, _encode([*kept, *rows]))

    def scores(self, name: str) -> list[ScoreRow]:
        return _decode(self._path(name, "scores.jsonl"), ScoreRow)

    def truncate(self, name: str, iteration: int) -> None:
        stats = [row for row in self.stats(name) if row.iteration <= iteration]
        write_atomically(self._path(name, "stats.jsonl"), _encode(stats))
        path = self._path(name, "scores.jsonl")
        with _acquired(path.with_name(".scores.lock")):
            write_atomically(path, _encode([row for row in self.scores(name) if row.iteration <= iteration]))

    def checkpoint_folder(self, name: str) -> Path:
        return self._path(name, "checkpoints")

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        path = self._path(name, ".lock")
        try:
            lock = _acquired(path, timeout=0)
        except Timeout:
            raise UserError(f"run {name!r} is being trained by another process, which holds {path}") from None
        with lock:
            yield

    def _path(self, name: str, file: str) -> Path:
        return self.folder / name / file


def _read_record(path: Path) -> RunRecord:
    try:
        return RunRecord(**yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, TypeError, UnicodeDecodeError):
        raise UserError(f"{path}: damaged run record; restore the file or remove the folder") from None
