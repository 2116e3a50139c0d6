"""The process that hands out blocks: daisy's server. `python -m dacapo_hd.blockwise.server SESSION HOST`.

It prints one line `DONE FAILED` now and then. Whoever started it kills it when nothing is left.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.blockwise.inside import TASK, daisy_task
from dacapo_hd.blockwise.session import Session, end_with_parent, write

SECONDS_BETWEEN_LINES = 0.05


@attrs.frozen
class Announce:
    """What daisy takes for its only worker: it stores the server's address, for workers that others start."""

    address: Path

    def __call__(self, *, context: Any) -> None:
        write(self.address, context.to_env().encode())
        server = os.getppid()
        while os.getppid() == server:
            time.sleep(0.2)


class Counts:
    """Prints the counts that daisy reports; called very often."""

    def __init__(self) -> None:
        self.printed = 0.0

    def on_start(self, states: Any) -> None: ...

    def on_progress(self, states: Any) -> None:
        now = time.monotonic()
        state = states[TASK]
        last = state.completed_count + state.failed_count == state.total_block_count
        if last or now - self.printed > SECONDS_BETWEEN_LINES:
            self.printed = now
            print(state.completed_count - state.skipped_count, state.failed_count, flush=True)

    def on_finish(self, states: Any) -> None: ...


def main(folder: str, host: str) -> None:
    """Serve until killed."""
    import daisy.v2 as daisy
    import numpy as np
    from daisy.logging import set_log_basedir

    end_with_parent()
    session = Session(Path(folder))
    _, grid, retries = session.read_task()
    done = np.fromfile(session.folder / "done", np.uint8)
    set_log_basedir(session.folder / "daisy")
    task = daisy_task(
        grid,
        done,
        retries,
        process_function=Announce(session.address),
        max_workers=1,
        max_worker_restarts=0,
        tracking_path=str(session.folder / "tracking"),
    )
    daisy.run_blockwise(task, progress=Counts(), host=host or None, summary=False, return_states=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
