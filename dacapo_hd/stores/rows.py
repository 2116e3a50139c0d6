"""What a store keeps: runs, and rows of statistics, scores and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class RunRecord:
    """A run as stored: its resolved config and what identifies it; `archived` is when another run took its name.

    `provenance` says where and how its training began (`provenance.py`); it identifies nothing.
    """

    name: str
    config: Mapping[str, Any]
    config_hash: str
    group_hash: str
    seed: int
    created: str
    git_sha: str
    archived: str = ""
    provenance: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class StatRow:
    """One value of one iteration of training: a loss part, the learning rate, ..."""

    iteration: int
    name: str
    value: float
    seconds: float


@attrs.frozen
class ScoreRow:
    """One score of one class of one crop; `segmenter` is the canonical JSON of its config.

    `part` is that of the datasplit: what is best is chosen on `validate`; `test` is only reported.
    """

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
    part: str = "validate"


@attrs.frozen
class CheckpointRow:
    """A checkpoint that the store lists; its file in `Store.checkpoint_folder` must have this SHA-256 and size."""

    iteration: int
    sha256: str
    bytes: int
    created: str
