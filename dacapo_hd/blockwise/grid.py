"""Boxes of voxels cut into blocks, by arithmetic: nothing is stored per block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import attrs

Shape = tuple[int, ...]


@attrs.frozen
class Block:
    """A box of voxels from `begin` to `end` (excluded), with its place in the grid of blocks."""

    number: int
    index: Shape
    begin: Shape
    end: Shape

    @property
    def shape(self) -> Shape:
        return tuple(e - b for b, e in zip(self.begin, self.end, strict=True))


@attrs.frozen
class BlockGrid:
    """Cuts the box from `begin` to `end` at every `length` voxels, counted from `origin`, on each axis.

    The first and the last block of an axis may be shorter. Blocks are numbered in C order.
    """

    begin: Shape
    end: Shape
    length: Shape
    origin: Shape

    def __attrs_post_init__(self) -> None:
        if not all(b < e for b, e in zip(self.begin, self.end, strict=True)):
            raise ValueError(f"the box {self.begin} to {self.end} is empty")
        if not all(length > 0 for length in self.length):
            raise ValueError(f"blocks of {self.length} voxels are empty")

    @classmethod
    def over(
        cls,
        shape: Sequence[int],
        block_shape: Sequence[int],
        chunk: Sequence[int] = (1, 1, 1),
        chunk_origin: Sequence[int] = (0, 0, 0),
    ) -> BlockGrid:
        """Cut a volume of `shape` into blocks of about `block_shape` that never share a chunk.

        A block is a whole number of chunks, at least one.
        """
        lengths = tuple(max(size // c, 1) * c for size, c in zip(block_shape, chunk, strict=True))
        return cls((0,) * len(lengths), tuple(shape), lengths, tuple(chunk_origin))

    @property
    def shape(self) -> Shape:
        """The number of blocks along each axis."""
        spans = zip(self._first(), self.end, self.length, strict=True)
        return tuple(-(-(end - first) // length) for first, end, length in spans)

    def __len__(self) -> int:
        return prod(self.shape)

    @property
    def voxels(self) -> int:
        """How many voxels the blocks have together."""
        return prod(e - b for b, e in zip(self.begin, self.end, strict=True))

    def block(self, index: Sequence[int]) -> Block:
        """Return the block at a place in the grid of blocks."""
        shape = self.shape
        if not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
            raise IndexError(f"no block {tuple(index)} in a grid of {shape} blocks")
        number = 0
        for i, n in zip(index, shape, strict=True):
            number = number * n + i
        lows = [first + i * length for first, i, length in zip(self._first(), index, self.length, strict=True)]
        begin = tuple(max(low, b) for low, b in zip(lows, self.begin, strict=True))
        end = tuple(min(low + length, e) for low, length, e in zip(lows, self.length, self.end, strict=True))
        return Block(number, tuple(index), begin, end)

    def numbered(self, number: int) -> Block:
        """Return the block with a number."""
        if not 0 <= number < len(self):
            raise IndexError(f"no block {number} among {len(self)}")
        index: list[int] = []
        rest = number
        for n in reversed(self.shape):
            rest, i = divmod(rest, n)
            index.insert(0, i)
        return self.block(index)

    def __iter__(self) -> Iterator[Block]:
        return (self.numbered(number) for number in range(len(self)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that is equal only for equal grids."""
        return {name: list(value) for name, value in attrs.asdict(self, recurse=False).items()}

    def _first(self) -> Shape:
        """Return where the first block would begin if it were whole."""
        return tuple(
            b - (b - origin) % length for b, origin, length in zip(self.begin, self.origin, self.length, strict=True)
        )
