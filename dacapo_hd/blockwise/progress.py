"""Progress of work on blocks: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 20.0


class VoxelProgress:
    """Shows blocks done, voxels per second and the time to go; a context manager.

    Blocks that were done before (`done`) do not count for the speed.
    """

    def __init__(self, name: str, blocks: int, voxels: int, done: int, visible: bool) -> None:
        self.name, self.blocks, self.done = name, blocks, done
        self.first, self.voxels_per_block = done, voxels / blocks
        self.visible = visible
        self.started = self.printed = time.monotonic()
        self.console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("blocks {task.fields[speed]}"), TimeElapsedColumn())
        self.bar = Progress(
            TextColumn("{task.description}"),
            *columns,
            TimeRemainingColumn(),
            console=self.console,
            disable=not (visible and self.console.is_terminal),
        )
        self.task = self.bar.add_task(name, total=blocks, completed=done, speed="")

    def __enter__(self) -> VoxelProgress:
        if self.done:
            self.note(f"{self.done} of {self.blocks} blocks were done before")
        self.bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.bar.stop()

    def __call__(self, done: int) -> None:
        """Show that so many blocks are done."""
        self.done = done
        self.bar.update(self.task, completed=done, speed=self._speed())
        now = time.monotonic()
        due = now - self.printed >= SECONDS_BETWEEN_LINES
        if self.visible and due and not self.console.is_terminal:
            self.printed = now
            new = max(1, done - self.first)
            remaining = (self.blocks - done) * (now - self.started) / new
            print(
                f"{self.name}: {done}/{self.blocks} blocks, {self._speed()}, {remaining:.0f} s to go", file=sys.stderr
            )

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if self.visible:
            self.console.print(f"{self.name}: {text}", highlight=False, soft_wrap=True, markup=False)

    def _speed(self) -> str:
        seconds = max(1e-9, time.monotonic() - self.started)
        return f"{(self.done - self.first) * self.voxels_per_block / seconds / 1e6:.2f} Mvoxels/s"
