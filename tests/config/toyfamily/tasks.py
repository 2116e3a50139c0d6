from __future__ import annotations

import attrs

from dacapo_hd.config import non_empty, positive
from toyfamily.base import Loop, Net, ToyTask


@attrs.frozen(kw_only=True)
class Distance(ToyTask):
    classes: tuple[str, ...] = attrs.field(validator=non_empty)
    scale_nm: float = attrs.field(default=80.0, validator=positive)

    def answer(self) -> int:
        return len(self.classes)


@attrs.frozen(kw_only=True)
class HotDistance(Distance):
    distance_weight: float = 1.0

    def __attrs_post_init__(self) -> None:
        if self.distance_weight > self.scale_nm:
            raise ValueError("distance_weight must not exceed scale_nm")


@attrs.frozen
class _Hidden(ToyTask):
    def answer(self) -> int:
        return 0


class Half(ToyTask):
    """Abstract and not attrs: no built-in."""


@attrs.frozen(kw_only=True)
class ToyUNet(Net):
    num_fmaps: int = attrs.field(default=12, validator=positive)
    factors: list[tuple[int, ...]] = attrs.field(factory=lambda: [(2, 2, 2)])


@attrs.frozen(kw_only=True)
class Nested(ToyTask):
    """A task around a task."""

    inner: ToyTask

    def answer(self) -> int:
        return 1 + self.inner.answer()


@attrs.frozen(kw_only=True)
class Fussy(Loop):
    """Its validators fail in ways that validators should not."""

    low: int = attrs.field(default=0, validator=positive)
    high: int = attrs.field()

    @high.validator
    def _above_low(self, attribute: attrs.Attribute[int], value: int) -> None:
        if value <= self.low:
            raise TypeError(f"must be above low = {self.low}, got {value}")
