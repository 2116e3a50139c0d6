"""A worker's loop: several blocks in flight, so that one is computed while others are read and written."""

from __future__ import annotations

import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import attrs

from dacapo_hd.blockwise.grid import Block, BlockGrid
from dacapo_hd.blockwise.memory import give_memory_back, keep_memory_flat
from dacapo_hd.blockwise.record import Record
from dacapo_hd.blockwise.work import BlockFunction, BrokenWorkerError

SYSTEMATIC = 3
SECONDS_TO_NOTICE = 0.5


class Outcome(Enum):
    """How a worker has ended; the value is the exit code of its process."""

    FINISHED = 0
    SYSTEMATIC = 10
    NOT_OPENED = 11
    BROKEN = 12


class Source(ABC):
    """Where one lane gets its blocks, one at a time."""

    can_stop: ClassVar[bool] = True

    @abstractmethod
    def acquire(self) -> int | None:
        """Return the number of a block to do; None when all are done."""

    @abstractmethod
    def release(self, number: int, done: bool) -> None:
        """Give a block back, done or to be tried again."""

    def close(self) -> None:  # noqa: B027
        """Let go of what belongs to the lane's thread, which calls this last."""

    def stop(self) -> None:  # noqa: B027 where `can_stop` is false there is nothing to do
        """Let `acquire` return None to all who wait in it."""


@attrs.define(eq=False)
class Lanes:
    """Runs the function of one worker on blocks, one lane (a thread) for each source.

    `alone`: only the first lane works until it has done a block, and the worker ends as SYSTEMATIC when the first
    three blocks fail; blocks that failed in earlier sessions do not count. `write` is skipped unless `current()`.
    """

    function: BlockFunction
    grid: BlockGrid
    record: Record
    sources: Sequence[Source]
    alone: bool = False
    current: Callable[[], bool] = lambda: True
    outcome: Outcome = attrs.field(default=Outcome.FINISHED, init=False)
    _requests: SimpleQueue[tuple[Block, Any, Future[Any]] | None] = attrs.field(factory=SimpleQueue, init=False)
    _stopped: threading.Event = attrs.field(factory=threading.Event, init=False)
    _served: threading.Event = attrs.field(factory=threading.Event, init=False)
    _go: threading.Event = attrs.field(factory=threading.Event, init=False)
    _failed: set[int] = attrs.field(factory=set, init=False)
    _raised: list[BaseException] = attrs.field(factory=list, init=False)

    def run(self) -> Outcome:
        """Work until nothing is left; blocks that fail are left to the sources.

        Lanes that wait for a source that cannot stop are left behind: the process has to end then.
        """
        keep_memory_flat()
        if not self.alone:
            self._go.set()
        known = self.record.failed_before() if self.alone else frozenset()
        threads = [
            threading.Thread(target=self._lane, args=(source, number == 0, known), daemon=True)
            for number, source in enumerate(self.sources)
        ]
        for thread in threads:
            thread.start()
        try:
            self._serve(len(threads))
        finally:
            self._stop()
            for thread, source in zip(threads, self.sources, strict=True):
                if source.can_stop:
                    thread.join()
        if self._raised:
            raise self._raised[0]
        return self.outcome

    def _serve(self, running: int) -> None:
        """Compute what the lanes ask for, until they have ended."""
        while running and not self._stopped.is_set():
            request = self._requests.get()
            if request is None:
                running -= 1
                continue
            block, data, future = request
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = self.function.compute(block, data)
            except Exception as error:
                future.set_exception(error)
            except BaseException:
                # the lane must not wait for ever
                future.set_exception(CancelledError())
                raise
            else:
                future.set_result(result)
            # nothing of a block may stay in memory while this waits for the next
            del request, block, data, future
            result = None
            give_memory_back()

    def _stop(self) -> None:
        self._stopped.set()
        self._served.set()
        self._go.set()
        for source in self.sources:
            source.stop()
        while True:
            try:
                request = self._requests.get_nowait()
            except Empty:
                return
            if request is not None:
                request[2].cancel()

    def _lane(self, source: Source, first: bool, known: frozenset[int]) -> None:
        try:
            if not first:
                self._go.wait()
            while not self._stopped.is_set() and (number := source.acquire()) is not None:
                done = self._do(self.grid.numbered(number))
                source.release(number, done)
                if done:
                    self._go.set()
                elif not self._go.is_set() and self._is_systematic(number, known):
                    self._end(Outcome.SYSTEMATIC)
        except CancelledError:
            pass
        except BaseException as error:
            self._raised.append(error)
            self._stopped.set()
        finally:
            source.close()
            if first:
                self._go.set()
            self._requests.put(None)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._stopped.set()

    def _is_systematic(self, number: int, known: frozenset[int]) -> bool:
        if number not in known:
            self._failed.add(number)
        return len(self._failed) >= SYSTEMATIC

    def _do(self, block: Block) -> bool:
        try:
            data = self.function.read(block)
            if data is None:
                return True
            result = self._compute(block, data)
            del data
            if not self.current():
                self._stopped.set()
                return False
            self.function.write(block, result)
        except CancelledError:
            raise
        except Exception as error:
            self.record.write_error(block.number, traceback.format_exc())
            if isinstance(error, BrokenWorkerError):
                self._end(Outcome.BROKEN)
            return False
        return True

    def _compute(self, block: Block, data: Any) -> Any:
        future: Future[Any] = Future()
        self._requests.put((block, data, future))
        if self._stopped.is_set():
            future.cancel()
        # an interrupt can hit the main thread after it has taken the request and before it answers
        while not wait([future], SECONDS_TO_NOTICE).done:
            if self._served.is_set():
                raise CancelledError
        return future.result()
