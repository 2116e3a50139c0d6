"""The passes over the blocks of a volume: masks alone, or pieces, their links across faces, and the ids of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.blockwise import Block, BlockFunction, BlockGrid, BlockWork
from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, Segmenter
from dacapo_hd.segmentation.objects import Links
from dacapo_hd.segmentation.pieces import Pieces, sums
from dacapo_hd.segmentation.uncertainty import uncertainty_of
from dacapo_hd.stitching.cutting import Cut, Place, cut
from dacapo_hd.stitching.faces import FACES, UPPER, Direction, Face, Rule, faces_towards
from dacapo_hd.stitching.source import Source, Stored
from dacapo_hd.stitching.tables import LINKS, BlockTables

Settings = Mapping[str, Any]


@attrs.frozen(eq=False)
class MaskWork(BlockWork):
    """Segments blocks that need nothing of each other."""

    settings: Settings
    source: Source
    segmenter: Segmenter
    targets: Mapping[str, Volume]

    def identity(self) -> dict[str, Any]:
        return {"pass": "masks", **self.settings}

    def open(self) -> BlockFunction:
        return _Masks(self)


@attrs.frozen(eq=False)
class _Masks(BlockFunction):
    work: MaskWork

    def read(self, block: Block) -> Stored:
        return self.work.source.read(block.begin, block.end)

    def compute(self, block: Block, data: Stored) -> Mapping[str, NDArray[Any]]:
        return self.work.segmenter.segment(self.work.source.prediction(data)).labels

    def write(self, block: Block, result: Mapping[str, NDArray[Any]]) -> None:
        for name, labels in result.items():
            _write(self.work.targets[name], block, labels)


@attrs.frozen(eq=False)
class PiecesWork(BlockWork):
    """Cuts blocks into pieces: their labels go to `targets`, what is known of them into `tables`."""

    settings: Settings
    source: Source
    segmenter: InstanceSegmenter
    grid: BlockGrid
    halo_vx: tuple[int, ...]
    seeds: Mapping[str, Volume]
    targets: Mapping[str, Volume]
    tables: Mapping[str, BlockTables]

    def identity(self) -> dict[str, Any]:
        return {"pass": "pieces", **self.settings}

    def open(self) -> BlockFunction:
        return _Pieces(self)


@attrs.frozen(eq=False)
class _Pieces(BlockFunction):
    work: PiecesWork

    def read(self, block: Block) -> tuple[Stored, dict[str, NDArray[Any]]]:
        begin, end = self._with_halo(block)
        roi = self.work.source.grid.roi_of(begin, [b - a for a, b in zip(begin, end, strict=True)])
        return self.work.source.read(begin, end), {name: seeds.read(roi) for name, seeds in self.work.seeds.items()}

    def compute(self, block: Block, data: tuple[Stored, dict[str, NDArray[Any]]]) -> dict[str, Cut]:
        stored, seeds = data
        place = self._place(block)
        found = {}
        for name in self.work.targets:
            prediction = self.work.source.prediction(stored, name)
            one = cut(self.work.segmenter, prediction, name, place, seeds.get(name), stored.outside)
            found[name] = attrs.evolve(one, pieces=self._with_uncertainty(one, prediction, name, place))
        return found

    def _with_uncertainty(self, found: Cut, prediction: Prediction, name: str, place: Place) -> Pieces:
        core = attrs.evolve(prediction, data=prediction.data[:, *place.core])
        uncertainty = uncertainty_of(core, self.work.source.uncertain(name))
        if uncertainty is None:
            return found.pieces
        return attrs.evolve(found.pieces, uncertainty=sums(found.labels, len(found.pieces), uncertainty.values[name]))

    def write(self, block: Block, result: dict[str, Cut]) -> None:
        for name, found in result.items():
            _write(self.work.targets[name], block, found.labels)
            self.work.tables[name].write_pieces(block.number, found.pieces, found.faces)

    def _with_halo(self, block: Block) -> tuple[tuple[int, ...], tuple[int, ...]]:
        begin = tuple(max(b - halo, 0) for b, halo in zip(block.begin, self.work.halo_vx, strict=True))
        spans = zip(block.end, self.work.halo_vx, self.work.grid.end, strict=True)
        return begin, tuple(min(e + halo, last) for e, halo, last in spans)

    def _place(self, block: Block) -> Place:
        first, _ = self._with_halo(block)
        core = tuple(slice(b - f, e - f) for b, e, f in zip(block.begin, block.end, first, strict=True))
        return Place(core, block.begin, self.work.grid.end, tuple(filter(lambda face: self._inner(block, face), FACES)))

    def _inner(self, block: Block, face: Face) -> bool:
        axis, side = face
        return block.index[axis] + (1 if side == UPPER else -1) in range(self.work.grid.shape[axis])


@attrs.frozen(eq=False)
class LinksWork(BlockWork):
    """Finds out which pieces of a block and of those after it belong together."""

    settings: Settings
    grid: BlockGrid
    rule: Rule
    tables: Mapping[str, BlockTables]

    def identity(self) -> dict[str, Any]:
        return {"pass": "links", **self.settings}

    def open(self) -> BlockFunction:
        return _Links(self)


@attrs.frozen(eq=False)
class _Links(BlockFunction):
    work: LinksWork

    def read(self, block: Block) -> list[tuple[Direction, int]]:
        """Return the blocks after this one, each with its direction and number."""
        found = []
        for direction in self.work.rule.directions():
            index = [i + step for i, step in zip(block.index, direction, strict=True)]
            if all(0 <= i < n for i, n in zip(index, self.work.grid.shape, strict=True)):
                found.append((direction, self.work.grid.block(index).number))
        return found

    def compute(self, block: Block, data: list[tuple[Direction, int]]) -> dict[str, Links]:
        return {name: self._of_class(tables, block.number, data) for name, tables in self.work.tables.items()}

    def write(self, block: Block, result: dict[str, Links]) -> None:
        for name, links in result.items():
            self.work.tables[name].write_links(block.number, links)

    def _of_class(self, tables: BlockTables, number: int, others: list[tuple[Direction, int]]) -> Links:
        offsets, sizes = tables.offsets(), tables.sizes(number)
        found = [Links()]
        for direction, other in others:
            mine, theirs = faces_towards(direction)
            there = tables.sizes(other)
            links = self.work.rule.links(
                tables.read_face(number, mine),
                tables.read_face(other, theirs),
                direction,
                (sizes[0], there[0]),
                (sizes[1], there[1]),
            )
            first = offsets[[number, other]]
            found.append(Links(links.same + first, links.touching + first, links.areas))
        return Links(*(np.concatenate([getattr(links, name) for links in found]) for name in LINKS))


@attrs.frozen(eq=False)
class IdsWork(BlockWork):
    """Replaces the numbers of pieces by the ids of objects."""

    settings: Settings
    pieces: Mapping[str, Volume]
    targets: Mapping[str, Volume]
    tables: Mapping[str, BlockTables]

    def identity(self) -> dict[str, Any]:
        return {"pass": "ids", **self.settings}

    def open(self) -> BlockFunction:
        return _Ids(self)


@attrs.frozen(eq=False)
class _Ids(BlockFunction):
    work: IdsWork

    def read(self, block: Block) -> dict[str, NDArray[Any]]:
        return {
            name: pieces.read(pieces.grid.roi_of(block.begin, block.shape)) for name, pieces in self.work.pieces.items()
        }

    def compute(self, block: Block, data: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = {}
        for name, labels in data.items():
            tables = self.work.tables[name]
            first, last = tables.offsets()[block.number : block.number + 2]
            ids = tables.ids()[first : last + 1].copy()
            # number 0 is of no piece; its entry is the last piece of the block before
            ids[0] = 0
            found[name] = ids[labels]
        return found

    def write(self, block: Block, result: dict[str, NDArray[Any]]) -> None:
        for name, labels in result.items():
            _write(self.work.targets[name], block, labels)


def _write(target: Volume, block: Block, data: NDArray[Any]) -> None:
    target.write(target.grid.roi_of(block.begin, block.shape), data)
