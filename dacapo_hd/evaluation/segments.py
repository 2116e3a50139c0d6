"""How uncertain each segment is, next to its error: do uncertain segments have the errors?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.marks import KNOWN, PRESENT, Marks
from dacapo_hd.evaluation.overlap import Overlap

Floats = NDArray[np.float64]

MOST_SEGMENTS = 500
DIGITS = 4
COLUMNS = ("id", "voxels", "uncertainty", "error", "iou")
CORRELATIONS = ("uncertainty_error_correlation", "uncertainty_mismatch_correlation")


def _numbers(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(values)


@attrs.frozen
class SegmentTable:
    """The largest segments of a class in a crop, by falling uncertainty; `of` counts all that have a known voxel.

    `uncertainty` is the mean of `quantity` over the segment's known `voxels` of `voxel_nm3` each, `error` the share of
    these outside of the true object with which it shares most, `iou` its intersection over union with that object.
    Fractions have four digits.
    """

    quantity: str
    of: int
    voxel_nm3: float
    id: tuple[int, ...] = attrs.field(converter=_numbers)
    voxels: tuple[int, ...] = attrs.field(converter=_numbers)
    uncertainty: tuple[float, ...] = attrs.field(converter=_numbers)
    error: tuple[float, ...] = attrs.field(converter=_numbers)
    iou: tuple[float, ...] = attrs.field(converter=_numbers)

    def __attrs_post_init__(self) -> None:
        numbers = [self.of, self.voxel_nm3, *(value for name in COLUMNS for value in getattr(self, name))]
        if not isinstance(self.quantity, str) or not all(map(_is_number, numbers)):
            raise ValueError("`segments` has values of the wrong type")
        if {len(getattr(self, name)) for name in COLUMNS} != {len(self)} or len(self) > self.of:
            raise ValueError("`segments` has columns of different lengths")

    def __len__(self) -> int:
        return len(self.id)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            name: list(value) if name in COLUMNS else value for name, value in attrs.asdict(self, recurse=False).items()
        }


def read_segments(found: SegmentTable | Mapping[str, Any] | None) -> SegmentTable | None:
    """Take what `SegmentTable.to_dict` returned; ValueError or TypeError for anything else."""
    return found if found is None or isinstance(found, SegmentTable) else SegmentTable(**found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@attrs.frozen(eq=False)
class SegmentErrors:
    """All segments with a known voxel, in the order of their ids; see `SegmentTable`."""

    ids: NDArray[np.uint64]
    voxels: Floats
    uncertainty: Floats
    error: Floats
    iou: Floats

    @classmethod
    def measure(
        cls,
        overlap: Overlap,
        marks: Marks,
        instances: NDArray[Any],
        segments: NDArray[Any],
        uncertainty: NDArray[np.float32],
    ) -> SegmentErrors:
        """Measure the segments of `overlap`, on the voxels that it counts; all arrays are (z, y, x)."""
        from dacapo_hd.evaluation import kernels

        ids = overlap.segment_ids
        voxels, error, iou = _errors(overlap, len(ids))
        sums = np.zeros(len(ids))
        for plane, *labels, values in zip(marks, instances, segments, uncertainty, strict=True):
            own, found = (np.ascontiguousarray(one, dtype=np.uint64) for one in labels)
            kernels.add_values(plane, own, found, np.ascontiguousarray(values), KNOWN, PRESENT, ids, sums)
        inside = voxels > 0
        # background is no segment
        inside[0] = False
        return cls(ids[inside], voxels[inside], sums[inside] / voxels[inside], error[inside], iou[inside])

    def scores(self) -> dict[str, float]:
        """Return the rank correlations of uncertainty and errors."""
        errors = (self.error, 1 - self.iou)
        found = (rank_correlation(self.uncertainty, error, self.voxels) for error in errors)
        return dict(zip(CORRELATIONS, found, strict=True))

    def table(self, quantity: str, voxel_nm3: float) -> SegmentTable:
        """Return what is stored of them."""
        largest = np.argsort(-self.voxels, kind="stable")[:MOST_SEGMENTS]
        chosen = largest[np.lexsort((self.ids[largest], -self.uncertainty[largest]))]
        return SegmentTable(
            quantity=quantity,
            of=len(self.ids),
            voxel_nm3=voxel_nm3,
            id=self.ids[chosen].tolist(),
            voxels=self.voxels[chosen].astype(np.int64).tolist(),
            uncertainty=_brief(self.uncertainty[chosen]),
            error=_brief(self.error[chosen]),
            iou=_brief(self.iou[chosen]),
        )


def _brief(values: Floats) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _errors(overlap: Overlap, count: int) -> tuple[Floats, Floats, Floats]:
    """Return voxels, error and IoU of each of `count` segments.

    Of objects that share as much with a segment, the smallest is the match.
    """
    partition = overlap.partition()
    of_instance, of_segment = partition.instance_sizes, np.zeros(count)
    sizes = partition.segment_sizes
    of_segment[: len(sizes)] = sizes
    objects = partition.instance > 0
    instance, segment, shared = partition.instance[objects], partition.segment[objects], partition.shared[objects]
    order = np.lexsort((of_instance[instance], -shared, segment))
    matched, first = np.unique(segment[order], return_index=True)
    best = order[first]
    error, iou = np.ones(count), np.zeros(count)
    error[matched] = 1 - shared[best] / of_segment[matched]
    iou[matched] = shared[best] / (of_segment[matched] + of_instance[instance[best]] - shared[best])
    return of_segment, error, iou


def rank_correlation(first: Floats, second: Floats, weights: Floats) -> float:
    """Return Spearman's rank correlation as if each pair of values were there `weights` times.

    0 where there is nothing to rank: without values, or if all of one side are equal.
    """
    if not weights.sum():
        return 0.0
    a, b = (_centred_ranks(values, weights) for values in (first, second))
    spread = np.sum(weights * a * a) * np.sum(weights * b * b)
    return float(np.clip(np.sum(weights * a * b) / np.sqrt(spread), -1, 1)) if spread else 0.0


def _centred_ranks(values: Floats, weights: Floats) -> Floats:
    """Return ranks whose weighted mean is 0; equal values have the mean of their ranks."""
    _, group = np.unique(values, return_inverse=True)
    sizes = np.bincount(group, weights)
    # ranks count from 1, but their mean is taken off; exactly, so that equal values leave no spread
    ranks: Floats = np.cumsum(sizes) - sizes / 2 - weights.sum() / 2
    return ranks[group]
