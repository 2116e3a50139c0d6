"""What is settled before the first block, and kept until the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from dacapo_hd.blockwise import BlockGrid
from dacapo_hd.config import structure, unstructure
from dacapo_hd.segmentation.base import Segmenter


@attrs.frozen
class Decision:
    """What a command was resolved to: later checkpoints and scores must not change it, nor another `--memory`."""

    iteration: int
    segmenter: Segmenter
    trained: Mapping[str, Any]
    memory_bytes: float
    blocks: BlockGrid

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "iteration": self.iteration,
            "segmenter": unstructure(self.segmenter),
            "trained": dict(self.trained),
            "memory_bytes": self.memory_bytes,
            "blocks": self.blocks.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Undo `to_dict`."""
        segmenter = structure(data["segmenter"], Segmenter, source="stored segmenter")
        blocks = BlockGrid(**{name: tuple(value) for name, value in data["blocks"].items()})
        return cls(data["iteration"], segmenter, data["trained"], data["memory_bytes"], blocks)
