"""Scores in MongoDB: one document per row. `mongo_batches` says which rows count."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from bson import ObjectId

from dacapo_hd.stores.mongo_batches import Batch, Batches, Place, count_rows
from dacapo_hd.stores.mongo_connection import Connection, Document, Problem, integer, storable
from dacapo_hd.stores.rows import ScoreRow, to_document

logger = logging.getLogger(__name__)

SCORES = "scores"
BY_PLACE = [("iteration", 1), ("crop", 1), ("score", 1)]
# by the name for people, by the id for this store
BY_NAME = [("run", 1), *BY_PLACE]
BY_ID = [("run_id", 1), *BY_PLACE, ("batch", 1)]

TYPES = {"seed": (int, str), "iteration": (int,), "value": (int, float), "segments": (dict, type(None))}
FIELDS = tuple((field.name, TYPES.get(field.name, (str,))) for field in attrs.fields(ScoreRow))
ORPHANS = "orphan rows, which are not read: of a write that was cut off, or is going on"


@attrs.frozen
class Snapshot:
    """The rows that counted at one moment, and how many are lost where."""

    documents: Sequence[Document]
    missing: Mapping[Place, int]


@attrs.frozen
class Scores:
    """The scores of the runs of one database."""

    connection: Connection

    def write(self, run_id: ObjectId, run: str, rows: Sequence[ScoreRow]) -> None:
        """Replace the rows of the same iterations and crops, all at once."""
        while rows and not self._try_to_write(run_id, run, rows):
            logger.info("%s: writing the scores of run %r again", self.connection, run)

    def _try_to_write(self, run_id: ObjectId, run: str, rows: Sequence[ScoreRow]) -> bool:
        batch_id = ObjectId()
        mark = {"run_id": run_id, "run": run, "batch": batch_id}
        documents = [
            {**_encode(row), **mark, "_id": ObjectId(), "position": position} for position, row in enumerate(rows)
        ]
        self.connection.insert(SCORES, documents)
        batch = self._batches.add(run_id, batch_id, count_rows(rows))
        if not batch.counts:
            # `truncate` took it for what a killed process has left
            self._delete(run_id, batch_id, count_rows(rows))
            return False
        self._remove_replaced(run_id, batch)
        return True

    def _remove_replaced(self, run_id: ObjectId, batch: Batch) -> None:
        """Remove rows in the places of a batch that counted before it."""
        batches = self._batches.all(run_id, batch.iterations)
        current = {place: found for found in batches for place in found.counts}
        for old in batches:
            replaced = {place for place in old.counts if current[place].sequence > old.sequence}
            if old.sequence < batch.sequence and replaced:
                self._delete(run_id, old.id, replaced)
                if replaced == set(old.counts):
                    self._batches.remove([old])

    def read(
        self, run_id: ObjectId, iteration: int | None = None, crop: str | None = None, score: str | None = None
    ) -> tuple[list[ScoreRow], list[Problem]]:
        """Return what counted at one moment, by iteration and crop, and what is damaged."""
        found = self._snapshot(run_id, iteration, crop, score)
        problems = [Problem(SCORES, _lost(place, count)) for place, count in found.missing.items()]
        rows = []
        for document in found.documents:
            try:
                rows.append(_decode(document))
            except ValueError as error:
                what = f"damaged score of crop {document['crop']!r} at iteration {document['iteration']} ({error})"
                problems.append(Problem(f"{SCORES}/{document['_id']}", what))
        return rows, problems

    def orphans(self, run_id: ObjectId) -> list[Problem]:
        """Return the batches that have rows which do not count."""
        stale = _stale(self._present(run_id), self._batches.current(run_id))
        return [Problem(f"{SCORES} of batch {batch_id}", ORPHANS) for batch_id in stale]

    def truncate(self, run_id: ObjectId, run: str, iteration: int) -> None:
        """Drop rows of later iterations, what killed processes left, and with a warning what is damaged."""
        self._batches.drop_damaged(run_id)
        later = [batch for batch in self._batches.all(run_id) if batch.iterations and batch.iterations[-1] > iteration]
        self._batches.remove([batch for batch in later if batch.iterations[0] > iteration])
        for batch in later:
            kept = {place: counts for place, counts in batch.counts.items() if place[0] <= iteration}
            if kept:
                self._batches.change(batch, kept)
        query = {"run_id": run_id, "iteration": {"$gt": iteration}, "batch": {"$in": [batch.id for batch in later]}}
        self.connection.retry(partial(self.connection.collection(SCORES).delete_many, query))
        self._drop_damaged(run_id, run)
        self._drop_stale(run_id)

    def _drop_stale(self, run_id: ObjectId) -> None:
        """Remove rows that do not count; a process that is about to let them count finds out, and writes them again."""
        present = self._present(run_id)
        batches = {batch.id for batch in self._batches.all(run_id)}
        strangers = [batch_id for batch_id in present if batch_id not in batches and isinstance(batch_id, ObjectId)]
        alive = batches | {batch_id for batch_id in strangers if not self._batches.kill(run_id, batch_id)}
        # read after that, so that rows of a batch which was added just now are not taken for stale
        for batch_id, places in _stale(present, self._batches.current(run_id)).items():
            self._delete(run_id, batch_id, places, whole=batch_id not in alive)

    def _drop_damaged(self, run_id: ObjectId, run: str) -> None:
        """Remove damaged rows and count anew where some are lost; each with a warning."""
        found = self._snapshot(run_id)
        sound: defaultdict[Place, Counter[str]] = defaultdict(Counter)
        places = set(found.missing)
        for place, count in found.missing.items():
            logger.warning("%s: run %r: %s; the others are kept", self.connection, run, _lost(place, count))
        for document in found.documents:
            place = document["iteration"], document["crop"]
            try:
                sound[place][_decode(document).score] += 1
            except ValueError as error:
                name = f"{SCORES}/{document['_id']}"
                logger.warning("%s: run %r: %s: damaged score (%s) is dropped", self.connection, run, name, error)
                self.connection.retry(partial(self.connection.collection(SCORES).delete_one, {"_id": document["_id"]}))
                places.add(place)
        for place, batch in self._batches.current(run_id).items() if places else ():
            if place in places:
                others = {other: counts for other, counts in batch.counts.items() if other not in places}
                counted = {other: sound[other] for other in batch.counts.keys() & places if sound[other]}
                if others or counted:
                    self._batches.change(batch, {**others, **counted})
                else:
                    self._batches.remove([batch])

    def _snapshot(
        self, run_id: ObjectId, iteration: int | None = None, crop: str | None = None, score: str | None = None
    ) -> Snapshot:
        """Read rows until all are of one moment, whoever writes meanwhile."""
        wanted = {"iteration": iteration, "crop": crop, "score": score}
        query = {"run_id": run_id, **{key: value for key, value in wanted.items() if value is not None}}
        current = self._batches.current(run_id, iteration)
        while True:
            expected = Counter(
                {
                    place: batch.count(place, score)
                    for place, batch in current.items()
                    if iteration in (None, place[0]) and crop in (None, place[1])
                }
            )
            # no query where nothing is expected, as for a run that is not validated yet
            found = self.connection.find(SCORES, query, projection={"run_id": 0}) if expected else []
            documents = [row for row in found if _counts(row, current)]
            documents.sort(key=lambda row: (row["iteration"], row["crop"], row.get("position", 0)))
            missing = expected - Counter((row["iteration"], row["crop"]) for row in documents)
            if not missing:
                return Snapshot(documents, {})
            now = self._batches.current(run_id, iteration)
            lost = {place: count for place, count in missing.items() if now.get(place) == current[place]}
            if lost:
                # rows are removed only after others count in their place
                return Snapshot(documents, lost)
            current = now

    def _present(self, run_id: ObjectId) -> dict[Any, set[Any]]:
        """Return the places in which there are rows of each batch, whether they count or not."""
        key = {"iteration": "$iteration", "crop": "$crop", "batch": "$batch"}
        pipeline: list[Document] = [{"$match": {"run_id": run_id}}, {"$group": {"_id": key}}]
        groups = self.connection.retry(lambda: list(self.connection.collection(SCORES).aggregate(pipeline)))
        present: defaultdict[Any, set[Any]] = defaultdict(set)
        for row in (group["_id"] for group in groups):
            present[row.get("batch")].add((row.get("iteration"), row.get("crop")))
        return dict(present)

    def _delete(self, run_id: ObjectId, batch_id: ObjectId, places: Collection[Place], *, whole: bool = False) -> None:
        """Remove the rows of a batch in some places; `whole` if it has no others."""
        query: Document = {"run_id": run_id, "batch": batch_id, "iteration": {"$in": [place[0] for place in places]}}
        if not whole:
            query["$or"] = [{"iteration": iteration, "crop": crop} for iteration, crop in places]
        self.connection.retry(partial(self.connection.collection(SCORES).delete_many, query))

    @property
    def _batches(self) -> Batches:
        return Batches(self.connection)


def _counts(row: Document, current: Mapping[Place, Batch]) -> bool:
    found = current.get((row.get("iteration", -1), row.get("crop", "")))
    return found is not None and found.id == row.get("batch")


def _stale(present: Mapping[Any, set[Any]], current: Mapping[Place, Batch]) -> dict[Any, set[Any]]:
    """Return the places of batches in which their rows do not count."""
    found = {
        batch_id: {place for place in places if place not in current or current[place].id != batch_id}
        for batch_id, places in present.items()
    }
    return {batch_id: places for batch_id, places in found.items() if places}


def _lost(place: Place, count: int) -> str:
    """Say which rows are not there although they should be."""
    return f"{count} scores of crop {place[1]!r} at iteration {place[0]} are missing"


def _encode(row: ScoreRow) -> Document:
    return {**to_document(row), "seed": storable(row.seed)}


def _decode(document: Document) -> ScoreRow:
    """Return the row of a document; raises ValueError that says what is wrong."""
    values: dict[str, Any] = {}
    for name, allowed in FIELDS:
        value = values[name] = document.get(name)
        if not isinstance(value, allowed):
            raise ValueError(f"`{name}` is {value!r}")
    values["seed"], values["iteration"] = int(values["seed"]), int(values["iteration"])
    if isinstance(values["value"], int):
        values["value"] = integer(values["value"])
    try:
        return ScoreRow(**values)
    except TypeError as error:
        raise ValueError(f"`segments` is {values['segments']!r}") from error
