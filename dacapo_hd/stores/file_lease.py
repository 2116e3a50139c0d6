"""The lock of a run in a folder: one file per change of holder, and the newest one counts."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import attrs

from dacapo_hd.stores.lease import Holder
from dacapo_hd.stores.writing import cannot_read, cannot_write

RELEASED = b"released\n"


@attrs.frozen
class FileLease:
    """Generations `1`, `2`, ... in a folder; each says who holds the run since then, or that nobody does.

    A generation is only ever made, never changed, by an exclusive creation, which is atomic also over NFS. A
    heartbeat sets its time of modification: that needs no space on a full disk.
    """

    folder: Path

    def read(self) -> Holder | None:
        return self._newest()[1]

    def take(self, seen: Holder | None, holder: Holder) -> bool:
        generation, found = self._newest()
        text = json.dumps(attrs.asdict(holder, filter=lambda field, _: field.name != "beat"))
        return found == seen and self._add(generation + 1, text.encode() + b"\n")

    def beat(self, holder: Holder) -> bool:
        generation, found = self._newest()
        if found is None or found.token != holder.token:
            return False
        path = self._path(generation)
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise cannot_write(path, error) from error
        return True

    def release(self, holder: Holder) -> None:
        generation, found = self._newest()
        if found is not None and found.token == holder.token:
            self._add(generation + 1, RELEASED)

    def _add(self, generation: int, data: bytes) -> bool:
        """Make a generation; False if another process made it, or a later one."""
        path = self._path(generation)
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            raise cannot_write(path, error) from error
        generations = self._generations()
        # a list of files over NFS may have been old, but not after a file was added
        if max(generations, default=0) > generation:
            self._tidy([generation])
            return False
        self._tidy(older for older in generations if older < generation)
        return True

    def _tidy(self, generations: Iterable[int]) -> None:
        """Remove generations that count no more; those of other users may have to stay."""
        for generation in generations:
            with suppress(OSError):
                self._path(generation).unlink()

    def _newest(self) -> tuple[int, Holder | None]:
        while True:
            generation = max(self._generations(), default=0)
            if generation == 0:
                return 0, None
            path = self._path(generation)
            try:
                return generation, _read(path)
            except FileNotFoundError:
                # removed since it was listed, for there is a newer one
                time.sleep(0.01)
            except OSError as error:
                raise cannot_read(path, error) from error

    def _generations(self) -> list[int]:
        try:
            return [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise cannot_read(self.folder, error) from error

    def _path(self, generation: int) -> Path:
        return self.folder / str(generation)


def _read(path: Path) -> Holder | None:
    with path.open("rb") as file:
        data = file.read()
        beat = os.fstat(file.fileno()).st_mtime_ns
    if data == RELEASED:
        return None
    try:
        return Holder(**json.loads(data), beat=beat)
    except (ValueError, TypeError):
        # being written, by a process that lives or was killed just then; its beat tells which
        return Holder(hashlib.sha256(data).hexdigest(), "an unknown host", "", 0, "", "an unknown time", beat)
