"""How benchmarks measure a call."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(call: Callable[[], object], repetitions: int) -> float:
    """Return the least processor time (of all threads) of a call, which load from elsewhere disturbs least."""
    times = []
    for _ in range(repetitions):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)
