"""Work on blocks whose faults are chosen by the test: which block fails, kills its worker, how many times."""

import os
import signal
import time
from pathlib import Path

import attrs
import numpy as np

from dacapo_hd.blockwise import BlockFunction, BlockWork, BrokenWorkerError
from dacapo_hd.errors import UserError


@attrs.frozen
class Sums(BlockWork):
    """Writes the voxels of each block, as a function of their positions, into one file for all blocks.

    `faults` maps a block's number to (what happens, how many times).
    """

    folder: Path
    shape: tuple[int, ...]
    faults: dict = attrs.field(factory=dict)
    open_fault: str | None = None
    seconds: float = 0.0
    version: int = 1

    def identity(self):
        return {"shape": list(self.shape), "version": self.version}

    def open(self):
        self.count("opened", str(os.getpid()))
        if self.open_fault is not None:
            happen(self.open_fault)
        return SumsFunction(self)

    def count(self, kind, text):
        """Append a line to a file, and return how many it has."""
        path = self.folder / kind
        with path.open("a") as file:
            file.write(f"{text}\n")
        return len(path.read_text().splitlines())

    def lines(self, kind):
        path = self.folder / kind
        return path.read_text().splitlines() if path.exists() else []

    def result(self):
        return np.fromfile(self.folder / "result", np.int64).reshape(self.shape)

    def create(self):
        np.full(self.shape, -1, np.int64).tofile(self.folder / "result")
        return self

    def expected(self):
        return np.arange(np.prod(self.shape)).reshape(self.shape) * 7


def happen(fault):
    match fault:
        case "raise":
            raise ValueError("this block is odd")
        case "user error":
            raise UserError("raw.zarr: cannot read: chunk 3 is damaged")
        case "broken":
            raise BrokenWorkerError("the device is lost")
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)


class SumsFunction(BlockFunction):
    def __init__(self, work):
        self.work = work

    def read(self, block):
        fault, times = self.work.faults.get(block.number, (None, 0))
        if fault == "skip":
            return None
        if times and self.work.count(f"tries-{block.number}", "try") <= times:
            happen(fault)
        return np.indices(block.shape) + np.array(block.begin)[:, None, None, None]

    def compute(self, block, data):
        time.sleep(self.work.seconds)
        return np.ravel_multi_index(tuple(data), self.work.shape) * 7

    def write(self, block, result):
        stored = np.memmap(self.work.folder / "result", np.int64, "r+", shape=self.work.shape)
        stored[tuple(slice(b, e) for b, e in zip(block.begin, block.end, strict=True))] = result
        self.work.count("done", str(block.number))
