"""What a store keeps: runs, and rows of statistics, scores and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from dacapo_hd.evaluation.segments import SegmentTable, read_segments


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

    `part` is that of the datasplit: what is best is chosen on `validate`; `test` is only reported. `segments` are those
    that the score ranks, in the rows of one score and of an iteration's best segmenter.
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
    segments: SegmentTable | None = attrs.field(default=None, converter=read_segments)


def to_document(row: StatRow | ScoreRow | CheckpointRow) -> dict[str, Any]:
    """Return a row as plain data, which names segments only where there are some."""
    document = attrs.asdict(row, recurse=False)
    segments = document.pop("segments", None)
    return document if segments is None else {**document, "segments": segments.to_dict()}


@attrs.frozen
class CheckpointRow:
    """A checkpoint that the store lists; its file in `Store.checkpoint_folder` must have this SHA-256 and size."""

    iteration: int
    sha256: str
    bytes: int
    created: str
