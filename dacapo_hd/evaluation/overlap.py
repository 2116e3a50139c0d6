"""Scores that follow from how two labellings overlap, voxel by voxel."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray


@attrs.frozen
class Confusion:
    """Numbers of known voxels: true/false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def count(cls, prediction: NDArray[np.bool_], truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> Confusion:
        """Count over the voxels of `known`; all three have the same shape, and `truth` implies `known`."""
        tp = int(np.count_nonzero(prediction & truth))
        predicted = int(np.count_nonzero(prediction & known))
        present = int(np.count_nonzero(truth))
        total = int(np.count_nonzero(known))
        return cls(tp, predicted - tp, present - tp, total - predicted - present + tp)

    def scores(self) -> dict[str, float]:
        """Return the scores of two masks; NaN only where the truth leaves one undefined."""
        tp, fp, fn, tn = self.tp, self.fp, self.fn, self.tn
        empty = tp + fp + fn == 0
        recall = _ratio(tp, tp + fn, math.nan)
        return {
            "dice": _ratio(2 * tp, 2 * tp + fp + fn, 1.0),
            "jaccard": _ratio(tp, tp + fp + fn, 1.0),
            "precision": _ratio(tp, tp + fp, 1.0 if empty else 0.0),
            "recall": recall,
            "false_negative_rate": 1 - recall,
            "false_positive_rate": _ratio(fp, fp + tn, math.nan),
        }

    def variation_of_information(self) -> tuple[float, float]:
        """Return (split, merge) in bits with both masks as partitions into two parts, background being one."""
        truth = np.array([1, 1, 0, 0])
        prediction = np.array([1, 0, 1, 0])
        counts = np.array([self.tp, self.fn, self.fp, self.tn])
        return Overlap.of_pairs(truth, prediction, counts).variation_of_information()


@attrs.frozen(eq=False)
class Overlap:
    """A sparse contingency table: voxels shared by an instance and a segment, and the sizes of both."""

    shared: NDArray[np.float64]
    instance_sizes: NDArray[np.float64]
    segment_sizes: NDArray[np.float64]

    @classmethod
    def count(cls, instances: NDArray[Any], segments: NDArray[Any]) -> Overlap:
        """Tabulate two arrays of uint32 ids of the same shape, where `instances` > 0.

        Voxels of instance 0 are ignored; segment 0 is an ordinary segment.
        """
        import fastremap

        inside = instances > 0
        pairs = (instances[inside].astype(np.uint64) << np.uint64(32)) | segments[inside].astype(np.uint64)
        keys, counts = fastremap.unique(pairs, return_counts=True)
        return cls.of_pairs(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF), counts)

    @classmethod
    def of_pairs(cls, instances: NDArray[Any], segments: NDArray[Any], counts: NDArray[Any]) -> Overlap:
        """Make the table from (instance, segment, count) triples, each pair once."""
        some = counts > 0
        shared = counts[some].astype(np.float64)
        return cls(shared, _sum_per_id(instances[some], shared), _sum_per_id(segments[some], shared))

    def variation_of_information(self) -> tuple[float, float]:
        """Return (split, merge) in bits: H(segments | instances) and H(instances | segments).

        Meila, Comparing clusterings, 2007; NaN if the table is empty.
        """
        if not len(self.shared):
            return math.nan, math.nan
        joint = _entropy(self.shared)
        # rounding must not make a perfect score negative
        return max(joint - _entropy(self.instance_sizes), 0.0), max(joint - _entropy(self.segment_sizes), 0.0)

    def adapted_rand_error(self) -> float:
        """Return 1 - 2 sum(T^2) / (sum(a^2) + sum(b^2)), self-pairs included; NaN if the table is empty."""
        if not len(self.shared):
            return math.nan
        sizes = np.sum(self.instance_sizes**2) + np.sum(self.segment_sizes**2)
        return float(1 - 2 * np.sum(self.shared**2) / sizes)

    def scores(self) -> dict[str, float]:
        """Return the instance scores."""
        split, merge = self.variation_of_information()
        return {
            "instance_voi": split + merge,
            "instance_voi_split": split,
            "instance_voi_merge": merge,
            "adapted_rand_error": self.adapted_rand_error(),
        }


def _sum_per_id(ids: NDArray[Any], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    index = np.unique(ids, return_inverse=True)[1]
    return np.bincount(index.ravel(), weights=counts).astype(np.float64)


def _entropy(counts: NDArray[np.float64]) -> float:
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log2(shares)))


def _ratio(part: float, whole: float, otherwise: float) -> float:
    return part / whole if whole else otherwise
