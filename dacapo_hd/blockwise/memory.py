"""How much memory there is, and how glibc keeps what was freed.

Left alone, the peak of a process grows with the number of blocks that it has done.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

# of mallopt, as malloc.h names them
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
MAPPED_BYTES = 2**20
ARENAS = 2
# where a control group, such as that of a cluster's job, limits its processes
GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def physical_bytes() -> int | None:
    """Return the size of the machine's memory; None if the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def usable_bytes() -> int:
    """Return how much memory the processes here may take together at most; 0 if the system does not say."""
    found = physical_bytes() or 0
    try:
        limit = GROUP_LIMIT.read_text().strip()
    except OSError:
        return found
    return min(found, int(limit)) if limit.isdecimal() else found


@cache
def _glibc() -> Any:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "malloc_trim") else None


@cache
def keep_memory_flat() -> None:
    """Let arrays of a block go back to the system when they are freed, for the rest of this process.

    glibc raises the size from which it does so up to 32 MiB, and keeps smaller pieces in an arena for each thread,
    where the next block's do not fit between what is still in use.
    """
    if _glibc() is not None:
        _glibc().mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        _glibc().mallopt(M_ARENA_MAX, ARENAS)


def give_memory_back() -> None:
    """Return the small pieces as well."""
    if _glibc() is not None:
        _glibc().malloc_trim(0)
