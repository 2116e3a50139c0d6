"""SIGTERM and Ctrl-C: training ends with a checkpoint, waiting ends at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from dacapo_hd.errors import UserError


class Interrupted(UserError):  # noqa: N818 - nothing went wrong
    """Training was stopped by a signal; the command line exits with 143 (SIGTERM) or 130 (Ctrl-C)."""

    def __init__(self, received: signal.Signals, reached: str) -> None:
        name = "Ctrl-C" if received is signal.SIGINT else received.name
        super().__init__(f"stopped by {name} {reached}; the same command goes on")
        self.exit_code = 128 + received


class SignalledError(BaseException):
    """Unwinds the stack to where the signals are handled; no `except Exception` on the way may take it."""


class Signals:
    """Turns SIGTERM and SIGINT into `Interrupted` while the context lasts, in the main thread.

    A signal unwinds the stack at once, but inside `deferred` it only sets `received`: whoever is there finishes what
    must not be torn apart, and calls `stop`. A second Ctrl-C is a KeyboardInterrupt anywhere.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.reached = "before training began"
        self._deferred = False
        self._before: dict[signal.Signals, Any] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._handle)
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._swallowed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            sys.unraisablehook = self._unraisable
        # also one that came too late for this training must not let a sweep go on to the next
        if self.received is not None and (error is None or isinstance(error, SignalledError)):
            raise Interrupted(self.received, self.reached) from None

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let signals wait until `stop`."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside `deferred`: let signals unwind the stack, also one that came before or was swallowed."""
        before, self._deferred = self._deferred, False
        try:
            self.stop()
            yield
            self.stop()
        finally:
            self._deferred = before

    def stop(self) -> None:
        """Unwind the stack if a signal came."""
        if self.received is not None:
            raise SignalledError

    def _swallowed(self, unraisable: sys.UnraisableHookArgs) -> None:
        # C code that calls back, such as numba's compiler, cannot unwind; `stop` does it later
        if unraisable.exc_type is not SignalledError:
            self._unraisable(unraisable)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            if not self._deferred:
                raise SignalledError
        elif number == signal.SIGINT and self.received is signal.SIGINT:
            raise KeyboardInterrupt
