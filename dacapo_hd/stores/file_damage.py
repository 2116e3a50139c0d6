"""Looking for damage in a file store: what cannot be read, and what belongs to no run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Damage, DamageError
from dacapo_hd.stores.jsonl import ends_with_line, line_damage, read_lines
from dacapo_hd.stores.layout import (
    CHECKPOINTS,
    RECORD,
    RENAMED,
    SCORES,
    STATS,
    WEIGHTS,
    lock_file,
    name_of_removed,
)
from dacapo_hd.stores.migrations import hashes_fit
from dacapo_hd.stores.records import read_run
from dacapo_hd.stores.rows import CheckpointRow, ScoreRow, StatRow
from dacapo_hd.stores.writing import cannot_read, locked, partial_of

ROWS: dict[str, type[Any]] = {STATS: StatRow, SCORES: ScoreRow, CHECKPOINTS: CheckpointRow}


def find_damage(folder: Path) -> Iterator[Damage]:
    """Yield the damage in a store, by the names of its runs; weights are not looked at."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_read(folder, error) from error
    for path in paths:
        removed = name_of_removed(path)
        if removed:
            yield Damage(removed, str(path), "what a killed process left of a removed run", f"remove it: rm -r {path}")
        elif path.is_dir() and not path.name.startswith("."):
            yield from _of_run(path)


def _of_run(folder: Path) -> Iterator[Damage]:
    if (folder / RECORD).exists():
        yield from _of_record(folder)
    elif any((folder / file).exists() for file in (*ROWS, WEIGHTS)):
        advice = "copy that file from a backup, or remove the folder"
        yield Damage(folder.name, str(folder), f"rows or weights of a run without its {RECORD}", advice)
    for file in ROWS:
        yield from _of_rows(folder / file)
    found = list(_leftovers(folder))
    # what a living process is just writing is not left over; to a folder that takes no lock nobody writes
    with suppress(UserError), ExitStack() as locks:
        if found:
            locks.enter_context(locked(lock_file(folder)))
            found = list(_leftovers(folder))
    yield from found


def _of_record(folder: Path) -> Iterator[Damage]:
    path = folder / RECORD
    try:
        if not hashes_fit(read_run(folder).written):
            what = "the hashes in the record are not those of its config"
            yield Damage(folder.name, str(path), what, "restore the file from a backup")
    except DamageError as error:
        yield from error.damages
    except UserError as error:
        yield _unreadable(path, error)


def _of_rows(path: Path) -> Iterator[Damage]:
    try:
        for number, _, row in read_lines(path, ROWS[path.name]):
            if row is None:
                yield line_damage(path, number)
    except UserError as error:
        yield _unreadable(path, error)


def _unreadable(path: Path, error: UserError) -> Damage:
    what, _, advice = str(error).removeprefix(f"{path}: ").partition("; ")
    return Damage(path.parent.name, str(path), what, advice)


def _leftovers(folder: Path) -> Iterator[Damage]:
    for path in (*(partial_of(folder / file) for file in (RECORD, *ROWS)), folder / RENAMED):
        if path.exists() and not _is_in_use(path):
            yield Damage(folder.name, str(path), "a file that a killed process did not finish", f"remove it: rm {path}")
    if not ends_with_line(folder / STATS):
        what = "the last line was being written when a process was killed"
        advice = "nothing that counted is lost, and the next process that writes to the file removes that line"
        yield Damage(folder.name, str(folder / STATS), what, advice)


def _is_in_use(path: Path) -> bool:
    """Tell whether a file completes a renaming, until somebody writes to the run."""
    try:
        return path.name == RENAMED and read_run(path.parent).is_renamed
    except UserError:
        return True
