"""What is kept of work on blocks, so that the same command finishes what an interrupted one has begun."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import filelock
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.blockwise.grid import Block, BlockGrid
from dacapo_hd.blockwise.work import BlockWork
from dacapo_hd.config import canonical_hash
from dacapo_hd.errors import UserError

# where daisy keeps the done blocks of one session: a Zarr 3 array of one chunk without compression
TRACKED = "tracking/done/c/0/0/0"


@attrs.frozen(eq=False)
class Record:
    """The folder of one kind of work: identity, done blocks, errors and logs; a context manager that locks it."""

    folder: Path
    grid: BlockGrid
    lock: filelock.BaseFileLock | None = attrs.field(default=None, repr=False)

    @classmethod
    def prepare(cls, folder: Path, work: BlockWork, grid: BlockGrid, fresh: bool) -> Record:
        """Lock the folder and check that it belongs to this work; UserError if not, or when another process has it.

        `fresh` forgets what was done before.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{folder}: another process works here; wait for it, or stop it") from None
        record = cls(folder, grid, lock)
        try:
            record._identify(json.loads(json.dumps({"work": work.identity(), "grid": grid.to_dict()})), fresh)
        except BaseException:
            lock.release()
            raise
        return record

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *raised: object) -> None:
        if self.lock is not None:
            self.lock.release()

    def done(self) -> NDArray[np.uint8]:
        """Return one number per block, 1 where it is done; what is written to it stays, also after a SIGKILL."""
        return np.memmap(self.folder / "done", np.uint8, "r+", shape=(len(self.grid),))

    def session(self) -> Path:
        """Return a new folder for what the processes of one session share."""
        return Path(tempfile.mkdtemp(prefix="session-", dir=self.folder))

    def collect(self) -> None:
        """Take over what the sessions before have done, and remove them."""
        for session in self.folder.glob("session-*"):
            tracked = session / TRACKED
            if tracked.exists() and tracked.stat().st_size == len(self.grid):
                done = self.done()
                np.maximum(done, np.fromfile(tracked, np.uint8), out=done)
            shutil.rmtree(session, ignore_errors=True)

    def remaining(self) -> Iterator[Block]:
        """Yield the blocks that are not done."""
        return (self.grid.numbered(int(number)) for number in np.flatnonzero(self.done() == 0))

    def error_file(self, number: int) -> Path:
        return self.folder / "errors" / f"block-{number}.txt"

    def failed_before(self) -> frozenset[int]:
        """Return the numbers of blocks with an error file."""
        files = (self.folder / "errors").glob("block-*.txt")
        return frozenset(int(file.stem.removeprefix("block-")) for file in files)

    def write_error(self, number: int, text: str) -> None:
        path = self.error_file(number)
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(text)
        part.replace(path)

    def forget_errors(self) -> None:
        """Remove the errors of blocks that are done by now."""
        done = self.done()
        for number in self.failed_before():
            if done[number]:
                self.error_file(number).unlink(missing_ok=True)

    def _identify(self, identity: dict[str, Any], fresh: bool) -> None:
        path = self.folder / "identity.json"
        if fresh:
            self._empty()
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            found = None
        except ValueError:
            raise UserError(f"{path} is damaged; give --overwrite to begin anew") from None
        if found is None:
            self._empty()
            with (self.folder / "done").open("wb") as file:
                file.truncate(len(self.grid))
            part = path.with_suffix(".part")
            part.write_text(json.dumps(identity, indent=1))
            part.replace(path)
        elif canonical_hash(found) != canonical_hash(identity):
            raise UserError(
                f"{self.folder} was begun with other settings: {_difference(found, identity)}; repeat the command "
                "that began it, or give --overwrite to begin anew"
            )

    def _empty(self) -> None:
        for entry in self.folder.iterdir():
            if entry.name == "lock":
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Name the settings that differ, with what they were and are."""
    before, now = dict(_flat(found)), dict(_flat(wanted))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return ", ".join(f"{key} was {_shown(before.get(key))}, is {_shown(now.get(key))}" for key in keys[:3])


def _flat(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(data, dict) or not data:
        yield path.removeprefix("work."), data
        return
    for key, value in data.items():
        yield from _flat(value, f"{path}.{key}" if path else str(key))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
