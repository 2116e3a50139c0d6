"""Scores of how well single objects are found."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.overlap import Partition

# hundredths: 0.5 + 4 * 0.05 is not 0.7
IOU_PERCENT = range(50, 95, 5)


@attrs.frozen(eq=False)
class Matching:
    """Pairs of an instance and a segment that share voxels, with both sizes, and how many there are of each."""

    instance: NDArray[np.int64]
    segment: NDArray[np.int64]
    shared: NDArray[np.float64]
    instance_size: NDArray[np.float64]
    segment_size: NDArray[np.float64]
    instances: int
    segments: int

    @classmethod
    def of(cls, partition: Partition) -> Matching:
        """Take the pairs without background out of a partition; sizes include the voxels shared with it."""
        a, b = partition.instance_sizes, partition.segment_sizes
        objects = (partition.instance > 0) & (partition.segment > 0)
        i, s, shared = partition.instance[objects], partition.segment[objects], partition.shared[objects]
        return cls(i, s, shared, a[i], b[s], int(np.count_nonzero(a[1:])), int(np.count_nonzero(b[1:])))

    def scores(self) -> dict[str, float]:
        """Return the object scores; without any instance all but the count are 1 if there is no segment, else 0."""
        difference = {"difference_in_count": float(abs(self.instances - self.segments))}
        if not self.instances or not self.segments:
            return dict.fromkeys(NAMES, float(self.instances == self.segments)) | difference
        return difference | {
            "symmetric_best_dice": self.symmetric_best_dice(),
            "mean_average_precision": float(np.mean([self._precision(percent) for percent in IOU_PERCENT])),
            "panoptic_quality": self.panoptic_quality(),
            "instance_f1_50": self._f1(50),
            "instance_f1_75": self._f1(75),
        }

    def true_positives(self, percent: int) -> int:
        """Return how many pairs with at least this intersection over union can be formed, each object in one pair.

        From 50 % on an object fits only one other, unless it consists of two halves of exactly 50 % each. Pairs and
        objects then form a forest of such threes and of single pairs, with one true positive in each tree.
        """
        fits = 100 * self.shared >= percent * self._union
        objects = len(np.unique(self.instance[fits])) + len(np.unique(self.segment[fits]))
        return objects - int(np.count_nonzero(fits))

    def symmetric_best_dice(self) -> float:
        """Return the lower of the two means, over the objects of a side, of the best dice with an object of the other.

        Scharr et al., Leaf segmentation in plant phenotyping, 2016.
        """
        dice = 2 * self.shared / (self.instance_size + self.segment_size)
        best_of_instances = _sum_of_best(self.instance, dice) / self.instances
        return min(best_of_instances, _sum_of_best(self.segment, dice) / self.segments)

    def panoptic_quality(self) -> float:
        """Return the sum of the IoUs above 0.5 over TP + FP / 2 + FN / 2 (Kirillov et al., 2019)."""
        fits = 2 * self.shared > self._union
        found = self.shared[fits] / self._union[fits]
        return float(found.sum()) / ((self.instances + self.segments) / 2)

    @property
    def _union(self) -> NDArray[np.float64]:
        return self.instance_size + self.segment_size - self.shared

    def _precision(self, percent: int) -> float:
        found = self.true_positives(percent)
        return found / (self.instances + self.segments - found)

    def _f1(self, percent: int) -> float:
        return 2 * self.true_positives(percent) / (self.instances + self.segments)


NAMES = (
    "symmetric_best_dice",
    "mean_average_precision",
    "panoptic_quality",
    "instance_f1_50",
    "instance_f1_75",
    "difference_in_count",
)


def _sum_of_best(objects: NDArray[np.int64], dice: NDArray[np.float64]) -> float:
    best = np.zeros(int(objects.max(initial=0)) + 1)
    np.maximum.at(best, objects, dice)
    return float(best.sum())
