"""Runs, statistics and scores, kept where the user says."""

from dacapo_hd.stores.base import RunRecord, ScoreRow, StatRow, Store
from dacapo_hd.stores.files import FileStore

__all__ = ["FileStore", "RunRecord", "ScoreRow", "StatRow", "Store", "open_store"]


def open_store(address: str) -> Store:
    """Open the store at an address: a folder, made when the first run is stored."""
    return FileStore(address)
