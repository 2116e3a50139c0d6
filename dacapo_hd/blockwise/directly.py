"""Work on blocks in memory: nothing is recorded and nothing is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from dacapo_hd.blockwise.grid import Block
from dacapo_hd.blockwise.work import BlockFunction


def run_directly(
    function: BlockFunction, blocks: Iterable[Block], progress: Callable[[int], None] = lambda done: None
) -> None:
    """Do blocks in this thread: one is read ahead and one written behind. The first exception passes through.

    `progress` is called with the number of blocks done.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming = ((block, reader.submit(function.read, block)) for block in blocks)
        ahead = next(coming, None)
        writing: Future[None] | None = None
        done = 0
        while ahead is not None:
            block, reading = ahead
            data = reading.result()
            ahead = next(coming, None)
            result = None if data is None else function.compute(block, data)
            if writing is not None:
                writing.result()
                done += 1
                progress(done)
            writing = writer.submit(_write, function, block, result, data is None)
        if writing is not None:
            writing.result()
            progress(done + 1)


def _write(function: BlockFunction, block: Block, result: object, nothing: bool) -> None:
    if not nothing:
        function.write(block, result)
