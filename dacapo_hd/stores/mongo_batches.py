"""Which scores count in MongoDB: every write of scores is a batch, and one document makes all its rows count at once.

A single server has no transactions. So a write inserts its rows, which nobody reads yet, then the document of its
batch, and then removes the rows that it replaces. Of two batches with the same iteration and crop the later one counts.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from dacapo_hd.stores.base import Damage, DamageError
from dacapo_hd.stores.mongo_connection import Connection, Document
from dacapo_hd.stores.rows import ScoreRow

logger = logging.getLogger(__name__)

BATCHES = "score_batches"
BY_SEQUENCE = [("run_id", 1), ("sequence", 1)]
BY_ITERATION = [("run_id", 1), ("iterations", 1), ("sequence", 1)]

Place = tuple[int, str]
"""An iteration and a crop."""


@attrs.frozen
class Batch:
    """The rows of one write: how many of each score there are in each place. One of no places is dead."""

    id: ObjectId
    sequence: int
    counts: Mapping[Place, Mapping[str, int]]

    @classmethod
    def of(cls, document: Document) -> Batch:
        counts = {(int(iteration), crop): dict(scores) for iteration, crop, scores in document["places"]}
        return cls(document["_id"], int(document["sequence"]), counts)

    @property
    def iterations(self) -> list[int]:
        return sorted({iteration for iteration, _ in self.counts})

    def count(self, place: Place, score: str | None) -> int:
        """Return how many rows it has in a place, of one score if it is named."""
        return sum(number for name, number in self.counts[place].items() if score in (None, name))

    def to_document(self) -> Document:
        """Lists of lists, because crops and scores may have dots and dollars in their names."""
        places = [[*place, [list(pair) for pair in scores.items()]] for place, scores in self.counts.items()]
        return {"sequence": self.sequence, "iterations": self.iterations, "places": places}


def count_rows(rows: Sequence[ScoreRow]) -> dict[Place, Counter[str]]:
    """Count rows by place and score."""
    counts: defaultdict[Place, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[row.iteration, row.crop][row.score] += 1
    return dict(counts)


@attrs.frozen
class Batches:
    """The batches of the runs of one database."""

    connection: Connection

    def all(self, run_id: ObjectId, iterations: Sequence[int] | None = None) -> list[Batch]:
        """Return batches in their sequence, those with some iterations if they are given; DamageError.

        None is missed that is replaced meanwhile: what replaces it is there before, and comes later in this order.
        """
        batches, damages = self._read(run_id, {} if iterations is None else {"iterations": {"$in": list(iterations)}})
        if damages:
            raise DamageError(*damages.values())
        return batches

    def drop_damaged(self, run_id: ObjectId) -> None:
        """Remove documents that cannot be read, with a warning; their rows count no more."""
        for batch_id, damage in self._read(run_id, {})[1].items():
            logger.warning("%s: %s; it is dropped", damage.where, damage.what)
            self.connection.retry(partial(self.connection.collection(BATCHES).delete_one, {"_id": batch_id}))

    def _read(self, run_id: ObjectId, query: Document) -> tuple[list[Batch], dict[Any, Damage]]:
        batches, damages = [], {}
        for document in self.connection.find(BATCHES, {"run_id": run_id, **query}, [("sequence", 1)]):
            try:
                batches.append(Batch.of(document))
            except (KeyError, TypeError, ValueError, AttributeError):
                where = f"{self.connection}: {BATCHES}/{document['_id']}"
                what, advice = "damaged batch of scores", "training the run again drops it; then validate again"
                damages[document["_id"]] = Damage("", where, what, advice)
        return batches, damages

    def current(self, run_id: ObjectId, iteration: int | None = None) -> dict[Place, Batch]:
        """Return which batch counts where."""
        batches = self.all(run_id, None if iteration is None else [iteration])
        return {place: batch for batch in batches for place in batch.counts}

    def add(self, run_id: ObjectId, batch_id: ObjectId, counts: Mapping[Place, Mapping[str, int]]) -> Batch:
        """Let a batch count from now on; returns the one that is there if it was added before, or is dead."""
        while True:
            last = self.connection.find(
                BATCHES, {"run_id": run_id}, [("sequence", -1)], limit=1, projection=["sequence"]
            )
            batch = Batch(batch_id, last[0].get("sequence", -1) + 1 if last else 0, counts)
            document = {"_id": batch_id, "run_id": run_id, **batch.to_document()}
            try:
                self.connection.retry(partial(self.connection.collection(BATCHES).insert_one, document))
                return batch
            except DuplicateKeyError:
                found = self.connection.find(BATCHES, {"_id": batch_id})
                if found:
                    return Batch.of(found[0])
                # another process took this place in the sequence

    def kill(self, run_id: ObjectId, batch_id: ObjectId) -> bool:
        """Prevent that a batch is added by a process which is about to; False if it is there already."""
        return not self.add(run_id, batch_id, {}).counts

    def change(self, batch: Batch, counts: Mapping[Place, Mapping[str, int]]) -> None:
        """Let a batch count elsewhere."""
        changes = attrs.evolve(batch, counts=counts).to_document()
        update = partial(self.connection.collection(BATCHES).update_one, {"_id": batch.id}, {"$set": changes})
        self.connection.retry(update)

    def remove(self, batches: Sequence[Batch]) -> None:
        """Let batches count no more."""
        query = {"_id": {"$in": [batch.id for batch in batches]}}
        self.connection.retry(partial(self.connection.collection(BATCHES).delete_many, query))
