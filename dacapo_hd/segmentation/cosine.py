"""Mutex watershed of embeddings: how well the vectors of two voxels agree is an affinity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast, get_args

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import fraction, one_of
from dacapo_hd.errors import UserError
from dacapo_hd.operations.affinities import NEIGHBOURS_16, format_offset, overlap, reach
from dacapo_hd.segmentation.base import Prediction
from dacapo_hd.segmentation.clusters import EmbeddingSegmenter, below_one
from dacapo_hd.segmentation.vectors import Embedded

Similarity = Literal["absolute", "signed"]
OffsetVx = tuple[int, int, int]


def cosine_affinities(
    vectors: NDArray[np.float32], offsets_vx: Sequence[OffsetVx], similarity: Similarity
) -> NDArray[np.float32]:
    """Return affinities float32 (offset, z, y, x) in 0..1 of the voxels u and u + offset; `vectors` (z, y, x, e).

    Vectors have length 1. An affinity is 1 where both agree, and 0 where the embedding loss wants those of neighbours:
    orthogonal (`absolute`), max(cos, 0), or opposite (`signed`), (1 + cos) / 2. The loss within objects takes the
    plain cosine in both forms, so that opposite vectors never agree. 0 where u + offset leaves the array.
    """
    found = np.zeros((len(offsets_vx), *vectors.shape[:3]), np.float32)
    for values, offset in zip(found, offsets_vx, strict=True):
        here, there = overlap(vectors.shape[:3], offset)
        cosine = np.einsum("...e,...e", vectors[here], vectors[there])
        values[here] = (cosine if similarity == "absolute" else (1 + cosine) / 2).clip(0, 1)
    return found


def _near(offset: Sequence[int]) -> bool:
    """Whether an offset leads to one of the 26 neighbours."""
    return max(map(abs, offset)) == 1


@attrs.frozen
class CosineMutexWatershed(EmbeddingSegmenter):
    """Mutex watershed of the cosine between vectors at `offsets_vx` (z, y, x), as Wu et al. 2020 compare it, table 2.

    `similarity` is that of the task: it says which vectors differ most, see `cosine_affinities`. Offsets to the 26
    neighbours attract where the affinity exceeds `cut`, longer ones repel where it is below: the strongest first, by
    |affinity - cut| (Wolf et al. 2018). Of the longer edges the share `long_range_fraction` is used, drawn by a hash of
    their position. Edges that leave the foreground do not count.
    """

    bytes_per_channel: ClassVar[int] = 20

    offsets_vx: tuple[OffsetVx, ...] = attrs.field(default=cast("tuple[OffsetVx, ...]", NEIGHBOURS_16))
    cut: float = attrs.field(default=0.5, validator=below_one)
    similarity: Similarity = attrs.field(default="absolute", validator=one_of(*get_args(Similarity)))
    long_range_fraction: float = attrs.field(default=0.1, validator=fraction)

    @offsets_vx.validator
    def _attract_and_repel(self, attribute: attrs.Attribute[Any], value: tuple[OffsetVx, ...]) -> None:
        words = " ".join(map(format_offset, value)) or "none"
        if any(len(offset) != 3 for offset in value):
            raise ValueError(f"must be three numbers each (z, y, x), 0 along z within a section; got {words}")
        if not all(map(any, value)):
            raise ValueError("must lead to another voxel, got (0,0,0)")
        if len(set(value)) < len(value):
            raise ValueError(f"must differ from each other, got {words}")
        if not any(map(_near, value)):
            raise ValueError(f"must have one to a neighbour, which attracts, such as (0,0,-1); got {words}")
        if all(map(_near, value)):
            raise ValueError(f"must have one of 2 voxels at least, which repels, such as (0,0,-4); got {words}")

    @long_range_fraction.validator
    def _some_repel(self, attribute: attrs.Attribute[float], value: float) -> None:
        if value == 0:
            raise ValueError("must be > 0: without repulsion all that touches would be one object")

    @property
    def label(self) -> str:
        far = [offset for offset in self.offsets_vx if not _near(offset)]
        far_words = f"long range {self.long_range_fraction:g} of {len(far)} offsets up to {max(reach(far)):g}"
        rule = f"{self.similarity} cosine > {self.cut:g}, {far_words}"
        return f"cosine_mutex_watershed({self._words(rule)})"

    def problem_with_sections(self, sections: int) -> str | None:
        """Say what is wrong with the offsets for a volume of this many sections."""
        if sections == 1 or self.axes == "yx" or any(offset[0] for offset in self.offsets_vx if _near(offset)):
            return None
        return (
            f"{self.label}: no offset to a neighbour leaves the section, but there are several, whose "
            "objects would fall apart; add one along z such as (-1,0,0) to offsets_vx, or give axes: yx"
        )

    def reach_vx(self, prediction: Prediction) -> tuple[int, ...]:
        self._require_joined_sections(prediction.data.shape[1])
        return tuple(map(int, reach(self.offsets_vx)))

    def _require_joined_sections(self, sections: int) -> None:
        problem = self.problem_with_sections(sections)
        if problem is not None:
            raise UserError(problem)

    def divide(self, found: Embedded, foreground: NDArray[np.bool_]) -> NDArray[np.uint32]:
        import fastremap

        from dacapo_hd.operations.mutex_watershed import mutex_watershed

        self._require_joined_sections(len(foreground))
        weights = cosine_affinities(found.vectors, self.offsets_vx, self.similarity)
        weights -= np.float32(self.cut)
        near = [_near(offset) for offset in self.offsets_vx]
        for values, offset, attracts in zip(weights, self.offsets_vx, near, strict=True):
            here, there = overlap(foreground.shape, offset)
            # weight 0 says nothing
            np.clip(values, *((0, None) if attracts else (None, 0)), out=values)
            values[here] *= foreground[here] & foreground[there]
        fractions = [1.0 if attracts else self.long_range_fraction for attracts in near]
        parts = mutex_watershed(weights, self.offsets_vx, cut=0.0, fractions=fractions)
        labels: NDArray[np.uint32] = fastremap.renumber(np.where(foreground, parts, 0), preserve_zero=True)[0]
        return labels.astype(np.uint32)
