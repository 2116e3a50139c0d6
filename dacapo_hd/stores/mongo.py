"""The store in a MongoDB database, for many machines; the weights are files in a folder that they share."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from bson import ObjectId

from dacapo_hd.errors import UserError
from dacapo_hd.stores.address import parse_mongodb
from dacapo_hd.stores.base import Damage, DamageError, Store
from dacapo_hd.stores.lease import Heartbeat, Lease, hold
from dacapo_hd.stores.mongo_checkpoints import CheckpointList
from dacapo_hd.stores.mongo_connection import FIRST_CONTACT_SECONDS, PATIENCE_SECONDS, Connection, Document, Problem
from dacapo_hd.stores.mongo_damage import TRAIN_AGAIN, VALIDATE_AGAIN, find_damage
from dacapo_hd.stores.mongo_lease import MongoLease
from dacapo_hd.stores.mongo_runs import Runs
from dacapo_hd.stores.mongo_scores import Scores
from dacapo_hd.stores.mongo_stats import Statistics
from dacapo_hd.stores.mongo_weights import WeightsFolder
from dacapo_hd.stores.rows import CheckpointRow, RunRecord, ScoreRow, StatRow

logger = logging.getLogger(__name__)


@attrs.frozen(repr=False, eq=False)
class MongoStore(Store):
    """A database with the collections `runs`, `stats`, `scores`, `checkpoints`, and some for its own book-keeping."""

    connection: Connection
    weights: Path | None = None

    @classmethod
    def open(
        cls,
        address: str,
        weights: str | Path | None = None,
        *,
        first_contact_seconds: float = FIRST_CONTACT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> MongoStore:
        """Reach the database; nothing is written before a run is added.

        `weights` is the folder of the weights, by default the one that the database has recorded at first. Raises
        UserError if the address is wrong, or the server does not answer within `first_contact_seconds`, or refuses.
        Later a lost connection is waited for during `patience_seconds`.
        """
        connection = Connection(parse_mongodb(address), patience_seconds)
        connection.ping(first_contact_seconds)
        store = cls(connection, None if weights is None else Path(weights).absolute())
        store._weights.check_schema()
        return store

    def __str__(self) -> str:
        return str(self.connection)

    def __repr__(self) -> str:
        return f"MongoStore({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open the same database with a connection of its own."""
        return partial(MongoStore.open, patience_seconds=self.connection.patience_seconds), (
            self.connection.address.uri,
            self.weights,
        )

    def close(self) -> None:
        """Give the connections back; also happens when nothing refers to the store any more."""
        self.connection.close()

    def add_run(self, record: RunRecord) -> None:
        self._runs.add(record)

    def run(self, name: str) -> RunRecord:
        return self._runs.read(self._document(name)).record

    def runs(self) -> tuple[RunRecord, ...]:
        records = []
        for document in self._runs.documents():
            try:
                records.append(self._runs.read(document).record)
            except UserError as error:
                logger.warning("%s", error)
        return tuple(records)

    def names(self) -> tuple[str, ...]:
        return self._runs.names()

    def append_stats(self, name: str, rows: Sequence[StatRow]) -> None:
        self._stats.append(self._id(name), rows)

    def stats(self, name: str) -> list[StatRow]:
        rows, problems = self._stats.read(self._id(name))
        self._refuse(name, problems, TRAIN_AGAIN)
        return rows

    def newest_iteration(self, name: str) -> int:
        newest = self._stats.newest_iteration(self._id(name))
        return super().newest_iteration(name) if newest is None else newest

    def write_scores(self, name: str, rows: Sequence[ScoreRow]) -> None:
        self._scores.write(self._id(name), name, rows)

    def scores(
        self, name: str, *, iteration: int | None = None, crop: str | None = None, score: str | None = None
    ) -> list[ScoreRow]:
        document = self._present(name)
        stored = self._runs.read(document)
        rows, problems = self._scores.read(document["_id"], iteration, crop, score)
        self._refuse(name, problems, VALIDATE_AGAIN)
        adopted = map(stored.adopt, rows)
        # a renaming that was cut off may have left the old name
        return [row if row.run == name else attrs.evolve(row, run=name) for row in adopted]

    def add_checkpoint(self, name: str, row: CheckpointRow) -> None:
        self._checkpoints.add(self._id(name), row)

    def remove_checkpoints(self, name: str, iterations: Collection[int]) -> None:
        self._checkpoints.remove(self._id(name), iterations)

    def checkpoints(self, name: str) -> list[CheckpointRow]:
        rows, problems = self._checkpoints.read(self._id(name))
        for problem in problems:
            logger.warning("%s: %s: %s; that checkpoint is not used", self, problem.place, problem.what)
        return rows

    def truncate(self, name: str, iteration: int) -> None:
        run_id = self._id(name)
        self._stats.truncate(run_id, iteration)
        self._scores.truncate(run_id, name, iteration)
        self._checkpoints.truncate(run_id, iteration)

    def rename_run(self, name: str, record: RunRecord) -> None:
        self._runs.rename(self._document(name), record)

    def remove_run(self, name: str) -> None:
        self._runs.remove(self._document(name))

    def checkpoint_folder(self, name: str) -> Path:
        found = self._runs.find(name)
        return self._weights.free(name) if found is None else self._weights.of(found)

    def lock(self, name: str, heartbeat: Heartbeat | None = None) -> AbstractContextManager[Lease]:
        return hold(name, MongoLease(self.connection, self._document(name)["_id"]), heartbeat)

    def damage(self) -> Iterator[Damage]:
        return find_damage(self.connection, self._runs)

    def _document(self, name: str) -> Document:
        """Return the document of a run, also of a half removed one; UserError with names that are near."""
        found = self._runs.find(name)
        if found is None:
            raise self._unknown(name, self.names())
        return found

    def _present(self, name: str) -> Document:
        """Return the document of a run that has rows."""
        found = self._document(name)
        if "removing" in found:
            raise UserError(f"{self}: run {name!r} is half removed; finish it with `dacapo-hd runs rm {name}`")
        return found

    def _id(self, name: str) -> ObjectId:
        """Return what the rows of a run refer to."""
        return self._present(name)["_id"]

    def _refuse(self, name: str, problems: Sequence[Problem], advice: str) -> None:
        if problems:
            raise DamageError(*(problem.damage(self.connection, name, advice) for problem in problems))

    @property
    def _weights(self) -> WeightsFolder:
        return WeightsFolder(self.connection, self.weights)

    @property
    def _runs(self) -> Runs:
        return Runs(self.connection, self._weights)

    @property
    def _stats(self) -> Statistics:
        return Statistics(self.connection)

    @property
    def _scores(self) -> Scores:
        return Scores(self.connection)

    @property
    def _checkpoints(self) -> CheckpointList:
        return CheckpointList(self.connection)
