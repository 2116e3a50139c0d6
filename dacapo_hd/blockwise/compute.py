"""Where workers run."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any, ClassVar

import attrs

from dacapo_hd.blockwise.session import WITH_PARENT
from dacapo_hd.config import Component, optional, positive
from dacapo_hd.errors import UserError

SECONDS_TO_STOP = 10.0


class Job(ABC):
    """A worker that was started somewhere."""

    @abstractmethod
    def exit_code(self) -> int | None:
        """Return None while it waits or runs; negative for a signal."""

    @abstractmethod
    def stop(self) -> None:
        """End it, wherever it is."""


class Compute(Component, ABC):
    """Where workers run, and how many."""

    kind: ClassVar[str] = "compute"
    workers: int

    @abstractmethod
    def address(self) -> str | None:
        """Return the address of this machine at which workers reach it; None to find it out."""

    @abstractmethod
    def start(self, command: list[str], log: Path, name: str) -> Job:
        """Start a worker; UserError when that is refused."""

    def inside(self) -> bool:
        """Tell whether one worker inside this process is meant."""
        return False


@attrs.frozen
class Local(Compute):
    """Processes of this machine; one worker needs none."""

    workers: int = attrs.field(default=1, validator=positive)

    def address(self) -> str | None:
        return "127.0.0.1"

    def inside(self) -> bool:
        return self.workers == 1

    def start(self, command: list[str], log: Path, name: str) -> Job:
        threads = str(max(1, (os.cpu_count() or 1) // self.workers))
        shared = {key: os.environ.get(key, threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, WITH_PARENT],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **shared},
                # Ctrl-C is for the process that started it
                start_new_session=True,
            )
        return LocalJob(process)


@attrs.frozen(eq=False)
class LocalJob(Job):
    process: subprocess.Popen[bytes]

    def exit_code(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@attrs.frozen(kw_only=True)
class _Cluster(Compute):
    """Jobs of a cluster's scheduler, each one worker.

    `command` is the shell command of a job; `{worker}` in it stands for the worker's own command, so that it can load
    modules before or run it in a container. `options` are given to the scheduler as they are.
    """

    submit: ClassVar[str]
    cancel: ClassVar[str]
    submitted: ClassVar[str]

    workers: int = attrs.field(validator=positive)
    queue: str | None = None
    memory_gb: float | None = attrs.field(default=None, validator=optional(positive))
    time_hours: float | None = attrs.field(default=None, validator=optional(positive))
    cpus: int | None = attrs.field(default=None, validator=optional(positive))
    gpus: int | None = attrs.field(default=None, validator=optional(positive))
    command: str = attrs.field(default="{worker}")
    options: tuple[str, ...] = ()
    host: str | None = None

    @command.validator
    def _names_the_worker(self, attribute: attrs.Attribute[str], value: str) -> None:
        if "{worker}" not in value:
            raise ValueError(f"must contain {{worker}}, which stands for the worker's command, got {value!r}")

    def address(self) -> str | None:
        return self.host

    @abstractmethod
    def arguments(self, shell_command: str, log: Path, name: str) -> list[str]:
        """Return the command that submits a job and waits for its end."""

    def start(self, command: list[str], log: Path, name: str) -> Job:
        shell_command = self.command.replace("{worker}", shlex.join(command))
        errors = tempfile.TemporaryFile()  # noqa: SIM115 the job closes it
        try:
            process = subprocess.Popen(
                self.arguments(shell_command, log, name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise UserError(
                f"{self.submit} is not a command of this machine; start this where jobs are submitted"
            ) from None
        return ClusterJob(process, errors, self._job_id(process, errors), self.cancel)

    def _job_id(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
        """Read the job's id from what the scheduler prints; UserError with its text when it refuses the job."""
        assert process.stdout is not None
        printed = b""
        while line := process.stdout.readline():
            printed += line
            found = re.search(self.submitted, line.decode(errors="replace"))
            if found:
                return found[1]
        code = process.wait()
        errors.seek(0)
        text = " ".join((errors.read() + printed).decode(errors="replace").split())
        raise UserError(f"{self.submit} refused the job (exit code {code}): {text or 'it says nothing'}")


@attrs.frozen(eq=False)
class ClusterJob(Job):
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    job_id: str
    cancel: str

    def exit_code(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        if self.process.poll() is None:
            subprocess.run([self.cancel, self.job_id], check=False, capture_output=True, timeout=60)
            try:
                self.process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@attrs.frozen(kw_only=True)
class Slurm(_Cluster):
    """Jobs of Slurm, submitted by `sbatch --wait`."""

    submit: ClassVar[str] = "sbatch"
    cancel: ClassVar[str] = "scancel"
    submitted: ClassVar[str] = r"^(\d+)"

    def arguments(self, shell_command: str, log: Path, name: str) -> list[str]:
        asked = [f"--job-name={name}", f"--output={log}", "--ntasks=1", "--open-mode=truncate"]
        asked += [f"--partition={self.queue}"] if self.queue else []
        asked += [f"--mem={round(self.memory_gb * 1024)}M"] if self.memory_gb else []
        asked += [f"--time={_minutes(self.time_hours)}"] if self.time_hours else []
        asked += [f"--cpus-per-task={self.cpus}"] if self.cpus else []
        asked += [f"--gpus={self.gpus}"] if self.gpus else []
        return [self.submit, "--wait", "--parsable", *asked, *self.options, f"--wrap={shell_command}"]


@attrs.frozen(kw_only=True)
class Lsf(_Cluster):
    """Jobs of LSF, submitted by `bsub -K`."""

    submit: ClassVar[str] = "bsub"
    cancel: ClassVar[str] = "bkill"
    submitted: ClassVar[str] = r"Job <(\d+)>"

    def arguments(self, shell_command: str, log: Path, name: str) -> list[str]:
        asked = ["-J", name, "-oo", str(log)]
        asked += ["-q", self.queue] if self.queue else []
        if self.memory_gb:
            megabytes = round(self.memory_gb * 1024)
            asked += ["-M", f"{megabytes}MB", "-R", f"rusage[mem={megabytes}MB]"]
        asked += ["-W", str(_minutes(self.time_hours))] if self.time_hours else []
        asked += ["-n", str(self.cpus), "-R", "span[hosts=1]"] if self.cpus else []
        asked += ["-gpu", f"num={self.gpus}"] if self.gpus else []
        return [self.submit, "-K", *asked, *self.options, shell_command]


def _minutes(hours: float) -> int:
    return max(1, round(hours * 60))


def how_it_ended(exit_code: int) -> str:
    """Word an exit code for the user."""
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number in set(signal.Signals):
        hint = "; it may have needed more memory than there is" if number == signal.SIGKILL else ""
        return f"was killed by {signal.Signals(number).name}{hint}"
    return f"ended with exit code {exit_code}"


def python_command(module: str, *arguments: Any) -> list[str]:
    """Return the command that runs one of our modules with this Python."""
    import sys

    return [sys.executable, "-m", module, *map(str, arguments)]
