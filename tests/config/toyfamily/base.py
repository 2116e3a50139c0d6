"""Two families of components and the sections around them, shaped like a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import attrs

from dacapo_hd.config import Component, each_positive, fraction, non_empty, optional, positive


class ToyTask(Component, ABC):
    kind: ClassVar[str] = "task"

    @abstractmethod
    def answer(self) -> int: ...


@attrs.frozen(kw_only=True)
class Loop(Component):
    """A root that is concrete itself."""

    kind: ClassVar[str] = "trainer"

    iterations: int = attrs.field(default=100, validator=positive)
    learning_rate: float = attrs.field(default=1e-3, validator=positive)
    amp: bool = False


class Net(Component):
    kind: ClassVar[str] = "architecture"
    default_type: ClassVar[str] = "ToyUNet"


@attrs.frozen
class Place:
    """Has its own way with strings."""

    path: str = attrs.field(validator=non_empty)
    level: str | None = None

    @classmethod
    def from_string(cls, text: str) -> Place:
        return cls(text)


@attrs.frozen(kw_only=True)
class ToyCrop:
    raw: Place
    weight: float = attrs.field(default=1.0, validator=positive)
    annotations: Mapping[str, float] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ToyData:
    train: tuple[ToyCrop, ...] = ()
    voxel_size_nm: tuple[float, float, float] = attrs.field(default=(8.0, 8.0, 8.0), validator=each_positive)


@attrs.frozen(kw_only=True)
class Experiment:
    task: ToyTask
    architecture: Net
    datasplit: ToyData = ToyData()
    trainer: Loop = Loop()
    others: tuple[ToyTask, ...] = ()
    mode: Literal["exact", "interval"] = "exact"
    output: Path | None = None
    share: float | None = attrs.field(default=None, validator=optional(fraction))
    factor: int | tuple[int, ...] = 2
