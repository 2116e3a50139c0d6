"""The lock of a run in MongoDB: one document, exchanged by comparison."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from dacapo_hd.errors import UserError
from dacapo_hd.stores.lease import Holder
from dacapo_hd.stores.mongo_connection import Connection, Document, Result

LOCKS = "locks"
BEAT_PATIENCE_SECONDS = 5.0


@attrs.frozen
class MongoLease:
    """The document `_id` = the run's in `locks`; there is none while nobody holds the run."""

    connection: Connection
    run_id: ObjectId

    def read(self) -> Holder | None:
        found = self.connection.find(LOCKS, {"_id": self.run_id})
        return self._holder(found[0]) if found else None

    def take(self, seen: Holder | None, holder: Holder) -> bool:
        document = {"_id": self.run_id, **attrs.asdict(holder)}
        if seen is None:
            try:
                self.connection.retry(partial(self._locks.insert_one, document))
                return True
            except DuplicateKeyError:
                return self._is_held_by(holder)
        asked = {"_id": self.run_id, "token": seen.token, "beat": seen.beat}
        replaced = self.connection.retry(partial(self._locks.replace_one, asked, document))
        return replaced.matched_count == 1 or self._is_held_by(holder)

    def beat(self, holder: Holder) -> bool:
        held = {"_id": self.run_id, "token": holder.token}
        updated = self._briefly(partial(self._locks.update_one, held, {"$inc": {"beat": 1}}))
        return updated.matched_count == 1

    def release(self, holder: Holder) -> None:
        held = {"_id": self.run_id, "token": holder.token}
        self._briefly(partial(self._locks.delete_one, held))

    def _briefly(self, operation: Callable[[], Result]) -> Result:
        return self.connection.retry(operation, BEAT_PATIENCE_SECONDS, warn=False)

    def _is_held_by(self, holder: Holder) -> bool:
        """Tell whether an attempt of which the answer was lost went well."""
        found = self.read()
        return found is not None and found.token == holder.token

    @property
    def _locks(self) -> Collection[Document]:
        return self.connection.collection(LOCKS)

    def _holder(self, document: Document) -> Holder:
        try:
            return Holder(**{key: value for key, value in document.items() if key != "_id"})
        except TypeError:
            raise UserError(
                f"{self.connection}: {LOCKS}/{self.run_id}: damaged lock; end the process that trains the run, then "
                "remove this document"
            ) from None
