"""Which machine and process this is, and whether a process still lives."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from functools import cache
from pathlib import Path

PROC = Path("/proc")
STATE, START = 0, 19  # fields of /proc/PID/stat that follow the command's name
ENDED_STATES = ("Z", "X", "x")


@cache
def machine_id() -> str:
    """Return a text that is equal for processes which see each other by their pids.

    That is one boot of one machine and one namespace of processes. Where this cannot be told, the text is like no
    other, so that nobody is taken for dead because of a pid.
    """
    unknown = f"unknown {uuid.uuid4().hex}"
    if sys.platform == "darwin":
        boot = _output(["sysctl", "-n", "kern.bootsessionuuid"])
        return f"{os.uname().nodename} {boot}" if boot else unknown
    try:
        # /proc may be that of another namespace, where pids are others
        if (PROC / "self").readlink().name != str(os.getpid()):
            return unknown
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        pids = (PROC / "self/ns/pid").readlink().name
        # a namespace of time shifts the times at which processes started; old kernels have none
        time = PROC / "self/ns/time"
        return " ".join([os.uname().nodename, boot, pids, time.readlink().name if time.is_symlink() else ""])
    except OSError:
        return unknown


def process_start(pid: int) -> str:
    """Return when a process of this machine started, in the system's own units; empty if that cannot be told."""
    found = _state_and_start(pid)
    return found[1] if found else ""


def is_alive(pid: int, start: str) -> bool | None:
    """Tell whether the process that had a pid and a start time on this machine still runs; None if it is hidden."""
    found = _state_and_start(pid)
    if found is not None:
        return found[1] == start and not found[0].startswith(ENDED_STATES)
    try:
        # a system may hide the processes of other users
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return None


def _state_and_start(pid: int) -> tuple[str, str] | None:
    if sys.platform == "darwin":
        state, _, start = _output(["ps", "-o", "stat=,lstart=", "-p", str(pid)]).partition(" ")
        return (state, start.strip()) if start else None
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # the command's name is in brackets and may hold brackets and blanks
    fields = text.rpartition(")")[2].split()
    return fields[STATE], fields[START]


def _output(command: list[str]) -> str:
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
