"""Several workers, here or on a cluster: started, watched and replaced; daisy's server hands out the blocks."""

from __future__ import annotations

import pickle
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.blockwise.compute import Compute, Job, how_it_ended, python_command
from dacapo_hd.blockwise.failures import systematic_error
from dacapo_hd.blockwise.lanes import Outcome
from dacapo_hd.blockwise.progress import VoxelProgress
from dacapo_hd.blockwise.record import Record
from dacapo_hd.blockwise.session import CAREFUL, FIRST, USUAL, Session
from dacapo_hd.blockwise.work import BlocksFailedError, BlockWork
from dacapo_hd.errors import UserError

POLL_SECONDS = 0.02
SECONDS_TO_START = 120.0
# workers that die one after the other while no block is decided: with none done so far, later, and before they opened
DEATHS_AT_FIRST, DEATHS, DEATHS_UNOPENED = 3, 30, 3


class Server:
    """daisy's server in a process of its own; `decided` counts the blocks that are done or given up."""

    def __init__(self, session: Session, host: str | None) -> None:
        command = python_command("dacapo_hd.blockwise.server", session.folder, host or "")
        self.log = session.folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        self.session = session
        self.done = self.failed = 0
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def decided(self) -> int:
        return self.done + self.failed

    def wait(self) -> None:
        """Wait until the server listens; RuntimeError if it never does."""
        deadline = time.monotonic() + SECONDS_TO_START
        while not self.session.address.exists():
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the scheduler did not start\n{self.log.read_text()}")
            time.sleep(POLL_SECONDS / 4)

    def check(self) -> None:
        """Raise RuntimeError if the server has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the scheduler {how_it_ended(self.process.returncode)}\n{self.log.read_text()}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def know(self, done: int, failed: int) -> None:
        """Take over counts, which never fall, unless they are older than those known."""
        self.done, self.failed = max(self.done, done), max(self.failed, failed)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.fullmatch(rb"(\d+) (\d+)\n", line)
            if found:
                self.know(int(found[1]), int(found[2]))


@attrs.define(eq=False)
class Workers:
    """The workers of one session; `alone`: each keeps to one block at a time, blocks with an error are left out."""

    work: BlockWork
    record: Record
    compute: Compute
    retries: int
    progress: VoxelProgress
    alone: bool = False
    _settled: NDArray[np.uint8] = attrs.field(init=False)
    _session: Session = attrs.field(init=False)
    _server: Server = attrs.field(init=False)
    _jobs: dict[int, Job] = attrs.field(factory=dict, init=False)
    _started: int = attrs.field(default=0, init=False)
    _replaced: int = attrs.field(default=0, init=False)
    _deaths: int = attrs.field(default=0, init=False)
    _unopened: int = attrs.field(default=0, init=False)
    _decided: int = attrs.field(default=0, init=False)
    _refused: bool = attrs.field(default=False, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def run(self) -> None:
        """Work until each block is done or given up; raises UserError when workers cannot work."""
        self._settled = np.array(self.record.done())
        if self.alone:
            self._settled[list(self.record.failed_before())] = 1
        before = int(self._settled.sum())
        self._session = Session(self.record.session())
        try:
            self._session.write_task(self.work, self.record.grid, self.retries)
            self._settled.tofile(self._session.folder / "done")
            with self._serving():
                while not self._over:
                    self._fill(len(self.record.grid) - before)
                    time.sleep(POLL_SECONDS)
                    self._server.check()
                    self._watch(before)
        finally:
            self.record.collect()

    @contextmanager
    def _serving(self) -> Iterator[None]:
        self._server = Server(self._session, self.compute.address())
        try:
            self._server.wait()
            yield
        finally:
            try:
                # whoever outlives this finds no session, and writes nothing
                (self._session.folder / "task.pickle").unlink(missing_ok=True)
                for job in self._jobs.values():
                    job.stop()
            finally:
                self._server.stop()

    @property
    def _begun(self) -> bool:
        """Whether some block has shown that the work can be done."""
        return self.alone or self._server.done > 0

    def _count(self) -> None:
        """Take over what daisy's files say is done or given up: its reports come late, and not of the last blocks."""
        tracked = self._session.folder / "tracking"
        done = np.fromfile(tracked / "done/c/0/0/0", np.uint8) > 0
        failures = np.fromfile(tracked / "failures/c/0/0/0", np.uint32)
        open_before = self._settled == 0
        given_up = ~done & (failures > self.retries)
        self._server.know(int((done & open_before).sum()), int((given_up & open_before).sum()))

    def _watch(self, before: int) -> None:
        self._take_note(before)
        for number, job in list(self._jobs.items()):
            code = job.exit_code()
            if code is not None:
                del self._jobs[number]
                self._count()
                self._take_note(before)
                self._ended(number, code)

    def _take_note(self, before: int) -> None:
        if self._server.decided != self._decided:
            self._decided = self._server.decided
            self._deaths = 0
            self.progress(int(self.record.done().sum()) + self._server.done)
            # once nothing is left, also workers that have just been started cannot reach the server
            self._over = before + self._decided >= len(self.record.grid)

    def _ended(self, number: int, code: int) -> None:
        if self._over or code == Outcome.FINISHED.value:
            return
        if code == Outcome.SYSTEMATIC.value:
            raise systematic_error(self.record)
        log = self._log(number)
        if code == Outcome.NOT_OPENED.value:
            problems = pickle.loads(self._session.failure(number).read_bytes())
            if self._server.done == 0:
                raise UserError(*problems)
            what = f"worker {number} could not start: {problems[0]}"
        else:
            what = f"worker {number} {how_it_ended(code)}"
        self._replaced += self._server.done > 0
        self._deaths += 1
        self._unopened = 0 if self._session.opened(number).exists() else self._unopened + 1
        self.progress.note(f"{what}; its log is {log}")
        limit = DEATHS if self._begun else DEATHS_AT_FIRST
        if self._deaths >= limit or (self._unopened >= DEATHS_UNOPENED and not self._jobs):
            last = _last_line(log)
            raise BlocksFailedError(
                f"{self._deaths} workers ended one after the other, the last one like this: {what}"
                f"{f' ({last})' if last else ''}; its log is {log}; the same command goes on"
            )

    def _fill(self, remaining: int) -> None:
        """Start workers: one until a block is done, then all, but not more than there are blocks."""
        first = not self._begun
        wanted = 1 if first else min(self.compute.workers, remaining - self._decided)
        while len(self._jobs) < wanted and self._unopened < DEATHS_UNOPENED and not (self._refused and self._jobs):
            mode = FIRST if first else CAREFUL if self.alone or self._replaced else USUAL
            self._replaced -= mode == CAREFUL and self._replaced > 0
            number = self._started
            self._started += 1
            command = python_command("dacapo_hd.blockwise.worker", self._session.folder, number, mode)
            try:
                self._jobs[number] = self.compute.start(command, self._log(number), f"dacapo_hd_{number}")
            except UserError as error:
                if not self._jobs:
                    raise
                self._refused = True
                self.progress.note(f"{error}; goes on with {len(self._jobs)} workers")

    def _log(self, number: int) -> Path:
        folder = self.record.folder / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"worker-{number}.log"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else ""
