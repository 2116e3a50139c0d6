"""Progress of training: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 20.0
LOSS_SMOOTHING = 0.98


def _bar(text: str, visible: bool) -> Progress:
    """Make a bar on stderr that shows nothing where there is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(text),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (visible and console.is_terminal),
    )


class TrainingProgress:
    """Shows iteration, smoothed losses, iterations per second and time to go; a context manager."""

    def __init__(self, name: str, iterations: int, first: int, visible: bool = True) -> None:
        self.name, self.iterations, self.first = name, iterations, first
        self.losses: dict[str, float] = {}
        self.updates = 0
        self.visible = visible
        self.started = self.printed = time.monotonic()
        self.bar = _bar("{task.fields[status]}", visible)
        self.task = self.bar.add_task(name, total=iterations, completed=first, status="")

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, iteration: int, losses: Mapping[str, float]) -> None:
        """Report the losses of an iteration (counted from 1)."""
        self.updates += 1
        # at first the plain mean: what the first iterations lost would weigh too much for long
        kept = min(LOSS_SMOOTHING, 1 - 1 / self.updates)
        for name, value in losses.items():
            self.losses[name] = kept * self.losses.get(name, value) + (1 - kept) * value
        status = self._status(iteration)
        self.bar.update(self.task, completed=iteration, status=status)
        self._print_line(iteration, status)

    def note(self, text: str) -> None:
        """Print a line that stays, such as the result of a validation."""
        if self.visible:
            self.bar.console.print(f"{self.name}: {text}", highlight=False, markup=False, soft_wrap=True)

    def _status(self, iteration: int) -> str:
        speed = (iteration - self.first) / max(1e-9, time.monotonic() - self.started)
        parts = " ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        return f"{parts} {speed:.2f} it/s"

    def _print_line(self, iteration: int, status: str) -> None:
        now = time.monotonic()
        last = iteration == self.iterations
        if (
            not self.visible
            or self.bar.console.is_terminal
            or (now - self.printed < SECONDS_BETWEEN_LINES and not last)
        ):
            return
        self.printed = now
        done = max(1, iteration - self.first)
        remaining = (self.iterations - iteration) * (now - self.started) / done
        print(f"{self.name}: {iteration}/{self.iterations} {status}, {remaining:.0f} s to go", file=sys.stderr)


class BlockProgress:
    """Shows how many blocks or crops are done; call it with (done, total)."""

    def __init__(self, name: str, unit: str, visible: bool = True) -> None:
        self.name = name
        self.bar = _bar(unit, visible)
        self.task = self.bar.add_task(name, total=None)

    def __enter__(self) -> BlockProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)
