"""A MongoDB database whose every operation survives a lost connection, with errors that name no password."""

from __future__ import annotations

import logging
import os
import re
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from dacapo_hd.errors import UserError
from dacapo_hd.stores.address import MongoAddress, without_credentials
from dacapo_hd.stores.base import Damage

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
FIRST_CONTACT_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 5.0
DUPLICATE_KEY = 11000
LARGER_THAN_ALLOWED = (10334, 17419)
UNAUTHORIZED, AUTHENTICATION_FAILED, ATLAS_ERROR = 13, 18, 8000
# a router that does not reach its servers, or a server that gave up; pymongo has classes for all other outages
TRANSIENT = frozenset({6, 7, 43, 50, 89, 134, 262, 9001})

TOO_LARGE = "this needs a document of more than 16 MB, the most that MongoDB holds; use a store in a folder"
# An acknowledged write is on the disks of most servers; without `j` it is lost when a server is killed.
DURABLE = WriteConcern("majority", j=True)

Document = dict[str, Any]
Result = TypeVar("Result")


@attrs.frozen
class Problem:
    """A document that is damaged: which one, and how."""

    place: str
    what: str

    def damage(self, connection: Connection, run: str, advice: str) -> Damage:
        """Word it for the user, with what to do about it."""
        return Damage(run, f"{connection}: {self.place}", self.what, advice.format(run=run))


@attrs.define(eq=False)
class Connection:
    """One database. Operations may run twice when an answer is lost, so each must be fit for that."""

    address: MongoAddress
    patience_seconds: float = PATIENCE_SECONDS
    _clients: dict[int, MongoClient[Document]] = attrs.field(init=False, factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        self._client()

    def _client(self) -> MongoClient[Document]:
        """Return the client of this process: one that was forked must not touch the sockets of its parent."""
        process = os.getpid()
        if process not in self._clients:
            self._clients[process] = self._connect()
            weakref.finalize(self, _close, process, self._clients[process])
        return self._clients[process]

    def _connect(self) -> MongoClient[Document]:
        try:
            return MongoClient(
                self.address.uri,
                connect=False,
                appname="dacapo_hd",
                serverSelectionTimeoutMS=1_000,
                connectTimeoutMS=5_000,
                socketTimeoutMS=120_000,
            )
        except (PyMongoError, ValueError) as error:
            # the traceback of the cause could quote the address
            raise UserError(f"{self.address}: cannot be used as an address ({_first_line(error)})") from None

    def __str__(self) -> str:
        return self.address.label

    def close(self) -> None:
        """Give sockets and threads back; happens by itself when nothing refers to this any more."""
        self._client().close()

    def collection(self, name: str) -> Collection[Document]:
        """Return a collection that is read where it is written, and written durably."""
        database = self._client().get_database(
            self.address.database, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
        )
        return database[name]

    def ping(self, patience_seconds: float = FIRST_CONTACT_SECONDS) -> None:
        """Reach the server; raises UserError if it does not answer, or refuses the user."""
        self.retry(lambda: self._client().admin.command("ping"), patience_seconds, warn=False)

    def retry(
        self, operation: Callable[[], Result], patience_seconds: float | None = None, *, warn: bool = True
    ) -> Result:
        """Repeat an operation until the server answers; raises UserError when it has not for too long.

        DuplicateKeyError passes, for it is an answer that callers expect.
        """
        patience = self.patience_seconds if patience_seconds is None else patience_seconds
        deadline, pause, warned = time.monotonic() + patience, 0.01, False
        while True:
            try:
                result = operation()
            except DuplicateKeyError:
                raise
            except PyMongoError as error:
                if not _is_transient(error):
                    raise UserError(f"{self}: {self._words(error)}") from error
                left = deadline - time.monotonic()
                if left <= 0:
                    raise UserError(
                        f"{self}: no answer within {patience:.0f} s ({_reason(error)}); start the server, or correct "
                        "the address"
                    ) from error
                if warn and not warned:
                    logger.warning("%s: no answer (%s); trying again for %.0f s", self, _reason(error), left)
                    warned = True
                time.sleep(min(pause, left))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except DocumentTooLarge as error:
                raise UserError(f"{self}: {TOO_LARGE}") from error
            else:
                if warned:
                    logger.warning("%s: answers again", self)
                return result

    def find(
        self, collection: str, query: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), **options: Any
    ) -> list[Document]:
        """Read all documents that a query finds."""
        return self.retry(lambda: list(self.collection(collection).find(query, sort=list(sort) or None, **options)))

    def insert(self, collection: str, documents: Sequence[Document]) -> None:
        """Insert documents that have an `_id` which is like no other; DuplicateKeyError for another unique index."""
        if documents:
            self.retry(lambda: _insert(self.collection(collection), documents))

    def _words(self, error: PyMongoError) -> str:
        code = error.code if isinstance(error, OperationFailure) else None
        text = _first_line(error)
        if code in (AUTHENTICATION_FAILED, ATLAS_ERROR):
            return (
                "the server knows no such user and password; correct them, or add ?authSource=admin to the address if "
                "the user is one of the database `admin`"
            )
        if code == UNAUTHORIZED:
            if "requires authentication" in text:
                return "the server asks who you are; write mongodb://USER:PASSWORD@HOST/DATABASE"
            found = re.search(r"execute command \{ (\w+):", text)
            command = f"`{found.group(1)}` there" if found else "that there"
            return f"this user may not {command}; ask for the role readWrite, or give another user"
        if "too large" in text or code in LARGER_THAN_ALLOWED:
            return TOO_LARGE
        return f"{type(error).__name__}: {text}"


def _close(process: int, client: MongoClient[Document]) -> None:
    if process == os.getpid():
        client.close()


def storable(number: int) -> int | str:
    """Return an integer, as text if it has more than the 64 bits that a document can hold."""
    return number if -(2**63) <= number < 2**63 else str(number)


def integer(number: int) -> int:
    """Return a plain integer for one of 64 bits, which comes from a document in a class of its own."""
    return int(number) if type(number) is not bool else number


def _insert(collection: Collection[Document], documents: Sequence[Document]) -> None:
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        details: Mapping[str, Any] = error.details or {}
        # one of ours that is there already came with the answer that was lost
        failed = [entry for entry in details.get("writeErrors", ()) if not _is_same_document(entry)]
        if failed and failed[0].get("code") == DUPLICATE_KEY:
            raise DuplicateKeyError(failed[0].get("errmsg", ""), DUPLICATE_KEY, failed[0]) from None
        if failed:
            # without the documents, which the original has in its text
            raise OperationFailure(failed[0].get("errmsg", ""), failed[0].get("code")) from None
        concerns = details.get("writeConcernErrors", ())
        if concerns:
            raise WriteConcernError(concerns[0].get("errmsg", ""), concerns[0].get("code")) from None


def _is_transient(error: PyMongoError) -> bool:
    """Tell whether an operation may go well if it is repeated, and may have been done already."""
    if isinstance(error, ConnectionFailure | WriteConcernError):
        return True
    return isinstance(error, OperationFailure) and error.code in TRANSIENT


def _is_same_document(entry: Mapping[str, Any]) -> bool:
    return entry.get("code") == DUPLICATE_KEY and "_id" in entry.get("keyPattern", {})


def _reason(error: PyMongoError) -> str:
    """Shorten `HOST: REASON (configured timeouts: ...), Timeout: 2.0s, Topology Description: ...`."""
    return re.split(r" \(configured timeouts|, Timeout:", _first_line(error))[0]


def _first_line(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0].split(", full error:")[0]
    return without_credentials(text).rstrip(".")
