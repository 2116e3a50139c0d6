"""The contract of a store, and the rows that it keeps."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.stores.lease import Heartbeat, Lease
from dacapo_hd.stores.rows import CheckpointRow, RunRecord, ScoreRow, StatRow


@attrs.frozen
class Damage:
    """Something wrong in a store: which run (empty for none), where, what, and what to do about it."""

    run: str
    where: str
    what: str
    advice: str


class DamageError(UserError):
    """Records or rows that cannot be read; what is wrong with each is in `damages`."""

    def __init__(self, *damages: Damage) -> None:
        super().__init__(*(f"{found.where}: {found.what}; {found.advice}" for found in damages))
        self.damages = damages


class Store(ABC):
    """Runs, statistics and scores; weights are files in every store."""

    @abstractmethod
    def add_run(self, record: RunRecord) -> None:
        """Store a run; nothing happens if it is there already, UserError with the differences if another one is."""

    @abstractmethod
    def runs(self) -> tuple[RunRecord, ...]:
        """Return all runs, sorted by name; those with a damaged record are left out with a warning."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the names of all runs, sorted; also of those with a damaged record."""

    @abstractmethod
    def append_stats(self, name: str, rows: Sequence[StatRow]) -> None:
        """Add statistics, all or none of them."""

    @abstractmethod
    def stats(self, name: str) -> list[StatRow]:
        """Return a run's statistics in the order in which they were added."""

    @abstractmethod
    def write_scores(self, name: str, rows: Sequence[ScoreRow]) -> None:
        """Add scores, all or none; they replace those of the same iterations and crops.

        A reader sees the old rows or the new ones, also while several processes write.
        """

    @abstractmethod
    def scores(
        self, name: str, *, iteration: int | None = None, crop: str | None = None, score: str | None = None
    ) -> list[ScoreRow]:
        """Return a run's scores, only those of an iteration, a crop or a score if one is named."""

    @abstractmethod
    def add_checkpoint(self, name: str, row: CheckpointRow) -> None:
        """List a checkpoint; it replaces the row of the same iteration."""

    @abstractmethod
    def remove_checkpoints(self, name: str, iterations: Collection[int]) -> None:
        """Take checkpoints off the list; their files are the caller's to remove, afterwards."""

    @abstractmethod
    def checkpoints(self, name: str) -> list[CheckpointRow]:
        """Return the listed checkpoints, by ascending iteration; a damaged row is left out with a warning."""

    @abstractmethod
    def truncate(self, name: str, iteration: int) -> None:
        """Forget statistics, scores and listed checkpoints of later iterations, which a resumed run makes again.

        Damaged rows are dropped with a warning that names them.
        """

    @abstractmethod
    def rename_run(self, name: str, record: RunRecord) -> None:
        """Give a run another record, with another name; its rows (also their `run`) and weights go along.

        Raises UserError if a run of the new name is there. A process that dies in between leaves the run under one
        of the two names, or one that `damage` finds.
        """

    @abstractmethod
    def remove_run(self, name: str) -> None:
        """Remove a run with its rows and weights; UserError for an unknown one."""

    @abstractmethod
    def checkpoint_folder(self, name: str) -> Path:
        """Return the folder of a run's weights."""

    @abstractmethod
    def lock(self, name: str, heartbeat: Heartbeat | None = None) -> AbstractContextManager[Lease]:
        """Hold a run for training; HeldError while another living process holds it.

        Whoever renames or removes a run holds it as well.
        """

    @abstractmethod
    def damage(self) -> Iterator[Damage]:
        """Yield records and rows that cannot be read, and what belongs to no run; the rest is `integrity`'s part."""

    def newest_iteration(self, name: str) -> int:
        """Return the last iteration that has statistics; 0 if there are none."""
        return max((row.iteration for row in self.stats(name)), default=0)

    def run(self, name: str) -> RunRecord:
        """Return one run; raises UserError that names similar ones."""
        records = {record.name: record for record in self.runs()}
        if name in records:
            return records[name]
        raise self._unknown(name, records)

    def _unknown(self, name: str, known: Collection[str]) -> UserError:
        """Word that there is no run of a name."""
        if not known:
            return UserError(f"no run {name!r}: {self} has no runs; train one with `dacapo-hd train FILE`")
        return UserError(f"no run {name!r} in {self}{suggestion(name, known)}; `dacapo-hd runs` lists them")


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the fields in which two configs differ, as `path: old -> new`."""
    return [f"{path}: {before} -> {after}" for path, before, after in _differences(old, new)]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    before, after = flatten(old), flatten(new)
    paths = [path for path in {**before, **after} if before.get(path, _ABSENT) != after.get(path, _ABSENT)]
    return [(path, repr(before.get(path, _ABSENT)), repr(after.get(path, _ABSENT))) for path in paths]


class _Absent:
    def __repr__(self) -> str:
        return "(none)"


_ABSENT = _Absent()


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested dicts and lists into `{"task.classes.0": value}`."""
    if isinstance(config, Mapping):
        items = [(str(key), value) for key, value in config.items()]
    elif isinstance(config, list | tuple):
        items = [(str(index), value) for index, value in enumerate(config)]
    else:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else key))
    return flat


def refuse_changed(old: RunRecord, new: RunRecord) -> None:
    """Raise UserError with the differences if two records of one name have different contents."""
    if old.config_hash == new.config_hash:
        return
    differences = _differences(old.config, new.config) or [("config_hash", old.config_hash, new.config_hash)]
    raise UserError(
        f"run {new.name!r} is stored with another config; give this one another `name:`, or archive the stored one "
        "with `--replace`:",
        *(f"  {path}: {stored} (stored), {given} (given)" for path, stored, given in differences),
    )


@cache
def git_sha() -> str:
    """Return the revision of the code that runs, or `unknown` outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # an installed package may lie in somebody else's repository
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10)
        found = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown" if tracked.returncode == 0 else "unknown"
