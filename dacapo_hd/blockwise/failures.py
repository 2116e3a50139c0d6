"""Blocks that could not be done, in words."""

from __future__ import annotations

from itertools import islice

from dacapo_hd.blockwise.grid import Block
from dacapo_hd.blockwise.record import Record
from dacapo_hd.blockwise.work import BlocksFailedError
from dacapo_hd.geometry import format_box

LISTED = 20


def systematic_error(record: Record) -> BlocksFailedError:
    """Word that the first blocks failed and the others were not tried."""
    tried = [record.grid.numbered(number) for number in sorted(record.failed_before())]
    lines = [_line(block, record) for block in tried[:LISTED]]
    return BlocksFailedError("stopped because the first blocks failed one after the other", *lines)


def failed_error(record: Record, retries: int) -> BlocksFailedError | None:
    """Word which blocks are not done, None if all are."""
    count = len(record.grid) - int(record.done().sum())
    if not count:
        return None
    lines = [_line(block, record) for block in islice(record.remaining(), LISTED)]
    if count > LISTED:
        lines.append(f"and {count - LISTED} more; all are in {record.folder / 'errors'}")
    return BlocksFailedError(
        f"{count} of {len(record.grid)} blocks failed, each {retries + 1} times; the others are done; "
        "the same command tries these again",
        *lines,
    )


def _line(block: Block, record: Record) -> str:
    place = f"block {block.number} (voxels {format_box(block.begin, block.end)})"
    file = record.error_file(block.number)
    try:
        lines = file.read_text().strip().splitlines()
    except FileNotFoundError:
        how = "the worker died each time, and also when it had this block alone"
        return f"{place}: {how}; the logs are in {record.folder / 'logs'}"
    reason = lines[-1].removeprefix("dacapo_hd.errors.UserError: ") if lines else "no message"
    return f"{place}: {reason}; traceback in {file}"
