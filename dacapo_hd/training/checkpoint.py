"""Checkpoints: listed by the store, whole or not at all, verified when read, and never executed."""

from __future__ import annotations

import datetime
import hashlib
import io
import logging
import pickle
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.rows import CheckpointRow
from dacapo_hd.stores.weights import (
    checkpoint_file,
    difference,
    is_newer,
    listed_checkpoints,
    partial_file,
    side_file,
    write_chunks,
)
from dacapo_hd.stores.writing import cannot_write, sync_folder
from dacapo_hd.training.retention import Retention

logger = logging.getLogger(__name__)


class _DamagedError(Exception):
    """A listed checkpoint cannot be used; the message says which file and why."""


@attrs.frozen
class Checkpoints:
    """The checkpoints of a run: files `ITERATION.pt` that the store lists with SHA-256 and size.

    Reading never writes, so that anybody may do it at any time. `resume`, `save` and `prune` are for the process that
    holds the run.
    """

    store: Store
    name: str

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.store.checkpoint_folder(self.name)

    def path(self, iteration: int) -> Path:
        """Return where an iteration's file lies, or would lie."""
        return checkpoint_file(self.folder, iteration)

    def iterations(self) -> tuple[int, ...]:
        """Return the listed iterations, ascending."""
        return tuple(row.iteration for row in listed_checkpoints(self.store, self.name))

    def load(self, iteration: int) -> dict[str, Any]:
        """Read one checkpoint onto the CPU; raises UserError naming the file if it is missing or damaged."""
        rows = {row.iteration: row for row in listed_checkpoints(self.store, self.name)}
        have = ", ".join(str(other) for other in rows if other != iteration) or "none"
        if iteration not in rows:
            raise UserError(f"{self.path(iteration)}: no checkpoint of iteration {iteration}; there are: {have}")
        try:
            return self._load(rows[iteration])
        except _DamagedError as error:
            raise UserError(f"{error}; other checkpoints: {have}") from None

    def load_latest(self) -> tuple[int, dict[str, Any]] | None:
        """Read the newest sound checkpoint, warning of damaged newer ones by name; None if there is none at all.

        Raises UserError if there were some and none is sound.
        """
        found, problems = self._newest_sound()
        for problem in problems.values():
            logger.warning("%s; iteration %d is used instead", problem, found[0] if found else 0)
        return found

    def resume(self) -> tuple[int, dict[str, Any]] | None:
        """Do as `load_latest`, and finish or clear away what a crash has left; damaged files are kept as `.damaged`.

        Those that are listed of later iterations are for `Store.truncate`.
        """
        found, problems = self._newest_sound()
        with _worded(self.folder):
            self._adopt()
            self._finish_renames()
            kept = {iteration: self._put_aside(iteration) for iteration in problems}
        if found is not None:
            problems |= self._unlisted(max(self.iterations()))
            for iteration, problem in sorted(problems.items()):
                logger.warning("%s; iteration %d is used instead%s", problem, found[0], kept.get(iteration, ""))
        return found

    def save(self, iteration: int, state: Mapping[str, Any]) -> Path:
        """Write a state (tensors and plain values) and list it; UserError, all else unharmed, when that fails."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        path, partial = self.path(iteration), partial_file(self.folder, iteration)
        size, sha256 = write_chunks(partial, [buffer.getvalue()])
        sync_folder(self.folder)
        # listed before it has its name: a crash in between leaves a partial file that the list vouches for
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.store.add_checkpoint(self.name, CheckpointRow(iteration, sha256, size, now))
        with _worded(path):
            partial.replace(path)
        sync_folder(self.folder)
        return path

    def prune(self, retention: Retention, best: Collection[int]) -> tuple[int, ...]:
        """Remove what the retention does not keep, and return it; what has another size than listed is not sound."""
        rows = listed_checkpoints(self.store, self.name)
        iterations = [row.iteration for row in rows]
        kept = retention.kept(iterations, [row.iteration for row in rows if self._has_size(row)], best)
        removed = tuple(iteration for iteration in iterations if iteration not in kept)
        if removed:
            # the list first, which schema 1 kept in files, so that whatever is listed has its file
            self.store.remove_checkpoints(self.name, removed)
            for iteration in removed:
                for path in (side_file(self.folder, iteration), self.path(iteration)):
                    with _worded(path):
                        path.unlink(missing_ok=True)
        return removed

    def _newest_sound(self) -> tuple[tuple[int, dict[str, Any]] | None, dict[int, str]]:
        """Find the newest sound checkpoint and what is wrong with the newer ones."""
        problems: dict[int, str] = {}
        for row in reversed(listed_checkpoints(self.store, self.name)):
            try:
                return (row.iteration, self._load(row)), problems
            except _DamagedError as error:
                problems[row.iteration] = str(error)
        lost = {**problems, **self._unlisted(max(problems, default=-1))}
        if lost:
            raise UserError(
                *lost.values(),
                f"run {self.name!r} has no sound checkpoint; restore one, or remove the run with `dacapo-hd runs rm "
                f"{self.name}` to train it from the start",
            )
        return None, {}

    def _unlisted(self, newest: int) -> dict[int, str]:
        """Say which files are newer than the newest that is listed: then the list has lost them."""
        paths = [path for path in self.folder.glob("*.pt") if path.stem.isdigit() and is_newer(path, newest)]
        return {int(path.stem): f"{path}: not listed as a checkpoint in {self.store}" for path in paths}

    def _load(self, row: CheckpointRow) -> dict[str, Any]:
        data, path = self._read(row), self.path(row.iteration)
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            reason = "not a checkpoint of weights alone; refused, because it could run code"
            raise _DamagedError(f"{path}: {reason}") from None
        except Exception as error:
            # what was listed was never a checkpoint: torch raises almost anything
            raise _DamagedError(f"{path}: not a checkpoint ({type(error).__name__})") from None
        if "network" not in state:
            raise _DamagedError(f"{path}: not a checkpoint (no network in it)")
        expected = self.store.run(self.name).config_hash
        # those of schema 1 do not say it
        if state.get("config_hash", expected) != expected:
            raise UserError(
                f"{path}: belongs to another config ({state['config_hash']}) than run {self.name!r} ({expected}); "
                "put the file back where it came from"
            )
        return state

    def _read(self, row: CheckpointRow) -> bytes:
        path, partial = self.path(row.iteration), partial_file(self.folder, row.iteration)
        reason = "missing checkpoint"
        # the first again at the end: the trainer may give the partial file its name in between
        for candidate in (path, partial, path):
            try:
                data = candidate.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                reason = f"unreadable checkpoint: {error.strerror}"
                continue
            wrong = difference(row, len(data), hashlib.sha256(data).hexdigest())
            if not wrong:
                return data
            if candidate == path:
                reason = f"damaged checkpoint: {wrong}"
        raise _DamagedError(f"{path}: {reason}")

    def _has_size(self, row: CheckpointRow) -> bool:
        try:
            return self.path(row.iteration).stat().st_size == row.bytes
        except OSError:
            return False

    def _adopt(self) -> None:
        """List in the store what schema 1 has listed in files beside the weights."""
        sides = list(self.folder.glob("*.sha256"))
        if sides:
            for row in listed_checkpoints(self.store, self.name):
                self.store.add_checkpoint(self.name, row)
        for side in sides:
            side.unlink()

    def _finish_renames(self) -> None:
        """Give the partial files that the list vouches for their names, and remove the others."""
        rows = {partial_file(self.folder, row.iteration): row for row in self.store.checkpoints(self.name)}
        for partial in self.folder.glob(".*.pt.partial"):
            row = rows.get(partial)
            if row is not None and hashlib.sha256(partial.read_bytes()).hexdigest() == row.sha256:
                partial.replace(self.path(row.iteration))
            else:
                partial.unlink()

    def _put_aside(self, iteration: int) -> str:
        path = self.path(iteration)
        if not path.exists():
            return ""
        path.replace(path.with_name(f"{path.name}.damaged"))
        return f", the file is kept as {path.name}.damaged"


@contextmanager
def _worded(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
