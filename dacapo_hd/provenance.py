"""Where and how something was made: command, versions, machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dacapo_hd.blockwise.memory import physical_bytes
from dacapo_hd.stores.address import without_credentials

PACKAGES = ("dacapo_hd", "torch", "gunpowder", "funlib.persistence", "numpy", "scipy", "scikit-image", "zarr", "edt")


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """Return plain data about this process and its machine: command, python, platform, packages, hardware."""
    program = Path(command[0]).name if command else ""
    return {
        "command": [program, *map(without_credentials, command[1:])],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(),
        "hardware": {"cpu": _cpu(), "cores": _cores(), "memory_gb": _memory_gb(), "gpus": _gpus()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _cores() -> int:
    """Return how many cores this process may use, which a cluster's scheduler may have limited."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory_gb() -> float | None:
    found = physical_bytes()
    return None if found is None else round(found / 1e9, 1)


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
