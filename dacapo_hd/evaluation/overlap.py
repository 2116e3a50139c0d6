"""Scores that follow from how many voxels the parts of two labellings share."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.marks import KNOWN, NEAR_BORDER, PREDICTED, PRESENT, Marks, kinds

Floats = NDArray[np.float64]
_TRUE = kinds(lambda mark: mark & PRESENT)
_FOUND = kinds(lambda mark: mark & PREDICTED)
_KNOWN = kinds(lambda mark: mark & KNOWN)


@attrs.frozen
class Confusion:
    """Numbers of known voxels: true/false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Confusion:
        """Take them from the numbers of voxels of each kind of mark."""
        parts = (_TRUE & _FOUND, ~_TRUE & _FOUND, _TRUE & ~_FOUND, _KNOWN & ~_TRUE & ~_FOUND)
        return cls(*(int(counts[part].sum()) for part in parts))

    @property
    def present(self) -> int:
        return self.tp + self.fn

    @property
    def known(self) -> int:
        return self.tp + self.fp + self.fn + self.tn

    def scores(self) -> dict[str, float]:
        """Return the scores of two masks; NaN only where the truth leaves one undefined."""
        tp, fp, fn, tn = self.tp, self.fp, self.fn, self.tn
        empty = tp + fp + fn == 0
        recall = _ratio(tp, tp + fn, math.nan)
        precision = _ratio(tp, tp + fp, 1.0 if empty else 0.0)
        # both masks are partitions into two parts, background being one
        table = np.array([tp, fn, fp, tn], np.float64)
        split, merge = _variation(table, table.reshape(2, 2).sum(1), table.reshape(2, 2).sum(0))
        return {
            "dice": _ratio(2 * tp, 2 * tp + fp + fn, 1.0),
            "jaccard": _ratio(tp, tp + fp + fn, 1.0),
            "precision": precision,
            "recall": recall,
            "false_discovery_rate": 1 - precision,
            "false_negative_rate": 1 - recall,
            "false_positive_rate": _ratio(fp, fp + tn, math.nan),
            "voi": split + merge,
            "voi_split": split,
            "voi_merge": merge,
        }


@attrs.frozen(eq=False)
class Partition:
    """How many voxels instances and segments share: one entry for each pair that shares some.

    Both are numbered from 1 on; 0 is the background, which is a segment like any other unless said otherwise.
    """

    instance: NDArray[np.int64]
    segment: NDArray[np.int64]
    shared: Floats

    @property
    def instance_sizes(self) -> Floats:
        return _sums(self.instance, self.shared)

    @property
    def segment_sizes(self) -> Floats:
        return _sums(self.segment, self.shared)

    def variation_of_information(self) -> tuple[float, float]:
        """Return (split, merge) in bits: H(segments | instances) and H(instances | segments).

        Meila, Comparing clusterings, 2007; NaN if there is no voxel.
        """
        return _variation(self.shared, self.instance_sizes, self.segment_sizes)

    def adapted_rand_error(self) -> float:
        """Return 1 - 2 sum(T^2) / (sum(a^2) + sum(b^2)), self-pairs included; NaN if there is no voxel."""
        sizes = _square(self.instance_sizes) + _square(self.segment_sizes)
        return _rand_error(_square(self.shared), sizes)

    def cremi_rand_error(self, known: int) -> float:
        """Return the same as CREMI's code counts it: the background of the prediction is no segment.

        Its c voxels count as c / known pairs in all, where `known` is the number of all known voxels.
        """
        background = self.segment == 0
        few = float(self.shared[background].sum()) / max(known, 1)
        sizes = _square(self.instance_sizes) + _square(self.segment_sizes[1:]) + few
        return _rand_error(_square(self.shared[~background]) + few, sizes)


@attrs.frozen(eq=False)
class Overlap:
    """The contingency table of instances and segments.

    Instance 0 is where the class is absent; voxels that are present without a known id are in no entry. The same pair
    can have an entry inside and one outside of CREMI's border mask. `known` is the number of all known voxels, and
    `segment_ids` holds the ids of the segments 0, 1, ..., ascending; that of the background is 0.
    """

    instance: NDArray[np.int64]
    segment: NDArray[np.int64]
    near_border: NDArray[np.bool_]
    shared: Floats
    known: int
    segment_ids: NDArray[np.uint64]

    @classmethod
    def count(cls, marks: Marks, ids: NDArray[Any], segments: NDArray[Any], known: int) -> Overlap:
        """Tabulate two arrays of ids (z, y, x) of any unsigned type, where `marks` says that the truth is known."""
        from dacapo_hd.evaluation import kernels

        table, used = kernels.free_table(1 << 10), 0
        for plane, *labels in zip(marks, ids, segments, strict=True):
            own, found = (np.ascontiguousarray(values, dtype=np.uint64) for values in labels)
            table, used = kernels.tabulate(plane, own, found, KNOWN, PRESENT, NEAR_BORDER, table, used)
        instance, segment, near_border, voxels = (column[table[3] > 0] for column in table)
        instances, (segments, ids) = _numbered(instance)[0], _numbered(segment)
        return cls(instances, segments, near_border, voxels.astype(np.float64), known, ids)

    def partition(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> Partition:
        """Return the chosen entries with those of the same pair taken together."""
        instance, segment = self.instance[chosen], self.segment[chosen]
        columns = int(segment.max(initial=0)) + 1
        pairs, entry = np.unique(instance * columns + segment, return_inverse=True)
        return Partition(*np.divmod(pairs, columns), _sums(entry, self.shared[chosen]))

    def scores(self) -> dict[str, float]:
        """Return the scores inside the true instances; NaN where no instance is known."""
        found = self.partition(self.instance > 0)
        split, merge = found.variation_of_information()
        inner = self.partition((self.instance > 0) & ~self.near_border)
        inner_split, inner_merge = inner.variation_of_information()
        error = inner.cremi_rand_error(self.known)
        return {
            "instance_voi": split + merge,
            "instance_voi_split": split,
            "instance_voi_merge": merge,
            "adapted_rand_error": found.adapted_rand_error(),
            "cremi_score": math.sqrt((inner_split + inner_merge) * error),
            "cremi_voi_split": inner_split,
            "cremi_voi_merge": inner_merge,
            "cremi_adapted_rand_error": error,
        }


def _numbered(ids: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return 0 for id 0 and 1, 2, ... for the others, and the id of each number."""
    found, numbers = np.unique(np.append(ids, np.uint64(0)), return_inverse=True)
    return numbers[:-1].astype(np.int64), found


def _sums(index: NDArray[Any], voxels: Floats) -> Floats:
    return np.bincount(index, voxels).astype(np.float64)


def _variation(shared: Floats, a: Floats, b: Floats) -> tuple[float, float]:
    if not len(shared):
        return math.nan, math.nan
    joint = _entropy(shared)
    # rounding must not make a perfect score negative
    return max(joint - _entropy(a), 0.0), max(joint - _entropy(b), 0.0)


def _rand_error(pairs_of_both: float, pairs_of_each: float) -> float:
    return max(1 - 2 * pairs_of_both / pairs_of_each, 0.0) if pairs_of_each else math.nan


def _entropy(counts: Floats) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log2(shares)))


def _square(values: Floats) -> float:
    return float(np.sum(values**2))


def _ratio(part: float, whole: float, otherwise: float) -> float:
    return part / whole if whole else otherwise
