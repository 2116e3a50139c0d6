"""What a caller of the engine writes: what to do with a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from dacapo_hd.blockwise.grid import Block
from dacapo_hd.errors import UserError


class BlockWork(ABC):
    """Describes work on blocks; it is pickled and sent to the workers."""

    in_flight: ClassVar[int] = 3
    """How many blocks a worker holds at once: being read, computed and written."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return plain JSON data on which the result depends; a restart with another identity is refused."""

    @abstractmethod
    def open(self) -> BlockFunction:
        """Load what a worker needs, once in each."""


class BlockFunction(ABC):
    """Does the work in a worker. Doing a block twice must give the same result.

    `read` and `write` run in threads, each for several blocks at once; `compute` runs for one block at a time, in the
    worker's main thread. An exception fails the block, which is then tried again.
    """

    @abstractmethod
    def read(self, block: Block) -> Any:
        """Return what `compute` needs; None if there is nothing to do in this block, which is then done."""

    @abstractmethod
    def compute(self, block: Block, data: Any) -> Any:
        """Return what `write` writes."""

    @abstractmethod
    def write(self, block: Block, result: Any) -> None:
        """Store the result; the block counts as done when this has returned."""

    def close(self) -> None:  # noqa: B027 most have nothing to close
        """Release what the worker holds."""


class BrokenWorkerError(Exception):
    """To be raised by a `BlockFunction` whose process can do no further block, such as after a CUDA error.

    The block is tried again by a fresh worker.
    """


class BlocksFailedError(UserError):
    """Blocks that could not be done, after all others were."""

    exit_code = 4
