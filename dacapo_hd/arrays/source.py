"""The bytes of a Zarr array: the one module that talks to tensorstore."""

from __future__ import annotations

import os
from typing import Any

DRIVERS = {2: "zarr", 3: "zarr3"}

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


class ZarrSource:
    """A Zarr array seen as ([c,] z, y, x), opened at the first use in each process.

    `axes` names the stored axes in their order ("t", "c", "z", "y", "x"); a missing z is inserted, t is dropped.
    """

    def __init__(self, folder: str, zarr_format: int, axes: tuple[str, ...]) -> None:
        self.folder, self.zarr_format, self.axes = folder, zarr_format, axes
        self._handle: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrSource, (self.folder, self.zarr_format, self.axes)

    def handle(self) -> Any:
        """Return the `tensorstore.TensorStore` with the axes ([c,] z, y, x)."""
        # threads that race here each open the array, and one handle wins: harmless
        if self._handle is None or _process != os.getpid():
            self._handle = self._open()
        return self._handle

    def _open(self) -> Any:
        ts = tensorstore()
        spec = {"driver": DRIVERS[self.zarr_format], "kvstore": {"driver": "file", "path": self.folder}}
        handle, axes = ts.open(spec).result(), self.axes
        if "t" in axes:
            handle = handle[ts.d[axes.index("t")][0]]
            axes = tuple(axis for axis in axes if axis != "t")
        wanted = [axis for axis in "czyx" if axis in axes]
        handle = handle.transpose([axes.index(axis) for axis in wanted])
        return handle if "z" in axes else handle[(..., ts.newaxis, slice(None), slice(None))]


def reason(error: Exception) -> str:
    """Return what an error says, without the specification that tensorstore appends."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}"
    return str(error).split(" [")[0]
