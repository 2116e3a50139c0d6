"""The right to train a run, held by one process at a time and kept alive by a heartbeat."""

from __future__ import annotations

import datetime
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.stores.process import is_alive, machine_id, process_start

logger = logging.getLogger(__name__)


class HeldError(UserError):
    """Another process holds the run, or has taken it over; the command line exits with 3."""

    exit_code = 3


@attrs.frozen
class Holder:
    """Who holds a run. `machine` tells machines and process namespaces apart; `beat` changes with each heartbeat.

    Clocks of different hosts are never compared: a holder elsewhere is dead when its `beat` stands still for long
    enough by the watcher's own clock. `since` is for people only.
    """

    token: str
    host: str
    machine: str
    pid: int
    process_start: str
    since: str
    beat: int = 0

    @classmethod
    def here(cls) -> Holder:
        """Describe this process, with a new token."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        pid = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), machine_id(), pid, process_start(pid), now)

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"

    def lives(self) -> bool | None:
        """Tell at once whether the process lives, where that can be seen from here; None elsewhere."""
        return is_alive(self.pid, self.process_start) if self.machine == machine_id() else None


@attrs.frozen
class Heartbeat:
    """How often a holder shows that it lives, and for how long it may stand still until another takes over."""

    seconds: float = 5.0
    patience_seconds: float = 30.0


class LeaseBackend(Protocol):
    """Where the holder of one run is kept. Each operation is atomic; all raise UserError when the store is away."""

    def read(self) -> Holder | None:
        """Return who holds the run; None if nobody does."""

    def take(self, seen: Holder | None, holder: Holder) -> bool:
        """Put `holder` in the place of the one that was seen; False if meanwhile it is another, or has another beat."""

    def beat(self, holder: Holder) -> bool:
        """Change the holder's beat; False if it holds the run no more. Does not wait long: it is called again."""

    def release(self, holder: Holder) -> None:
        """Let the run go; nothing happens if the holder has lost it."""


class Lease(Protocol):
    """A run that is held until the context that gave this ends."""

    def require_held(self) -> None:
        """Raise HeldError if another process has taken the run over, as after a long suspension of this one."""


@contextmanager
def hold(run: str, backend: LeaseBackend, heartbeat: Heartbeat | None = None) -> Iterator[Lease]:
    """Hold a run in a context, with a heartbeat in the background; HeldError while another living process has it.

    The lock of a dead process is taken over: at once on the same machine, and where its pid says nothing after its
    beat has stood still for `patience_seconds`.
    """
    heartbeat = heartbeat or Heartbeat()
    holder = Holder.here()
    _take(run, backend, holder, heartbeat)
    lease = _HeldLease(run, backend, holder, heartbeat)
    lease.start()
    try:
        yield lease
    finally:
        lease.end()


def _take(run: str, backend: LeaseBackend, holder: Holder, heartbeat: Heartbeat) -> None:
    while True:
        found = backend.read()
        if found is not None and not _is_gone(run, backend, found, heartbeat):
            raise HeldError(f"run {run!r} is being trained by {found}; wait for it or stop it")
        # False when another process was faster: then that one is looked at
        if backend.take(found, holder):
            return


def _is_gone(run: str, backend: LeaseBackend, found: Holder, heartbeat: Heartbeat) -> bool:
    """Tell whether a holder is dead, or holds the run no more; waits where only its heartbeat can tell."""
    lives = found.lives()
    if lives is not None:
        return not lives
    wait = heartbeat.patience_seconds
    logger.warning("run %r was being trained by %s; looking for its heartbeat, up to %.0f s", run, found, wait)
    pause = heartbeat.seconds / 5
    # pauses are counted, and not what a clock says, so that a suspension of this process is no proof
    for _ in range(max(1, round(heartbeat.patience_seconds / pause))):
        time.sleep(pause)
        now = backend.read()
        if now is None or now.token != found.token:
            return True
        if now.beat != found.beat:
            return False
    return True


class _HeldLease:
    """A lease that this process has, with the thread of its heartbeat."""

    def __init__(self, run: str, backend: LeaseBackend, holder: Holder, heartbeat: Heartbeat) -> None:
        self._run, self._backend, self._holder, self._heartbeat = run, backend, holder, heartbeat
        self._confirmed = _clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat of {run}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def require_held(self) -> None:
        asked = _clock()
        try:
            found = self._backend.read()
        except UserError:
            # nobody can have taken over yet what was held a moment ago
            if asked - self._confirmed < self._heartbeat.patience_seconds / 2:
                return
            raise
        if found is not None and found.token == self._holder.token:
            self._confirmed = asked
            return
        by = f"was taken over by {found}" if found else "is not held any more: it was taken over, removed or renamed"
        raise HeldError(
            f"run {self._run!r} {by}, while this process (pid {self._holder.pid} on {self._holder.host}) stood still; "
            "it stops here and writes nothing more"
        )

    def end(self) -> None:
        # a child that was forked has inherited the context, but not the lease
        if os.getpid() != self._holder.pid:
            return
        self._ended.set()
        self._thread.join(self._heartbeat.seconds)
        try:
            self._backend.release(self._holder)
        except UserError as error:
            logger.warning("run %r stays locked until this process has ended: %s", self._run, error)

    def _beat(self) -> None:
        failing = False
        while not self._ended.wait(self._heartbeat.seconds):
            asked = _clock()
            try:
                if not self._backend.beat(self._holder):
                    return
            except Exception as error:
                # the next beat may come through; until then `require_held` decides
                if not failing:
                    logger.warning("no heartbeat for run %r: %s", self._run, error)
                failing = True
            else:
                self._confirmed, failing = asked, False


def _clock() -> float:
    """Return seconds that also pass while the machine sleeps, where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
