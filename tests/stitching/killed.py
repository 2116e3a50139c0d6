"""Segments a volume in a process that kills itself: `killed.py FOLDER METHOD PLACE COUNT`.

PLACE is `module.Class.method` or `module.function` below dacapo_hd.stitching; the process ends by SIGKILL when it is
called for the COUNT-th time.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from dacapo_hd.arrays import open_volume
from dacapo_hd.segmentation import ConnectedComponents, Threshold, Watershed
from dacapo_hd.stitching import segment_volume

METHODS = {
    "threshold": Threshold("distance", 0.1),
    "components": ConnectedComponents("distance", 0.1, 26, 20, True),
    "watershed": Watershed("distance", 0.4, 0.0, 20, True, halo_vx=8),
}


def segment(folder: Path, method: str) -> list[Path]:
    return segment_volume(
        open_volume(str(folder / "prediction.zarr")),
        METHODS[method],
        folder / method / "out",
        folder / method / "record",
        block_shape_vx=(16, 16, 16),
        chunk_shape_vx=(16, 16, 16),
    )


def kill_at(place: str, count: int) -> None:
    module_name, *names = place.split(".")
    owner: Any = importlib.import_module(f"dacapo_hd.stitching.{module_name}")
    for name in names[:-1]:
        owner = getattr(owner, name)
    original, calls, lock = getattr(owner, names[-1]), iter(range(1, 10**6)), threading.Lock()

    def call(*arguments: Any, **named: Any) -> Any:
        with lock:
            if next(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, names[-1], call)


if __name__ == "__main__":
    kill_at(sys.argv[3], int(sys.argv[4]))
    segment(Path(sys.argv[1]), sys.argv[2])
