"""Statistics in MongoDB: one document per append, so that an append is there or not."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import attrs
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from dacapo_hd.stores.mongo_connection import Connection, Document, Problem, integer
from dacapo_hd.stores.rows import StatRow

logger = logging.getLogger(__name__)

STATS = "stats"
ROWS_PER_DOCUMENT = 10_000
"""A document ends at 16 MB."""

CUT_OFF = "belongs to an append that was cut off"
BY_ORDER = [("run_id", 1), ("sequence", 1), ("part", 1)]


@attrs.frozen
class Statistics:
    """Documents with one list per column. `sequence` numbers the appends of a run.

    An append of very many rows has several documents, of which `parts` says the number; it counts when all are there.
    """

    connection: Connection

    def append(self, run_id: ObjectId, rows: Sequence[StatRow]) -> None:
        """Add rows after all others."""
        starts = range(0, len(rows), ROWS_PER_DOCUMENT)
        parts = [_encode(rows[start : start + ROWS_PER_DOCUMENT]) for start in starts]
        while parts:
            last = self.connection.find(
                STATS, {"run_id": run_id}, [("sequence", -1)], limit=1, projection={"sequence": 1}
            )
            place = {"run_id": run_id, "sequence": last[0].get("sequence", -1) + 1 if last else 0, "parts": len(parts)}
            documents = [{"_id": ObjectId(), **place, "part": part, **rows} for part, rows in enumerate(parts)]
            try:
                self.connection.insert(STATS, documents)
                return
            except DuplicateKeyError:
                # another process was faster
                self._delete([document["_id"] for document in documents])

    def read(self, run_id: ObjectId) -> tuple[list[StatRow], list[Problem]]:
        """Return all rows in the order of their appends, and which documents are damaged."""
        rows: list[StatRow] = []
        problems = []
        for document in _whole(self._documents(run_id)):
            try:
                rows += _decode(document)
            except ValueError as error:
                problems.append(Problem(_place(document), f"damaged statistics ({error})"))
        return rows, problems

    def newest_iteration(self, run_id: ObjectId) -> int | None:
        """Return the last iteration of the last append; None if that is not to be had without reading all."""
        order = [(field, -direction) for field, direction in BY_ORDER]
        last = self.connection.find(STATS, {"run_id": run_id}, order, limit=1)
        try:
            return max(row.iteration for row in _decode(last[0]))
        except (IndexError, ValueError):
            return None

    def truncate(self, run_id: ObjectId, iteration: int) -> None:
        """Drop the rows of later iterations, appends that a crash cut off, and with a warning what is damaged."""
        documents = self._documents(run_id)
        whole = _whole(documents)
        dropped = []
        for document in _others(documents, whole):
            logger.warning("%s: %s: %s and is dropped", self.connection, _place(document), CUT_OFF)
            dropped.append(document["_id"])
        for document in whole:
            try:
                rows = _decode(document)
            except ValueError as error:
                logger.warning("%s: %s: damaged statistics (%s) are dropped", self.connection, _place(document), error)
                rows = []
            earlier = [row for row in rows if row.iteration <= iteration]
            # a part of several stays, for their number tells whether the append is whole
            if not earlier and document["parts"] == 1:
                dropped.append(document["_id"])
            elif not earlier or len(earlier) < len(rows):
                changed = {**document, **_encode(earlier)}
                replace = partial(self.connection.collection(STATS).replace_one, {"_id": document["_id"]}, changed)
                self.connection.retry(replace)
        self._delete(dropped)

    def damage(self, run_id: ObjectId) -> list[Problem]:
        """Return which documents are damaged or not read."""
        documents = self._documents(run_id)
        cut_off = _others(documents, _whole(documents))
        return [*self.read(run_id)[1], *(Problem(_place(found), f"{CUT_OFF} and is not read") for found in cut_off)]

    def _documents(self, run_id: ObjectId) -> list[Document]:
        return self.connection.find(STATS, {"run_id": run_id}, BY_ORDER)

    def _delete(self, ids: Sequence[ObjectId]) -> None:
        query = {"_id": {"$in": list(ids)}}
        self.connection.retry(partial(self.connection.collection(STATS).delete_many, query))


def _encode(rows: Sequence[StatRow]) -> Document:
    return {field.name: [getattr(row, field.name) for row in rows] for field in attrs.fields(StatRow)}


def _decode(document: Document) -> list[StatRow]:
    """Return the rows of a document; raises ValueError that says what is wrong."""
    columns = []
    for field in attrs.fields(StatRow):
        column = document.get(field.name)
        allowed = {"iteration": (int,), "name": (str,)}.get(field.name, (int, float))
        if not isinstance(column, list) or not all(isinstance(value, allowed) for value in column):
            raise ValueError(f"`{field.name}` is not a list of {' or '.join(kind.__name__ for kind in allowed)}")
        columns.append([integer(value) if isinstance(value, int) else value for value in column])
    if len({len(column) for column in columns}) != 1:
        raise ValueError("its lists differ in length")
    return [StatRow(*values) for values in zip(*columns, strict=True)]


def _whole(documents: Sequence[Document]) -> list[Document]:
    """Leave out what is part of an append of which other parts are missing."""
    present = defaultdict(set)
    for document in documents:
        present[document.get("sequence")].add(document.get("part"))
    return [document for document in documents if len(present[document.get("sequence")]) == document.get("parts")]


def _others(documents: Sequence[Document], left_out: Sequence[Document]) -> list[Document]:
    ids = {document["_id"] for document in left_out}
    return [document for document in documents if document["_id"] not in ids]


def _place(document: Document) -> str:
    return f"{STATS}/{document['_id']}"
