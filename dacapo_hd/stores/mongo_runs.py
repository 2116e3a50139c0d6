"""Records of runs in MongoDB."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import attrs
from bson import ObjectId
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Damage, DamageError, refuse_changed
from dacapo_hd.stores.migrations import SCHEMA, upgrade
from dacapo_hd.stores.mongo_batches import BATCHES, BY_ITERATION, BY_SEQUENCE
from dacapo_hd.stores.mongo_checkpoints import CHECKPOINTS
from dacapo_hd.stores.mongo_connection import Connection, Document, storable
from dacapo_hd.stores.mongo_lease import LOCKS
from dacapo_hd.stores.mongo_scores import BY_ID, BY_NAME, SCORES
from dacapo_hd.stores.mongo_stats import BY_ORDER, STATS
from dacapo_hd.stores.mongo_weights import WeightsFolder
from dacapo_hd.stores.records import StoredRun
from dacapo_hd.stores.rows import RunRecord

RUNS = "runs"
AS_TEXT = ("config", "provenance")
"""The fields of a document cannot have every name, nor can its integers be as large as those of JSON."""
PRESENT = {"removing": {"$exists": False}}
INDEXES = {
    RUNS: [IndexModel([("name", 1)], unique=True)],
    STATS: [IndexModel(BY_ORDER, unique=True)],
    SCORES: [IndexModel(BY_NAME), IndexModel(BY_ID)],
    BATCHES: [IndexModel(BY_SEQUENCE, unique=True), IndexModel(BY_ITERATION)],
    CHECKPOINTS: [IndexModel([("run_id", 1), ("iteration", 1)], unique=True)],
}
REFERENCES = {STATS: "run_id", BATCHES: "run_id", SCORES: "run_id", CHECKPOINTS: "run_id", LOCKS: "_id"}
"""Which field of which collection refers to runs; what is read first is removed first."""


@attrs.frozen
class Runs:
    """One document per run. All else refers to its `_id`, so that a run gets another name in one atomic update.

    Where `removing` is set, a removal has begun and the run is there no more.
    """

    connection: Connection
    weights: WeightsFolder

    def find(self, name: str) -> Document | None:
        """Return the document of a run."""
        found = self.connection.find(RUNS, {"name": name})
        return found[0] if found else None

    def documents(self) -> list[Document]:
        """Return the documents of all runs, sorted by name."""
        return self.connection.find(RUNS, PRESENT, [("name", 1)])

    def names(self) -> tuple[str, ...]:
        """Return the names of all runs, sorted."""
        found = self.connection.find(RUNS, {**PRESENT, "name": {"$type": "string"}}, [("name", 1)], projection=["name"])
        return tuple(document["name"] for document in found)

    def read(self, document: Document) -> StoredRun:
        """Read a run; raises DamageError, and UserError for one of a newer version."""
        where = f"{self.connection}: {RUNS}/{document['_id']}"
        try:
            written = {key: value for key, value in document.items() if key not in ("_id", "folder", "removing")}
            written |= {field: json.loads(document[field]) for field in AS_TEXT}
            written["seed"] = int(document["seed"])
            upgraded = upgrade(written, where)
            del upgraded["schema"]
            return StoredRun(_checked(RunRecord(**upgraded)), written)
        except (KeyError, TypeError, AttributeError):
            what = "fields are missing or unknown, or of another type"
        except ValueError as error:
            what = str(error)
        name, advice = str(document.get("name")), "restore the database from a backup, or remove this document"
        raise DamageError(Damage(name, where, f"damaged run record ({what})", advice))

    def add(self, record: RunRecord) -> None:
        """Store a run; nothing happens if it is there already, UserError with the differences if another one is."""
        while True:
            found = self.find(record.name)
            if found is None:
                if self._try_to_add(record):
                    return
            elif "removing" in found:
                self.remove(found)
            else:
                refuse_changed(self.read(found).record, record)
                return

    def _try_to_add(self, record: RunRecord) -> bool:
        self._prepare()
        folder = self.weights.claim(record.name)
        document = {"_id": ObjectId(), **_encode(record), "folder": folder.name}
        try:
            self.connection.insert(RUNS, [document])
        except DuplicateKeyError:
            folder.rmdir()
            return False
        return True

    def rename(self, document: Document, record: RunRecord) -> None:
        """Give a run another record in one atomic update."""
        run_id, taken = document["_id"], f"{self.connection}: there is a run {record.name!r} already; give another name"
        if document["name"] == record.name:
            raise UserError(taken)
        update = partial(self.connection.collection(RUNS).update_one, {"_id": run_id}, {"$set": _encode(record)})
        try:
            self.connection.retry(update)
        except DuplicateKeyError:
            raise UserError(taken) from None
        # for people who query scores by the name; this store goes by the id
        change = {"$set": {"run": record.name}}
        self.connection.retry(partial(self.connection.collection(SCORES).update_many, {"run_id": run_id}, change))

    def remove(self, document: Document) -> None:
        """Remove a run with its weights and rows, its document last; a removal that was interrupted is finished."""
        run = {"_id": document["_id"]}
        runs, folder = self.connection.collection(RUNS), self.weights.of(document)
        self.connection.retry(partial(runs.update_one, run, {"$set": {"removing": True}}))
        _remove_folder(folder)
        for name, key in REFERENCES.items():
            self.connection.retry(partial(self.connection.collection(name).delete_many, {key: document["_id"]}))
        self.connection.retry(partial(runs.delete_one, run))

    def _prepare(self) -> None:
        """Make the indexes and record the folder of the weights, unless that is done."""
        anything = self.connection.find(RUNS, {}, limit=1)
        if self.weights.meta() is not None:
            return
        if anything:
            raise UserError(
                f"{self.connection}: another program keeps its runs in this database; give a database of another name"
            )
        for name, indexes in INDEXES.items():
            self.connection.retry(partial(self.connection.collection(name).create_indexes, indexes))
        self.weights.record()


def _remove_folder(folder: Path) -> None:
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            # another process removes it as well
            continue
        except OSError as error:
            raise UserError(
                f"cannot remove {error.filename}: {error.strerror}; allow it, then remove the run again"
            ) from error


def _encode(record: RunRecord) -> Document:
    texts = {field: json.dumps(dict(getattr(record, field))) for field in AS_TEXT}
    fields = attrs.asdict(record, recurse=False)
    return {**fields, **texts, "schema": SCHEMA, "seed": storable(record.seed)}


def _checked(record: RunRecord) -> RunRecord:
    """Return a record if its fields have the right types; raises TypeError."""
    types = {"config": dict, "seed": int, "provenance": dict}
    if any(not isinstance(getattr(record, f.name), types.get(f.name, str)) for f in attrs.fields(RunRecord)):
        raise TypeError
    return record
