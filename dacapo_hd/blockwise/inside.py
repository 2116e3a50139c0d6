"""One worker inside this process: no address, no other process, the same scheduler."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.blockwise.grid import BlockGrid
from dacapo_hd.blockwise.lanes import Source

TASK = "blocks"


def daisy_task(grid: BlockGrid, done: NDArray[np.uint8], retries: int, **options: Any) -> Any:
    """Describe the blocks to daisy: a grid in which each block is one voxel, without those done before."""
    import daisy.v2 as daisy

    one = daisy.Roi((0,) * len(grid.shape), (1,) * len(grid.shape))
    return daisy.Task(
        TASK,
        daisy.Roi((0,) * len(grid.shape), grid.shape),
        one,
        one,
        read_write_conflict=False,
        max_retries=retries,
        # None means ten minutes; a worker that died is noticed without
        timeout=float("inf"),
        skip_mask=done.reshape(grid.shape),
        **options,
    )


@attrs.define(eq=False)
class InsideSource(Source):
    """Gives the blocks of a daisy `Scheduler` to the threads of this process; `counted` is told how many are done."""

    grid: BlockGrid
    done: NDArray[np.uint8]
    retries: int
    counted: Callable[[int], None]
    _count: int = attrs.field(init=False)
    _scheduler: Any = attrs.field(default=None, init=False)
    _held: dict[int, Any] = attrs.field(factory=dict, init=False)
    # daisy's scheduler may be used by the thread that made it only
    _thread: ThreadPoolExecutor = attrs.field(factory=lambda: ThreadPoolExecutor(1), init=False)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False)
    _stopped: bool = attrs.field(default=False, init=False)

    def __enter__(self) -> InsideSource:
        self._thread.submit(self._open).result()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def acquire(self) -> int | None:
        with self._changed:
            while not self._stopped:
                number, busy = self._thread.submit(self._acquire).result()
                if number is not None or not busy:
                    return number
                self._changed.wait()
        return None

    def release(self, number: int, done: bool) -> None:
        self._thread.submit(self._release, number, done).result()
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _open(self) -> None:
        import daisy.v2 as daisy

        self._count = int(self.done.sum())
        self._scheduler = daisy.Scheduler(daisy_task(self.grid, self.done.copy(), self.retries))

    def _close(self) -> None:
        self._held.clear()
        self._scheduler = None

    def _acquire(self) -> tuple[int | None, bool]:
        block = self._scheduler.acquire_block(TASK)
        if block is None:
            return None, bool(self._held)
        number = int(np.ravel_multi_index(tuple(block.write_roi.offset), self.grid.shape))
        self._held[number] = block
        return number, True

    def _release(self, number: int, done: bool) -> None:
        from daisy.v2 import BlockStatus

        block = self._held.pop(number)
        block.status = BlockStatus.SUCCESS if done else BlockStatus.FAILED
        self._scheduler.release_block(block)
        if done:
            self.done[number] = 1
            self._count += 1
            self.counted(self._count)
