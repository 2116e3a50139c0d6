"""Files of rows: one JSON object per line, each with a checksum."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dacapo_hd.stores.base import Damage, DamageError
from dacapo_hd.stores.rows import CheckpointRow, ScoreRow, StatRow, to_document
from dacapo_hd.stores.writing import cannot_read, end_of_lines

Row = TypeVar("Row", StatRow, ScoreRow, CheckpointRow)

MARK = b', "crc": "'
# not in a text, where a quotation mark has a backslash before it
ITERATION = re.compile(rb'"iteration": (\d+)[,}]')
NAMED_AT_ONCE = 10
DAMAGED = (ValueError, TypeError, RecursionError)


def encode(rows: Sequence[Any]) -> bytes:
    """Write rows as lines; the `crc` at the end is that of the line without it."""
    return b"".join(_encode(row) for row in rows)


def read_lines(path: Path, kind: type[Row]) -> Iterator[tuple[int, bytes, Row | None]]:
    """Yield number, bytes and row of each line; no row where the line is damaged.

    A last line of statistics without its end was being written in a crash and does not count, nor does a file that
    is not there.
    """
    for number, line in _lines(read_bytes(path), kind):
        try:
            yield number, line + b"\n", _decode(line, kind)
        except DAMAGED:
            yield number, line + b"\n", None


def truncated(path: Path, kind: type[Row], iteration: int) -> tuple[bytes, list[int]]:
    """Return a file without the lines of later iterations and those that are damaged, and the numbers of these."""
    kept, damaged = [], []
    for number, line in _lines(read_bytes(path), kind):
        try:
            if _iteration(line, kind) <= iteration:
                kept.append(line + b"\n")
        except DAMAGED:
            damaged.append(number)
    return b"".join(kept), damaged


def _lines(data: bytes, kind: type[Row]) -> Iterator[tuple[int, bytes]]:
    *lines, last = data.split(b"\n")
    # only statistics are appended; a file that is replaced as a whole has lost its end
    if last and kind is not StatRow:
        lines.append(last)
    return enumerate(lines, start=1)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read a file of rows; raises DamageError that names the damaged lines."""
    found = [(number, row) for number, _, row in read_lines(path, kind)]
    damaged = [number for number, row in found if row is None]
    if damaged:
        raise DamageError(*(line_damage(path, number) for number in damaged[:NAMED_AT_ONCE]))
    return [row for _, row in found if row is not None]


def last_row(path: Path, kind: type[Row]) -> Row | None:
    """Read the last whole line alone; None if there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            end = end_of_lines(file)
            start = end_of_lines(file, max(0, end - 1))
            file.seek(start)
            line = file.read(end - start)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_read(path, error) from error
    try:
        return _decode(line.rstrip(b"\n"), kind)
    except DAMAGED:
        return None


def ends_with_line(path: Path) -> bool:
    """Tell whether a file ends with a whole line, or has none; also true for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return end_of_lines(file) == file.seek(0, os.SEEK_END)
    except OSError:
        return True


def line_damage(path: Path, number: int) -> Damage:
    """Describe a damaged line."""
    return Damage(path.parent.name, f"{path}:{number}", "damaged line", "remove it to go on without that row")


def read_bytes(path: Path) -> bytes:
    """Read a file; empty if there is none. Raises UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise cannot_read(path, error) from error


def _encode(row: Any) -> bytes:
    text = json.dumps(to_document(row)).encode()
    return b'%s%s%08x"}\n' % (text[:-1], MARK, zlib.crc32(text))


def _decode(line: bytes, kind: type[Row]) -> Row:
    """Read a line; those of schema 1 have no checksum."""
    return kind(**json.loads((_verified(line) or line).decode()))


def _iteration(line: bytes, kind: type[Row]) -> int:
    """Read only the iteration of a line that has a checksum: a resumed run may have millions of lines."""
    found = ITERATION.search(_verified(line))
    return int(found[1]) if found else _decode(line, kind).iteration


def _verified(line: bytes) -> bytes:
    """Return a line without its checksum; nothing if it has none. Raises ValueError if it is another one."""
    text, mark, checksum = line.rpartition(MARK)
    if not mark:
        return b""
    text += b"}"
    if checksum != b'%08x"}' % zlib.crc32(text):
        raise ValueError
    return text
