"""The folder of the weights that belongs to a MongoDB database, which has recorded it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.stores.migrations import SCHEMA
from dacapo_hd.stores.mongo_connection import Connection, Document

META = "meta"
DEFAULT_FOLDER = "weights"


@attrs.frozen
class WeightsFolder:
    """A folder with one folder per run: `given` by the user, else the one that was used at first."""

    connection: Connection
    given: Path | None

    def meta(self) -> Document | None:
        """Return what holds for the whole database; None before anything was stored."""
        found = self.connection.find(META, {"_id": "store"})
        return found[0] if found else None

    def check_schema(self) -> None:
        """Raise UserError if a newer version has arranged the database."""
        schema = (self.meta() or {}).get("schema", SCHEMA)
        if schema > SCHEMA:
            known = f"schema {schema}, this one knows {SCHEMA}"
            raise UserError(f"{self.connection}: written by a newer dacapo_hd ({known}); update this one")

    def path(self) -> Path:
        """Return where it is, or will be."""
        if self.given is not None:
            return self.given
        meta = self.meta()
        return Path(meta["weights"] if meta else DEFAULT_FOLDER).absolute()

    def record(self) -> None:
        """Make the folder and record it, unless another process did so just now."""
        path = self.path()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_make(path, error) from error
        self.connection.insert(META, [{"_id": "store", "schema": SCHEMA, "weights": str(path)}])

    def of(self, run: Document) -> Path:
        """Return a run's folder; UserError if the weights are not on this machine."""
        return self._present() / run["folder"]

    def free(self, name: str) -> Path:
        """Return a folder that no run has, also none of another database which keeps its weights here."""
        folder, names = self.path(), (name if number == 1 else f"{name}-{number}" for number in count(1))
        return next(folder / free for free in names if not (folder / free).exists())

    def claim(self, name: str) -> Path:
        """Make a folder for a run."""
        self._present()
        while True:
            folder = self.free(name)
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
            except OSError as error:
                raise _cannot_make(folder, error) from error

    def _present(self) -> Path:
        path = self.path()
        if not path.is_dir():
            raise UserError(
                f"{self.connection}: its weights lie in {path}, which is not on this machine; give their folder with "
                "--weights"
            )
        return path


def _cannot_make(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot make {path}: {error.strerror}; give another folder with --weights")
