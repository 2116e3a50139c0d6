"""The folder that the processes of one session share, and how they reach each other."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path

import attrs

from dacapo_hd.blockwise.grid import BlockGrid
from dacapo_hd.blockwise.work import BlockWork

# How a worker works. The first one begins with a single block. One that replaces a dead worker keeps to one block at a
# time: what killed its predecessor may have been any of those in flight, and must not fail the others with it.
FIRST, CAREFUL, USUAL = "first", "careful", "usual"
WITH_PARENT = "--with-parent"
# in a worker process: its number, by which workers may share devices
WORKER_VARIABLE = "DACAPO_HD_WORKER"


@attrs.frozen
class Session:
    """Paths and contents of a session's folder; when it is gone, the session has ended."""

    folder: Path

    @property
    def address(self) -> Path:
        """Where daisy's server listens, as the text of a `DAISY_CONTEXT`."""
        return self.folder / "address"

    def opened(self, worker: int) -> Path:
        """The file that says that a worker has opened its work."""
        return self.folder / f"opened-{worker}"

    def failure(self, worker: int) -> Path:
        """The file with the exception that kept a worker from opening its work."""
        return self.folder / f"failure-{worker}.pickle"

    def write_task(self, work: BlockWork, grid: BlockGrid, retries: int) -> None:
        """Store what the processes work on; they find modules where this process does."""
        import cloudpickle

        task = cloudpickle.dumps((work, grid, retries))
        write(self.folder / "task.pickle", pickle.dumps({"path": sys.path, "task": task}))

    def read_task(self) -> tuple[BlockWork, BlockGrid, int]:
        stored = pickle.loads((self.folder / "task.pickle").read_bytes())
        sys.path += [entry for entry in stored["path"] if entry not in sys.path]
        found: tuple[BlockWork, BlockGrid, int] = pickle.loads(stored["task"])
        return found

    def goes_on(self) -> bool:
        """Tell whether the session has not ended: a worker that outlived it must write nothing."""
        return (self.folder / "task.pickle").exists()


def write(path: Path, data: bytes) -> None:
    """Write a file so that readers find it whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def end_with_parent() -> None:
    """End this process as soon as the one that holds the other end of its standard input is gone."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
