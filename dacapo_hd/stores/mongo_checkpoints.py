"""The list of checkpoints in MongoDB: one document each."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial
from typing import Any

import attrs
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from dacapo_hd.stores.mongo_connection import Connection, Document, Problem, integer
from dacapo_hd.stores.rows import CheckpointRow

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"


@attrs.frozen
class CheckpointList:
    """The checkpoints of the runs of one database."""

    connection: Connection

    def add(self, run_id: ObjectId, row: CheckpointRow) -> None:
        """List a checkpoint in the place of the one of the same iteration."""
        place = {"run_id": run_id, "iteration": row.iteration}
        replace = partial(self.connection.collection(CHECKPOINTS).replace_one, place, {**place, **attrs.asdict(row)})
        while True:
            try:
                self.connection.retry(partial(replace, upsert=True))
                return
            except DuplicateKeyError:
                # two processes added the first row of an iteration at once: now there is one to replace
                continue

    def read(self, run_id: ObjectId) -> tuple[list[CheckpointRow], list[Problem]]:
        """Return the rows by iteration, and which documents are damaged."""
        rows, problems = [], []
        for document in self.connection.find(CHECKPOINTS, {"run_id": run_id}, [("iteration", 1)]):
            try:
                rows.append(_decode(document))
            except ValueError as error:
                problems.append(Problem(f"{CHECKPOINTS}/{document['_id']}", f"damaged checkpoint row ({error})"))
        return rows, problems

    def remove(self, run_id: ObjectId, iterations: Collection[int]) -> None:
        """Take checkpoints off the list."""
        self._delete({"run_id": run_id, "iteration": {"$in": list(iterations)}})

    def truncate(self, run_id: ObjectId, iteration: int) -> None:
        """Drop rows of later iterations, and with a warning what is damaged."""
        rows, problems = self.read(run_id)
        for problem in problems:
            logger.warning("%s: %s: %s; it is dropped", self.connection, problem.place, problem.what)
        sound = [row.iteration for row in rows if row.iteration <= iteration]
        self._delete({"run_id": run_id, "iteration": {"$nin": sound}})

    def _delete(self, query: Document) -> None:
        self.connection.retry(partial(self.connection.collection(CHECKPOINTS).delete_many, query))


def _decode(document: Document) -> CheckpointRow:
    """Return the row of a document; raises ValueError that says what is wrong."""
    values: dict[str, Any] = {}
    for field in attrs.fields(CheckpointRow):
        value = document.get(field.name)
        if not isinstance(value, int if field.name in ("iteration", "bytes") else str):
            raise ValueError(f"`{field.name}` is {value!r}")
        values[field.name] = integer(value) if isinstance(value, int) else value
    return CheckpointRow(**values)
