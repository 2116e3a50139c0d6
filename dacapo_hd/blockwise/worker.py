"""A worker process: `python -m dacapo_hd.blockwise.worker SESSION NUMBER MODE [--with-parent]`."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from dacapo_hd.blockwise.grid import BlockGrid
from dacapo_hd.blockwise.lanes import Lanes, Outcome, Source
from dacapo_hd.blockwise.record import Record
from dacapo_hd.blockwise.session import CAREFUL, FIRST, WITH_PARENT, WORKER_VARIABLE, Session, end_with_parent, write


@attrs.define(eq=False)
class RemoteSource(Source):
    """Gets blocks from daisy's server over a connection of its own: daisy's client holds one block at a time."""

    can_stop: ClassVar[bool] = False

    grid: BlockGrid
    _client: Any = attrs.field(default=None, init=False)
    _held: ExitStack = attrs.field(factory=ExitStack, init=False)
    _block: Any = attrs.field(default=None, init=False)

    def acquire(self) -> int | None:
        if self._client is None:
            self._client = self._connect()
        self._block = self._held.enter_context(self._client.acquire_block())
        if self._block is None:
            return None
        return int(np.ravel_multi_index(tuple(self._block.write_roi.offset), self.grid.shape))

    def release(self, number: int, done: bool) -> None:
        from daisy.v2 import BlockStatus

        self._block.status = BlockStatus.SUCCESS if done else BlockStatus.FAILED
        self._held.close()

    def close(self) -> None:
        # daisy's objects may be dropped by the thread that made them only
        self._held, self._block, self._client = ExitStack(), None, None

    def _connect(self) -> Any:
        import daisy.v2 as daisy

        client = daisy.Client()
        if not client.connected:
            raise ConnectionError(f"cannot reach the scheduler at {client.host}:{client.port}")
        return client


def main(folder: str, number: str, mode: str) -> int:
    """Do blocks until the server has none left; returns the exit code."""
    session = Session(Path(folder))
    os.environ["DAISY_CONTEXT"] = session.address.read_text()
    os.environ[WORKER_VARIABLE] = number
    work, grid, _ = session.read_task()
    try:
        function = work.open()
    except Exception as error:
        write(session.failure(int(number)), _pickled(error))
        traceback.print_exc()
        return Outcome.NOT_OPENED.value
    session.opened(int(number)).touch()
    sources = [RemoteSource(grid) for _ in range(1 if mode == CAREFUL else work.in_flight)]
    record = Record(session.folder.parent, grid)
    lanes = Lanes(function, grid, record, sources, alone=mode == FIRST, current=session.goes_on)
    outcome = lanes.run()
    function.close()
    return outcome.value


def _pickled(error: Exception) -> bytes:
    """Pickle what the user reads of an exception: the problems of a UserError, else its type and text."""
    from dacapo_hd.errors import UserError

    if isinstance(error, UserError):
        return pickle.dumps(error.problems)
    return pickle.dumps((f"{type(error).__name__}: {error}",))


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != WITH_PARENT]
    if WITH_PARENT in sys.argv:
        end_with_parent()
    status = 1
    try:
        status = main(*arguments)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # lanes that wait for the server would keep the process
    os._exit(status)
