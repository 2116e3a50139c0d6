"""Exact Euclidean distances to the voxels of one kind, worked out where they are wanted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.marks import KINDS, Marks, census

Distances = NDArray[np.float32]
Kinds = NDArray[np.bool_]


@attrs.frozen(eq=False)
class DistanceMap:
    """Distances in nm between voxel centres, to the voxels of one kind.

    `sections` holds, for each voxel (z, y, x), how many sections away the next such voxel of its column is. That takes
    half the memory of the distances; the other two axes are worked out section by section, by as many threads as
    numba is allowed (NUMBA_NUM_THREADS).
    """

    sections: NDArray[np.uint16]
    voxel_size_nm: tuple[float, ...]

    @classmethod
    def to(cls, marks: Marks, bit: np.uint8, voxel_size_nm: tuple[float, ...]) -> DistanceMap:
        """Measure to the voxels that have a bit in their mark."""
        from dacapo_hd.evaluation import distance_kernels

        sections = np.empty(marks.shape, np.uint16)
        flat = len(marks), -1
        distance_kernels.along_z(marks.reshape(flat), bit, sections.reshape(flat))
        return cls(sections, voxel_size_nm)

    def at(self, marks: Marks, first: Kinds, second: Kinds) -> tuple[Distances, Distances]:
        """Return the distances of the voxels with some kinds of marks, and of those with others, in the array's order.

        They are inf if there is no voxel to measure to.
        """
        import numba

        from dacapo_hd.evaluation import distance_kernels

        # asking numba itself would start its threads, and with them give torch another number of threads
        borders = np.linspace(0, len(marks), min(numba.config.NUMBA_NUM_THREADS, len(marks)) + 1).astype(int)
        parts = [slice(begin, end) for begin, end in pairwise(borders)]
        counts = [census(marks[part]) for part in parts]
        ends = [np.cumsum([count[wanted].sum() for count in counts]) for wanted in (first, second)]
        values = np.empty(ends[0][-1], np.float32), np.empty(ends[1][-1], np.float32)

        def fill(part: slice, *own: Distances) -> None:
            distance_kernels.distances(self.sections[part], marks[part], (first, second), self.voxel_size_nm, own)

        with ThreadPoolExecutor(len(parts)) as pool:
            pieces = (np.split(found, end[:-1]) for found, end in zip(values, ends, strict=True))
            # list() lets an exception out
            list(pool.map(fill, parts, *pieces))
        return values

    def everywhere(self) -> Field:
        """Return the distances of all voxels."""
        nothing = np.zeros(self.sections.shape, np.uint8)
        values, _ = self.at(nothing, np.ones(KINDS, bool), np.zeros(KINDS, bool))
        return Field(values.reshape(nothing.shape))


@attrs.frozen(eq=False)
class Field:
    """A distance map that is kept as the distances themselves, to be read often."""

    values: Distances

    def everywhere(self) -> Field:
        """Return the distances of all voxels."""
        return self

    def at(self, marks: Marks, first: Kinds, second: Kinds) -> tuple[Distances, Distances]:
        """Do what `DistanceMap.at` does."""
        return self.values[first[marks]], self.values[second[marks]]
