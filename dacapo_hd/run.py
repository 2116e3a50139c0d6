"""A run: everything that decides the outcome of a training, in one object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.config import ADDED_LATER, canonical_hash
from dacapo_hd.config.structuring import load_data, structure
from dacapo_hd.datasplits.base import Datasplit
from dacapo_hd.tasks.base import Task
from dacapo_hd.training.start import Start
from dacapo_hd.training.trainer import Trainer


def _file_name(instance: Any, attribute: attrs.Attribute[str], value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", value):
        raise ValueError(f"must be letters, digits, '.', '_' and '-', not beginning with '.' or '-', got {value!r}")


@attrs.frozen(kw_only=True)
class Run:
    """What to predict, with which network, from which data, trained how; `start`: with the weights of another run."""

    name: str = attrs.field(validator=_file_name)
    task: Task
    architecture: Architecture
    datasplit: Datasplit
    trainer: Trainer
    seed: int = 0
    start: Start | None = attrs.field(default=None, metadata=ADDED_LATER)

    @start.validator
    def _another_run(self, attribute: attrs.Attribute[Any], value: Start | None) -> None:
        if value is None and self.task.frozen:
            raise ValueError("`start` must name a run that has learnt what the task takes as frozen")
        if value is not None and value.run_for(self.seed) == self.name:
            raise ValueError(f"must name another run, got {value.run!r} in the run of that name")

    @property
    def config_hash(self) -> str:
        """16 hex digits that are equal for runs with the same content, whatever their name."""
        return canonical_hash(self, without=("name",))

    @property
    def group_hash(self) -> str:
        """16 hex digits that are equal for runs which differ in nothing but the seed and the name."""
        return canonical_hash(self, without=("name", "seed"))


def load_run(path: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Read a run file; its name is the file's unless it gives one. ConfigError with all problems."""
    data = load_data(path)
    if isinstance(data, Mapping):
        data = {"name": Path(path).stem, **data}
    return structure(data, Run, str(path), overrides, from_file=True)
