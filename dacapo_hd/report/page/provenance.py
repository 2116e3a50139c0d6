"""Where runs come from: code, packages, hardware and command, each environment once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dacapo_hd.stores.rows import RunRecord

SECTIONS = ("task", "architecture", "datasplit", "trainer")
ENVIRONMENT = ("python", "platform", "packages", "hardware")


def environments(records: Sequence[RunRecord]) -> tuple[list[dict[str, Any]], list[int | None]]:
    """Return the distinct environments, and which one each run has; None for runs of which none is known."""
    found: list[dict[str, Any]] = []
    places: list[int | None] = []
    for record in records:
        own = {key: record.provenance[key] for key in ENVIRONMENT if key in record.provenance}
        if own and own not in found:
            found.append(own)
        places.append(found.index(own) if own else None)
    return found, places


def configs(records: Sequence[RunRecord]) -> tuple[list[str], list[dict[str, int]]]:
    """Return the distinct parts of the configs as YAML, and for each run which text is its task, architecture, ..."""
    texts: dict[str, int] = {}
    places = []
    for record in records:
        parts: Mapping[str, Any] = record.config
        places.append(
            {name: texts.setdefault(_yaml(parts[name]), len(texts)) for name in SECTIONS if parts.get(name) is not None}
        )
    return list(texts), places


def _yaml(part: Any) -> str:
    return yaml.safe_dump(part, sort_keys=False, allow_unicode=True, width=100)
