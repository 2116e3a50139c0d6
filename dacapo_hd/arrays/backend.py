"""tensorstore, imported once and never in a forked child of a process that has used it."""

from __future__ import annotations

import os
from typing import Any

_process: int | None = None


def tensorstore() -> Any:
    """Import tensorstore, and refuse to in the forked child of a process that has used it.

    tensorstore's threads do not survive a fork; it would abort the child without a traceback.
    """
    global _process
    if _process not in (None, os.getpid()):
        raise RuntimeError(
            "arrays were opened before this process was forked from its parent, which tensorstore does not allow; "
            "start worker processes by 'spawn' or 'forkserver'"
        )
    import tensorstore

    _process = os.getpid()
    return tensorstore


def reason(error: Exception) -> str:
    """Return what an error says, without the specification that tensorstore appends."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error).split(" [")[0]
