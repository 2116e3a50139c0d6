"""Looking for documents that are damaged, or belong to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Damage, DamageError
from dacapo_hd.stores.migrations import hashes_fit
from dacapo_hd.stores.mongo_checkpoints import CheckpointList
from dacapo_hd.stores.mongo_connection import Connection, Document
from dacapo_hd.stores.mongo_runs import REFERENCES, RUNS, Runs
from dacapo_hd.stores.mongo_scores import Scores
from dacapo_hd.stores.mongo_stats import Statistics

TRAIN_AGAIN = "`dacapo-hd train {run}` drops it and goes on"
VALIDATE_AGAIN = "`dacapo-hd validate {run} --iteration N` makes it again"


def find_damage(connection: Connection, runs: Runs) -> Iterator[Damage]:
    """Yield what is wrong in a database, run by run, and then what belongs to no run."""
    # a run is there before anything refers to it: what is read before the runs cannot be newer than they are
    referring = {
        name: connection.retry(partial(connection.collection(name).distinct, key)) for name, key in REFERENCES.items()
    }
    documents = connection.find(RUNS, {})
    for document in sorted(documents, key=lambda document: str(document.get("name"))):
        yield from _of_run(connection, runs, document)
    known = {document["_id"] for document in documents}
    for collection, ids in referring.items():
        for orphan in (found for found in ids if found not in known):
            what = f"orphan rows: they belong to a run {orphan} that is not there"
            query = f"{{{REFERENCES[collection]}: ObjectId('{orphan}')}}"
            remove = f"remove them in mongosh with db.{collection}.deleteMany({query})"
            yield Damage("", f"{connection}: {collection}", what, remove)


def _of_run(connection: Connection, runs: Runs, document: Document) -> Iterator[Damage]:
    name, run_id = str(document.get("name")), document["_id"]
    if "removing" in document:
        what = "half removed: the process that did it was interrupted, or is at work"
        yield Damage(name, f"{connection}: {RUNS}/{run_id}", what, f"finish it with `dacapo-hd runs rm {name}`")
        return
    try:
        if not hashes_fit(runs.read(document).written):
            what = "the hashes in the record are not those of its config"
            yield Damage(name, f"{connection}: {RUNS}/{run_id}", what, "restore the database from a backup")
    except DamageError as error:
        yield from error.damages
    except UserError as error:
        yield Damage(name, f"{connection}: {RUNS}/{run_id}", str(error), "open the store with that version")
    scores = Scores(connection)
    try:
        orphans, damaged = scores.orphans(run_id), scores.read(run_id)[1]
    except DamageError as error:
        orphans, damaged = [], []
        yield from (attrs.evolve(damage, run=name) for damage in error.damages)
    for problem in (*Statistics(connection).damage(run_id), *CheckpointList(connection).read(run_id)[1], *orphans):
        yield problem.damage(connection, name, TRAIN_AGAIN)
    for problem in damaged:
        yield problem.damage(connection, name, VALIDATE_AGAIN)
