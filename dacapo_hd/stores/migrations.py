"""Documents of runs that an older version has written, brought to the present schema when they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dacapo_hd.config import canonical_hash
from dacapo_hd.errors import UserError

SCHEMA = 3
"""1: no schema in the document, no checksums.
2: also `checkpoint_minutes` and `retention` of the trainer, and `provenance`.
3: also `foreground` of tasks that learn affinities; runs before it had none."""

Document = Mapping[str, Any]
LEARN_AFFINITIES = ("Affinities", "LatentMasks")


def upgrade(document: Document, where: str) -> dict[str, Any]:
    """Return a run's document in the present schema, which it names; UserError if it is of a newer version.

    `document` has the fields of a RunRecord, and `schema` if it is not 1. Raises ValueError that says what is wrong
    if it is damaged.
    """
    schema = document.get("schema", 1)
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ValueError(f"`schema` is {schema!r}")
    if schema > SCHEMA:
        raise UserError(
            f"{where}: written by a newer dacapo_hd (schema {schema}, this one knows {SCHEMA}); update this one"
        )
    upgraded = dict(document)
    for step in STEPS[schema - 1 :]:
        upgraded = step(upgraded)
    return {**upgraded, "schema": SCHEMA}


def hashes_fit(document: Document) -> bool:
    """Tell whether a document's hashes are those of its config."""
    try:
        return (document["config_hash"], document["group_hash"]) == _hashes(document["config"])
    except ValueError:
        # no config of ours has NaN or infinity
        return False


def _from_1_to_2(document: Document) -> dict[str, Any]:
    if not hashes_fit(document):
        raise ValueError("its hashes are not those of its config")
    config = dict(document["config"])
    added = {"checkpoint_minutes": 10.0, "retention": {"last": 2, "every": None, "best": True}}
    config["trainer"] = {**added, **config["trainer"]}
    config_hash, group_hash = _hashes(config)
    changed = {"config": config, "config_hash": config_hash, "group_hash": group_hash}
    return {"archived": "", "provenance": {}, **document, **changed}


def _from_2_to_3(document: Document) -> dict[str, Any]:
    config = dict(document["config"])
    task = config.get("task", {})
    if not hashes_fit(document) or task.get("type") not in LEARN_AFFINITIES or "foreground" in task:
        return dict(document)
    config["task"] = {**task, "foreground": False}
    config_hash, group_hash = _hashes(config)
    return {**document, "config": config, "config_hash": config_hash, "group_hash": group_hash}


def _hashes(config: Document) -> tuple[str, str]:
    return canonical_hash(config, without=("name",)), canonical_hash(config, without=("name", "seed"))


STEPS: tuple[Callable[[Document], dict[str, Any]], ...] = (_from_1_to_2, _from_2_to_3)
