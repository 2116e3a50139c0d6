"""Runs, statistics and scores, kept where the user says."""

import re
from pathlib import Path

from dacapo_hd.errors import UserError
from dacapo_hd.stores.address import is_mongodb
from dacapo_hd.stores.base import Damage, Store
from dacapo_hd.stores.files import FileStore
from dacapo_hd.stores.lease import Heartbeat, HeldError, Lease
from dacapo_hd.stores.rows import CheckpointRow, RunRecord, ScoreRow, StatRow

__all__ = [
    "CheckpointRow",
    "Damage",
    "FileStore",
    "Heartbeat",
    "HeldError",
    "Lease",
    "RunRecord",
    "ScoreRow",
    "StatRow",
    "Store",
    "open_store",
]


def open_store(address: str | Path, weights: str | Path | None = None) -> Store:
    """Open the store at an address: a folder, or `mongodb://HOST/DATABASE`; made when the first run is stored.

    `weights` is the folder of the weights of a MongoDB store, by default the one that it has recorded. Raises
    UserError for an address that is wrong, and for a server that does not answer.
    """
    if is_mongodb(str(address)):
        from dacapo_hd.stores.mongo import MongoStore

        return MongoStore.open(str(address), weights)
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(address))
    if scheme:
        # without what follows, which may hold a password
        raise UserError(
            f"no store has an address that begins with {scheme.group()}; give a folder or mongodb://HOST/DATABASE"
        )
    if weights is not None:
        raise UserError(f"--weights is for stores in MongoDB; the weights of {address} lie in that folder")
    return FileStore(address)
