"""Where samples are taken: a voxel is drawn first, then a window around it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import LabelBlock

if TYPE_CHECKING:
    from dacapo_hd.datasplits import OpenCrop

Box = tuple[tuple[int, ...], tuple[int, ...]]

MAX_CELLS = 2**14
READ_VOXELS = 2**21
ATTEMPTS = 1000


@attrs.frozen(eq=False)
class Occupancy:
    """How many voxels of each cell of a crop's label grid are known for some class, present, absent.

    `counts` is uint32 (1 + 2 * classes, z, y, x): known for some class, then present per class, then absent per
    class. Of a crop without labels, the voxels that its annotations are about count as known.
    """

    cell_vx: tuple[int, ...]
    counts: NDArray[np.uint32]
    totals: tuple[int, ...]

    @classmethod
    def of(cls, crop: OpenCrop) -> Occupancy:
        """Count through all labels of a crop, block by block."""
        shape = crop.label_grid.shape_vx
        cell = _cell(shape)
        counts = np.zeros((1 + 2 * len(crop.classes), *_cells(shape, cell)), np.uint32)
        for begin, end in _blocks(shape, cell):
            block = crop.read_labels(crop.label_grid.roi_of(begin, [b - a for a, b in zip(begin, end, strict=True)]))
            z, y, x = (slice(a // c, -(-b // c)) for a, b, c in zip(begin, end, cell, strict=True))
            for index, layer in enumerate(_layers(block, crop.labelled)):
                counts[index, z, y, x] = _count(layer, cell)
        return cls(cell, counts, tuple(int(n) for n in counts.sum(axis=(1, 2, 3), dtype=np.int64)))

    def draw(self, layer: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw a cell as often as it has voxels in the layer; return its index."""
        cumulative = np.cumsum(self.counts[layer].ravel(), dtype=np.int64)
        flat = int(np.searchsorted(cumulative, rng.integers(cumulative[-1]), side="right"))
        return tuple(int(i) for i in np.unravel_index(flat, self.counts.shape[1:]))


@attrs.frozen(eq=False, slots=False)
class Locator:
    """Draws crops and windows; picklable, without open files.

    Crops are drawn by their weight alone, in the modes `known` and `balanced` among those that have a voxel of the
    wanted kind.
    """

    mode: Literal["uniform", "known", "balanced"]
    crops: tuple[OpenCrop, ...]
    output_shape_vx: tuple[int, ...]
    min_known: float
    occupancies: tuple[Occupancy, ...] = ()

    @classmethod
    def of(
        cls,
        mode: Literal["uniform", "known", "balanced"],
        crops: Sequence[OpenCrop],
        output_shape_vx: Sequence[int],
        min_known: float,
    ) -> Locator:
        """Prepare; reads all labels once unless the mode is `uniform`. UserError when no voxel can be drawn."""
        if not any(crop.weight > 0 for crop in crops):
            raise UserError("datasplit: every training crop has weight 0; give one a positive weight")
        occupancies = () if mode == "uniform" else tuple(Occupancy.of(crop) for crop in crops)
        layers = [0] if mode == "known" else range(1, 1 + len(crops[0].classes))
        drawable = [o.totals[i] for o, crop in zip(occupancies, crops, strict=False) if crop.weight for i in layers]
        if occupancies and not any(drawable):
            what = "known for" if mode == "known" else "present of"
            classes = ", ".join(crops[0].classes)
            raise UserError(
                f"sampling.locations: no voxel is {what} any of the classes {classes} in any training crop; "
                "annotate some or choose other classes"
            )
        return cls(mode, tuple(crops), tuple(output_shape_vx), min_known, occupancies)

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        return np.array([crop.weight for crop in self.crops], float)

    @cached_property
    def _totals(self) -> NDArray[np.int64]:
        """The voxels (crop, layer) that can be drawn."""
        totals = np.array([occupancy.totals for occupancy in self.occupancies])
        totals[self._weights == 0] = 0
        return totals

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """Return the crop's index and the output window's first voxel on the crop's raw grid.

        UserError when no window reaches `min_known` in `ATTEMPTS` attempts.
        """
        best = 0.0
        for _ in range(ATTEMPTS):
            index, begin = self._window(rng)
            if self.min_known == 0:
                return index, begin
            found = self._known_fraction(index, begin)
            if found >= self.min_known:
                return index, begin
            best = max(best, found)
        raise UserError(
            f"sampling.min_known: {self.min_known:g} was not reached in {ATTEMPTS} random windows of "
            f"{self.output_shape_vx} voxels, at best {best:.3g} of a window is known; lower it"
        )

    def _window(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        index, layer = self._choose(rng)
        crop = self.crops[index]
        voxel = _any_voxel(crop, rng) if layer is None else self._voxel(index, layer, rng)
        begin = [
            _place(v, size, extent, rng)
            for v, size, extent in zip(voxel, self.output_shape_vx, crop.label_grid.shape_vx, strict=True)
        ]
        corner = (crop.label_grid.offset - crop.raw_grid.offset) / crop.raw_grid.voxel_size
        return index, tuple(int(a + b) for a, b in zip(begin, corner, strict=True))

    def _choose(self, rng: np.random.Generator) -> tuple[int, int | None]:
        """Draw a crop and, unless the mode is `uniform`, the layer of the occupancy that the voxel comes from."""
        weights = self._weights
        if self.mode == "uniform":
            return _weighted(weights, rng), None
        totals, layer = self._totals, 0
        if self.mode == "balanced":
            n = len(self.crops[0].classes)
            layer = 1 + int(rng.choice(np.flatnonzero(totals[:, 1 : 1 + n].any(axis=0))))
            if rng.random() < 0.5 and totals[:, layer + n].any():
                layer += n
        return _weighted(weights * (totals[:, layer] > 0), rng), layer

    def _voxel(self, index: int, layer: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw a voxel of the layer evenly; counted from the label grid's first voxel."""
        crop, occupancy = self.crops[index], self.occupancies[index]
        cell = occupancy.draw(layer, rng)
        begin = [i * c for i, c in zip(cell, occupancy.cell_vx, strict=True)]
        shape = [min(c, n - b) for c, n, b in zip(occupancy.cell_vx, crop.label_grid.shape_vx, begin, strict=True)]
        block = crop.read_labels(crop.label_grid.roi_of(begin, shape))
        found = np.argwhere(next(itertools.islice(_layers(block, crop.labelled), layer, None)))
        return tuple(int(a + b) for a, b in zip(begin, found[rng.integers(len(found))], strict=True))

    def _known_fraction(self, index: int, begin: tuple[int, ...]) -> float:
        crop = self.crops[index]
        block = crop.read_labels(crop.raw_grid.roi_of(begin, self.output_shape_vx))
        return float(next(_layers(block, crop.labelled)).mean())


def _any_voxel(crop: OpenCrop, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(crop.label_grid.shape_vx))


def _weighted(weights: NDArray[np.float64], rng: np.random.Generator) -> int:
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _place(voxel: int, size: int, extent: int, rng: np.random.Generator) -> int:
    """Place a window evenly around a voxel, then move it into the labels, or around them when it is larger."""
    begin = voxel - int(rng.integers(size))
    low, high = sorted((0, extent - size))
    return min(max(begin, low), high)


def _layers(block: LabelBlock, labelled: bool) -> Iterator[NDArray[np.bool_]]:
    """Yield the masks in the order of `Occupancy.counts`."""
    known: NDArray[np.bool_] = np.any(block.known, axis=0)
    yield known if labelled or block.regions is None else block.regions > 0
    yield from block.present
    yield from block.absent


def _cell(shape: Sequence[int]) -> tuple[int, ...]:
    size = 16
    while math.prod(_cells(shape, (size,) * 3)) > MAX_CELLS:
        size *= 2
    return (size,) * 3


def _cells(shape: Sequence[int], cell: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(shape, cell, strict=True))


def _blocks(shape: Sequence[int], cell: Sequence[int]) -> Iterator[Box]:
    """Split a shape into boxes of whole cells of about `READ_VOXELS` voxels."""
    step = cell[0] * max(1, round(READ_VOXELS ** (1 / 3)) // cell[0])
    for begin in itertools.product(*(range(0, n, step) for n in shape)):
        yield begin, tuple(min(b + step, n) for b, n in zip(begin, shape, strict=True))


def _count(mask: NDArray[np.bool_], cell: Sequence[int]) -> NDArray[np.uint32]:
    """Sum a mask (z, y, x) over cells, the last of which may be cut."""
    counts = mask.astype(np.uint32)
    for axis, (n, c) in enumerate(zip(mask.shape, cell, strict=True)):
        counts = np.add.reduceat(counts, np.arange(0, n, c), axis=axis, dtype=np.uint32)
    return counts
