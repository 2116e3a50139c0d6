"""The record of a run as a YAML file with a checksum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

from dacapo_hd.stores.base import Damage, DamageError
from dacapo_hd.stores.jsonl import read_bytes
from dacapo_hd.stores.layout import RECORD, RENAMED
from dacapo_hd.stores.migrations import SCHEMA, upgrade
from dacapo_hd.stores.rows import RunRecord, ScoreRow

# the same rules, several times as fast
FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FastDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
BACKUP = "restore the file from a backup, or remove the folder"


@attrs.frozen
class StoredRun:
    """A run's record, and the document that is in its file: of an older schema, or of the name before a renaming."""

    record: RunRecord
    written: Mapping[str, Any]

    @property
    def is_renamed(self) -> bool:
        """Tell whether its folder has a new name, and nothing else yet."""
        return bool(self.written["name"] != self.record.name)

    def adopt(self, row: ScoreRow) -> ScoreRow:
        """Return a row with the present name and hashes of the run if it has those that were written."""
        record = self.record
        if row.run == self.written["name"] != record.name:
            row = attrs.evolve(row, run=record.name)
        if row.config_hash == self.written["config_hash"] != record.config_hash:
            row = attrs.evolve(row, config_hash=record.config_hash, group_hash=record.group_hash)
        return row


def encode_record(record: RunRecord) -> bytes:
    """Write a record; the last line is the SHA-256 of those before."""
    document = {"schema": SCHEMA, **attrs.asdict(record, recurse=False)}
    text = yaml.dump(document, Dumper=FastDumper, sort_keys=False)
    return f"{text}sha256: {hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def read_run(folder: Path) -> StoredRun:
    """Read the record in a run's folder, also of one that is just being renamed.

    Raises DamageError, and UserError for a record of a newer version.
    """
    path = folder / RECORD
    written, record = _read(path)
    if record.name != folder.name and (folder / RENAMED).is_file():
        path = folder / RENAMED
        _, record = _read(path)
    if record.name != folder.name:
        what = f"the record of run {record.name!r} lies in a folder of another name"
        raise DamageError(Damage(folder.name, str(path), what, f"name the folder {record.name!r} again"))
    return StoredRun(record, written)


def _read(path: Path) -> tuple[Mapping[str, Any], RunRecord]:
    data = read_bytes(path)
    try:
        document = _parse(data)
        upgraded = upgrade(document, str(path))
        del upgraded["schema"]
        return document, _plain(RunRecord(**upgraded))
    except (yaml.YAMLError, RecursionError):
        what = "is not YAML of plain values"
    except (KeyError, TypeError, AttributeError):
        what = "fields are missing or unknown"
    except ValueError as error:
        what = str(error)
    raise DamageError(Damage(path.parent.name, str(path), f"damaged run record ({what})", BACKUP))


def _parse(data: bytes) -> Mapping[str, Any]:
    """Read a document; those of schema 1 have no checksum."""
    found = re.fullmatch(rb"(.*\n)sha256: (\w*)\n", data, re.DOTALL)
    text, checksum = found.groups() if found else (data, None)
    if checksum is not None and checksum != hashlib.sha256(text).hexdigest().encode():
        raise ValueError("its checksum differs: it was edited, or the disk has failed")
    document = yaml.load(text, FastLoader if _is_shallow(text) else yaml.SafeLoader)
    if not isinstance(document, dict):
        raise TypeError
    if checksum is None and document.get("schema", 1) in range(2, SCHEMA + 1):
        raise ValueError("its end with the checksum is missing")
    return document


def _is_shallow(text: bytes, depth: int = 1000) -> bool:
    """Tell whether a document is surely not nested so deeply that the fast loader would crash the process."""
    return text.count(b"[") + text.count(b"{") < depth and max(map(len, text.split(b"\n"))) < depth


def _plain(record: RunRecord) -> RunRecord:
    """Return a record if its fields have the right types; raises TypeError."""
    values = attrs.asdict(record, recurse=False)
    expected = {"config": dict, "seed": int, "provenance": dict}
    if any(type(value) is not expected.get(field, str) for field, value in values.items()):
        raise TypeError
    return record
