"""The contract of a store, and the rows that it keeps."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.errors import UserError, suggestion


@attrs.frozen
class RunRecord:
    """A run as stored: its resolved config and what identifies it."""

    name: str
    config: Mapping[str, Any]
    config_hash: str
    group_hash: str
    seed: int
    created: str
    git_sha: str


@attrs.frozen
class StatRow:
    """One value of one iteration of training: a loss part, the learning rate, ..."""

    iteration: int
    name: str
    value: float
    seconds: float


@attrs.frozen
class ScoreRow:
    """One score of one class of one validation crop; `segmenter` is the canonical JSON of its config."""

    run: str
    config_hash: str
    group_hash: str
    seed: int
    iteration: int
    crop: str
    segmenter: str
    class_name: str
    score: str
    value: float
    git_sha: str


class Store(ABC):
    """Runs, statistics and scores; weights are files in every store."""

    @abstractmethod
    def add_run(self, record: RunRecord) -> None:
        """Store a run; nothing happens if it is there already, UserError with the differences if another one is."""

    @abstractmethod
    def runs(self) -> tuple[RunRecord, ...]:
        """Return all runs, sorted by name."""

    @abstractmethod
    def append_stats(self, name: str, rows: Sequence[StatRow]) -> None:
        """Add statistics, all or none of them."""

    @abstractmethod
    def stats(self, name: str) -> list[StatRow]:
        """Return a run's statistics in the order in which they were added."""

    @abstractmethod
    def write_scores(self, name: str, rows: Sequence[ScoreRow]) -> None:
        """Add scores, all or none; they replace those of the same iterations and crops."""

    @abstractmethod
    def scores(self, name: str) -> list[ScoreRow]:
        """Return a run's scores."""

    @abstractmethod
    def truncate(self, name: str, iteration: int) -> None:
        """Forget statistics and scores of later iterations, which a resumed run makes again."""

    @abstractmethod
    def checkpoint_folder(self, name: str) -> Path:
        """Return the folder of a run's weights."""

    @abstractmethod
    def lock(self, name: str) -> AbstractContextManager[Any]:
        """Hold a run for training; UserError while another process holds it."""

    def run(self, name: str) -> RunRecord:
        """Return one run; raises UserError that names similar ones."""
        records = {record.name: record for record in self.runs()}
        if name in records:
            return records[name]
        if not records:
            raise UserError(f"no run {name!r}: {self} has no runs; train one with `dacapo-hd train FILE`")
        raise UserError(f"no run {name!r} in {self}{suggestion(name, records)}; `dacapo-hd runs` lists them")


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the fields in which two configs differ, as `path: old -> new`."""
    before, after = flatten(old), flatten(new)
    paths = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    return [f"{path}: {before.get(path, '(none)')!r} -> {after.get(path, '(none)')!r}" for path in paths]


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
    """Raise UserError if two records of one name have different contents."""
    if old.config_hash == new.config_hash:
        return
    differences = config_differences(old.config, new.config)
    raise UserError(
        f"run {new.name!r} is stored with another config ({'; '.join(differences)}); give this one another `name:`"
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
