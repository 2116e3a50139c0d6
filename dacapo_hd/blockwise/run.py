"""The engine's entry: do something with every block, whatever breaks down in between."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dacapo_hd.blockwise.compute import Compute, Local
from dacapo_hd.blockwise.distributed import Workers
from dacapo_hd.blockwise.failures import failed_error, systematic_error
from dacapo_hd.blockwise.grid import BlockGrid
from dacapo_hd.blockwise.inside import InsideSource
from dacapo_hd.blockwise.lanes import Lanes, Outcome
from dacapo_hd.blockwise.progress import VoxelProgress
from dacapo_hd.blockwise.record import Record
from dacapo_hd.blockwise.work import BlockWork, BrokenWorkerError

RETRIES = 3


def run_blocks(
    work: BlockWork,
    grid: BlockGrid,
    record: Path | str,
    compute: Compute | None = None,
    name: str = "blocks",
    progress: bool = False,
    retries: int = RETRIES,
    fresh: bool = False,
) -> None:
    """Do `work` on each block of `grid` that the folder `record` does not hold as done.

    The first block is done alone. One that fails is tried `retries` times more; then the others are done, and
    BlocksFailedError lists it. Where the first three blocks fail, nothing else is tried. `record` belongs to one
    identity of the work: with another UserError is raised, unless it is `fresh`, when all begins anew. `compute` is
    one worker in this process by default. Ctrl-C and SIGTERM raise KeyboardInterrupt; the same call goes on.
    """
    compute = compute or Local()
    with Record.prepare(Path(record).absolute(), work, grid, fresh) as kept:
        kept.collect()
        before = int(kept.done().sum())
        if before == len(grid):
            return
        with _terminable(), VoxelProgress(name, len(grid), grid.voxels, before, progress) as bar:
            if compute.inside():
                _run_inside(work, kept, retries, bar)
            else:
                _run_workers(work, kept, compute, retries, bar)
            bar(int(kept.done().sum()))
        kept.forget_errors()
        failed = failed_error(kept, retries)
        if failed is not None:
            raise failed


def _run_inside(work: BlockWork, record: Record, retries: int, bar: VoxelProgress) -> None:
    with closing(work.open()) as function, InsideSource(record.grid, record.done(), retries, bar) as source:
        lanes = min(work.in_flight, len(record.grid))
        outcome = Lanes(function, record.grid, record, [source] * lanes, alone=True).run()
    if outcome is Outcome.SYSTEMATIC:
        raise systematic_error(record)
    if outcome is Outcome.BROKEN:
        raise BrokenWorkerError("this process can do no further block; the same command goes on in a new one")


def _run_workers(work: BlockWork, record: Record, compute: Compute, retries: int, bar: VoxelProgress) -> None:
    Workers(work, record, compute, retries, bar).run()
    # a block without an error was given up because its workers died, which another block in flight may have caused
    if any(not record.error_file(block.number).exists() for block in record.remaining()):
        Workers(work, record, compute, 0, bar, alone=True).run()


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM what Ctrl-C is, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
