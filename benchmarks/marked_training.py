"""Trainings that say in a shared file what they are doing, for kill_and_resume.py."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

PHASES = ("start-up", "resume", "steps", "statistics", "checkpoint", "pruning", "validation", "scores", "end")


class Marks:
    """A file in shared memory: which phase a training is in, how often it entered each, how long it was there."""

    def __init__(self, path: Path) -> None:
        size = 8 * (1 + 2 * len(PHASES))
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            shared = memoryview(mmap.mmap(file.fileno(), size))
        self._now, self._counts = shared[:8].cast("Q"), shared[8 : 8 + 8 * len(PHASES)].cast("Q")
        self._seconds = shared[8 + 8 * len(PHASES) :].cast("d")

    @property
    def phase(self) -> str:
        return PHASES[self._now[0]]

    def count(self, phase: str) -> int:
        return self._counts[PHASES.index(phase)]

    def mean_seconds(self, phase: str) -> float:
        return self._seconds[PHASES.index(phase)] / max(1, self.count(phase))

    def reset(self) -> None:
        for view in (self._now, self._counts):
            for index in range(len(view)):
                view[index] = 0

    def inside(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that it is marked as a phase while it runs."""
        index = PHASES.index(phase)

        def marked(*arguments: Any, **options: Any) -> Any:
            before, start = self._now[0], time.perf_counter()
            self._counts[index] += 1
            self._now[0] = index
            try:
                return function(*arguments, **options)
            finally:
                self._seconds[index] += time.perf_counter() - start
                self._now[0] = before

        return marked


def train_with_marks(marks: Marks, arguments: list[str]) -> None:
    """Run the command line with its phases marked; this is the process that is killed."""
    from dacapo_hd import manager, session
    from dacapo_hd.cli import main
    from dacapo_hd.training.checkpoint import Checkpoints

    def mark(owner: Any, name: str, phase: str) -> None:
        setattr(owner, name, marks.inside(phase, getattr(owner, name)))

    mark(session.TrainingSession, "_resume", "resume")
    mark(session, "fit", "steps")
    mark(session, "score_network", "validation")
    mark(Checkpoints, "save", "checkpoint")
    mark(Checkpoints, "prune", "pruning")
    train = manager.RunManager.train

    def train_in_marked_store(self: Any, *given: Any, **options: Any) -> None:
        mark(type(self.store), "append_stats", "statistics")
        mark(type(self.store), "write_scores", "scores")
        train(self, *given, **options)
        marks.inside("end", lambda: None)()

    manager.RunManager.train = train_in_marked_store  # type: ignore[method-assign]
    main(arguments)


def train_forked(folder: Path, arguments: list[str]) -> None:
    """Do the same in a process that was forked from one with everything imported, and so starts at once."""
    import torch

    os.setsid()
    os.chdir(folder)
    os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    torch.set_num_threads(1)
    train_with_marks(Marks(folder / "marks"), arguments)


class Training(Protocol):
    """A process that trains."""

    @property
    def pid(self) -> int: ...
    def wait(self, timeout: float) -> int:
        """Return the exit code, negative for a signal."""

    def poll(self) -> int | None: ...


def fresh(folder: Path, arguments: list[str]) -> Training:
    """Start a training in a new interpreter."""
    command = [sys.executable, __file__, str(folder / "marks"), *arguments]
    # one thread: the network is too small for more, and the machine may be busy
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "stderr").open("wb") as errors:
        return subprocess.Popen(command, cwd=folder, env=environment, stderr=errors, start_new_session=True)


def forked(folder: Path, arguments: list[str]) -> Training:
    """Start a training in a fork of a process that has everything imported."""
    return _Forked(folder, arguments)


class _Forked:
    def __init__(self, folder: Path, arguments: list[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["dacapo_hd.session", "dacapo_hd.manager", "dacapo_hd.sampling.pipeline"])
        self.process = context.Process(target=train_forked, args=(folder, arguments))
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def wait(self, timeout: float) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise TimeoutError(f"process {self.pid} does not end")
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode


if __name__ == "__main__":
    train_with_marks(Marks(Path(sys.argv[1])), sys.argv[2:])
