"""A datasplit that lists its crops."""

from __future__ import annotations

import attrs

from dacapo_hd.config import ADDED_LATER
from dacapo_hd.datasplits.base import Datasplit, Part
from dacapo_hd.datasplits.crop import Crop


@attrs.frozen
class Crops(Datasplit):
    """Crops listed one by one."""

    train: tuple[Crop, ...]
    validate: tuple[Crop, ...] = ()
    test: tuple[Crop, ...] = attrs.field(default=(), metadata=ADDED_LATER)

    def crops(self, part: Part) -> tuple[Crop, ...]:
        return {"train": self.train, "validate": self.validate, "test": self.test}[part]

    def where(self, part: Part) -> str:
        return f"list at least one under `{part}`"
