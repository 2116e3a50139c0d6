"""The default store: a folder with one folder per run, in files that people can read."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Damage, Store, refuse_changed
from dacapo_hd.stores.file_damage import find_damage
from dacapo_hd.stores.file_lease import FileLease
from dacapo_hd.stores.jsonl import Row, encode, last_row, read_bytes, read_lines, read_rows, truncated
from dacapo_hd.stores.layout import CHECKPOINTS, LEASE, RECORD, RENAMED, SCORES, STATS, lock_file, removed_folder
from dacapo_hd.stores.lease import Heartbeat, Lease, hold
from dacapo_hd.stores.records import StoredRun, encode_record, read_run
from dacapo_hd.stores.rows import CheckpointRow, RunRecord, ScoreRow, StatRow
from dacapo_hd.stores.writing import append_lines, cannot_read, cannot_write, locked, sync_folder, write_atomically

logger = logging.getLogger(__name__)


@attrs.frozen
class FileStore(Store):
    """A folder `NAME/` per run with `run.yaml`, `stats.jsonl`, `scores.jsonl`, `checkpoints.jsonl`, `checkpoints/`.

    Reading takes no lock and writes nothing. All that is written is whole, whenever a process is killed.
    """

    folder: Path = attrs.field(converter=Path)

    def __str__(self) -> str:
        return str(self.folder)

    def add_run(self, record: RunRecord) -> None:
        folder = self._place(record.name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        with locked(lock_file(folder)):
            if (folder / RECORD).exists():
                refuse_changed(read_run(folder).record, record)
            else:
                try:
                    write_atomically(folder / RECORD, encode_record(record))
                except UserError:
                    with suppress(OSError):
                        # if it was made for this run
                        folder.rmdir()
                    raise

    def run(self, name: str) -> RunRecord:
        return read_run(self._known(name)).record

    def runs(self) -> tuple[RunRecord, ...]:
        records = []
        for folder in self._folders():
            try:
                records.append(read_run(folder).record)
            except UserError as error:
                # it may have been removed or renamed since it was listed
                if (folder / RECORD).exists():
                    logger.warning("%s", error)
        return tuple(records)

    def names(self) -> tuple[str, ...]:
        return tuple(folder.name for folder in self._folders())

    def append_stats(self, name: str, rows: Sequence[StatRow]) -> None:
        with self._writing(name) as folder:
            append_lines(folder / STATS, encode(rows))

    def stats(self, name: str) -> list[StatRow]:
        return read_rows(self._known(name) / STATS, StatRow)

    def newest_iteration(self, name: str) -> int:
        # a run's statistics may be millions of lines, and the last one is that of the last iteration
        row = last_row(self._known(name) / STATS, StatRow)
        return super().newest_iteration(name) if row is None else row.iteration

    def write_scores(self, name: str, rows: Sequence[ScoreRow]) -> None:
        replaced = {(row.iteration, row.crop) for row in rows}
        with self._writing(name) as folder:
            kept = [row for row in self.scores(name) if (row.iteration, row.crop) not in replaced]
            write_atomically(folder / SCORES, encode([*kept, *rows]))

    def scores(
        self, name: str, *, iteration: int | None = None, crop: str | None = None, score: str | None = None
    ) -> list[ScoreRow]:
        folder = self._known(name)
        stored = read_run(folder)
        return [
            stored.adopt(row)
            for row in read_rows(folder / SCORES, ScoreRow)
            if iteration in (None, row.iteration) and crop in (None, row.crop) and score in (None, row.score)
        ]

    def add_checkpoint(self, name: str, row: CheckpointRow) -> None:
        self._change_checkpoints(name, lambda rows: [*(old for old in rows if old.iteration != row.iteration), row])

    def remove_checkpoints(self, name: str, iterations: Collection[int]) -> None:
        self._change_checkpoints(name, lambda rows: [row for row in rows if row.iteration not in iterations])

    def checkpoints(self, name: str) -> list[CheckpointRow]:
        path = self._known(name) / CHECKPOINTS
        rows = []
        for number, _, row in read_lines(path, CheckpointRow):
            if row is None:
                # the checkpoint before is as good; its file is found by `integrity`
                logger.warning("%s:%d: damaged line; that checkpoint is not used", path, number)
            else:
                rows.append(row)
        return sorted(rows, key=lambda row: row.iteration)

    def _change_checkpoints(self, name: str, change: Callable[[list[CheckpointRow]], Sequence[CheckpointRow]]) -> None:
        with self._writing(name) as folder:
            write_atomically(folder / CHECKPOINTS, encode(change(self.checkpoints(name))))

    def truncate(self, name: str, iteration: int) -> None:
        with self._writing(name) as folder:
            _truncate(folder / STATS, StatRow, iteration)
            _truncate(folder / SCORES, ScoreRow, iteration)
            _truncate(folder / CHECKPOINTS, CheckpointRow, iteration)

    def rename_run(self, name: str, record: RunRecord) -> None:
        target = self._place(record.name)
        with self._writing(name, record.name) as folder:
            if (target / RECORD).exists():
                raise UserError(f"{self}: there is a run {record.name!r} already; give another name")
            write_atomically(folder / RENAMED, encode_record(record))
            try:
                # from here on it has the new name; what is left is finished by whoever writes to it next
                folder.rename(target)
            except OSError as error:
                (folder / RENAMED).unlink(missing_ok=True)
                raise cannot_write(target, error) from error
            sync_folder(self.folder)
            _finish_renaming(target)

    def remove_run(self, name: str) -> None:
        with self._writing(name) as folder:
            removed = removed_folder(folder, uuid.uuid4().hex[:8])
            try:
                folder.rename(removed)
                sync_folder(self.folder)
                shutil.rmtree(removed)
            except OSError as error:
                left = f"; run {name!r} is removed but for {removed}" if removed.exists() else ""
                raise UserError(f"cannot remove {error.filename}: {error.strerror}{left}") from error

    def checkpoint_folder(self, name: str) -> Path:
        return self.folder / name / "checkpoints"

    def lock(self, name: str, heartbeat: Heartbeat | None = None) -> AbstractContextManager[Lease]:
        return hold(name, FileLease(self._known(name) / LEASE), heartbeat)

    def damage(self) -> Iterator[Damage]:
        return find_damage(self.folder)

    def _folders(self) -> list[Path]:
        """Return the folders that have a record, sorted by name."""
        try:
            folders = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot_read(self.folder, error) from error
        return sorted(path for path in folders if (path / RECORD).is_file())

    def _known(self, name: str) -> Path:
        """Return the folder of a run; raises UserError that names similar runs if there is none."""
        if self._is_name(name) and (self.folder / name / RECORD).is_file():
            return self.folder / name
        raise self._unknown(name, [path.name for path in self._folders()])

    def _place(self, name: str) -> Path:
        """Return where a run of a new name lies; raises UserError if that is elsewhere."""
        if not self._is_name(name):
            raise UserError(f"run {name!r}: not the name of a folder; give another name")
        return self.folder / name

    def _is_name(self, name: str) -> bool:
        return not name.startswith(".") and (self.folder / name).parent == self.folder

    @contextmanager
    def _writing(self, name: str, *others: str) -> Iterator[Path]:
        """Let nobody else write to a run for a short time; gives its folder."""
        self._known(name)
        with ExitStack() as locks:
            # in one order everywhere, so that no two processes wait for each other
            for each in sorted({name, *others}):
                locks.enter_context(locked(lock_file(self.folder / each)))
            # it may have been removed or renamed meanwhile
            folder = self._known(name)
            _finish_renaming(folder)
            yield folder


def _truncate(path: Path, kind: type[Row], iteration: int) -> None:
    data, damaged = truncated(path, kind, iteration)
    for number in damaged:
        logger.warning("%s:%d: damaged line; it is dropped", path, number)
    if data != read_bytes(path):
        write_atomically(path, data)


def _finish_renaming(folder: Path) -> None:
    """Write the new name of a run where the old one is still written."""
    if not (folder / RENAMED).exists():
        return
    stored = read_run(folder)
    if not stored.is_renamed:
        return
    # the lock of the old name
    shutil.rmtree(folder / LEASE, ignore_errors=True)
    _rename_scores(folder / SCORES, stored)
    try:
        (folder / RENAMED).replace(folder / RECORD)
    except OSError as error:
        raise cannot_write(folder / RECORD, error) from error
    sync_folder(folder)


def _rename_scores(path: Path, stored: StoredRun) -> None:
    lines = [line if row is None else encode([stored.adopt(row)]) for _, line, row in read_lines(path, ScoreRow)]
    if lines:
        write_atomically(path, b"".join(lines))
