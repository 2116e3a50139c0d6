"""Segmenters that partition the graph of voxels whose edges are affinities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import ADDED_LATER, fraction, non_negative, one_of
from dacapo_hd.segmentation.affinities import KINDS, Affinities, affinities_of, interior, interior_of_sections, reach_vx
from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, UnitedBy
from dacapo_hd.segmentation.flooding import LEVELS, flood


@attrs.frozen
class AffinitySegmenter(InstanceSegmenter):
    """Partitions affinities; an edge attracts where its affinity exceeds `cut`.

    `quantity` names the affinities: `affinity`, `mask_affinity` or `latent_affinity`. Where the `probability` of the
    class is predicted too, voxels at which it is at most `foreground` are background and no edge crosses into them.
    Segments of fewer than `min_size_vx` voxels, and single voxels in any case, are removed. With `regrow` the others
    grow over their places, inside first (a watershed of the mean affinity with the face neighbours), so that no other
    background is left; without, they become background.
    """

    united_by: ClassVar[UnitedBy] = "overlap"
    bytes_per_channel: ClassVar[int] = 24
    readable: ClassVar[tuple[tuple[str, ...], ...]] = tuple((kind,) for kind in KINDS)

    quantity: str = attrs.field(default="affinity", validator=one_of(*KINDS))
    cut: float = attrs.field(default=0.5, validator=fraction)
    min_size_vx: int = attrs.field(default=200, validator=non_negative)
    regrow: bool = True
    halo_vx: int = attrs.field(default=32, validator=non_negative)
    foreground: float = attrs.field(default=0.5, validator=fraction, metadata=ADDED_LATER, kw_only=True)

    @abstractmethod
    def partition(self, affinities: Affinities) -> NDArray[np.uint32]:
        """Number the parts of a block (z, y, x) from 1 without gaps; every voxel is in one."""

    def pieces(self, prediction: Prediction) -> Mapping[str, NDArray[np.uint32]]:
        found = affinities_of(prediction, self.quantity, self)
        present = prediction.classes("probability")
        masks = {name: prediction.channel(f"{name}/probability") > self.foreground for name in found if name in present}
        return {name: self._pieces(affinities, masks.get(name)) for name, affinities in found.items()}

    def _pieces(self, affinities: Affinities, mask: NDArray[np.bool_] | None) -> NDArray[np.uint32]:
        if mask is None:
            return without_small(self.partition(affinities), affinities, self.min_size_vx, self.regrow)
        inside = affinities.within(mask)
        parts = np.where(mask, self.partition(inside), np.uint32(0))
        return without_small(parts, inside, self.min_size_vx, self.regrow, mask)

    def reach_vx(self, prediction: Prediction) -> tuple[int, ...]:
        return reach_vx(prediction, self.quantity, self)

    def _rule(self, *words: str) -> str:
        size = (f"size >= {self.min_size_vx}",) if self.min_size_vx else ()
        grown = () if self.regrow else ("no regrowth",)
        inside = (f"foreground > {self.foreground:g}",) if self.foreground != 0.5 else ()
        return ", ".join((f"{self.quantity} > {self.cut:g}", *words, *size, *grown, *inside))


def without_small(
    labels: NDArray[np.uint32],
    affinities: Affinities,
    min_size_vx: int,
    regrow: bool,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint32]:
    """Remove parts of fewer than `min_size_vx` voxels, at least single ones; with `regrow` the others fill the gaps.

    They stay inside of `mask`, if there is one. Returns the parts numbered without gaps, uint32 (z, y, x).
    """
    sizes = np.bincount(labels.ravel())
    kept = sizes >= max(min_size_vx, 2)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
    left = numbers[labels]
    if not regrow or not kept.any() or kept[1:].all():
        return left
    levels = np.rint(interior(affinities) * np.float32(LEVELS)).clip(1, LEVELS).astype(np.uint8)
    if mask is not None:
        levels[~mask] = 0
    return flood(levels, left)


@attrs.frozen
class MutexWatershed(AffinitySegmenter):
    """Joins voxels by attractive edges, the strongest first, unless a stronger repulsive edge forbids it.

    Source: Wolf et al. 2018 and 2020. All edges between neighbours (26) are used, of longer ones the share
    `long_range_fraction`, drawn by a hash of position and `seed`, and only those from the voxels of the lattice
    `long_range_stride_vx` (z, y, x). Equally strong edges come in the order of the same hash: the result is the same
    each time.
    """

    long_range_fraction: float = attrs.field(default=0.1, validator=fraction)
    long_range_stride_vx: tuple[int, int, int] = attrs.field(default=(1, 1, 1))
    seed: int = attrs.field(default=0, validator=non_negative)

    @long_range_stride_vx.validator
    def _positive(self, attribute: attrs.Attribute[Any], value: tuple[int, int, int]) -> None:
        if any(stride < 1 for stride in value):
            raise ValueError(f"must be >= 1 on every axis, got {value!r}")

    @property
    def label(self) -> str:
        words = [f"long range {self.long_range_fraction:g}"]
        if self.long_range_stride_vx != (1, 1, 1):
            words.append(f"stride {' '.join(map(str, self.long_range_stride_vx))}")
        if self.seed:
            words.append(f"seed {self.seed}")
        return f"mutex_watershed({self._rule(*words)})"

    def partition(self, affinities: Affinities) -> NDArray[np.uint32]:
        from dacapo_hd.operations.mutex_watershed import mutex_watershed

        near = affinities.near()
        strides = np.where(near[:, None], 1, self.long_range_stride_vx)
        return mutex_watershed(
            affinities.values,
            affinities.offsets_vx,
            cut=self.cut,
            fractions=np.where(near, 1.0, self.long_range_fraction).tolist(),
            strides_vx=strides.tolist(),
            seed=self.seed,
        )


@attrs.frozen
class SuperpixelAgglomeration(AffinitySegmenter):
    """Cuts each section into superpixels and merges these in three dimensions by average linkage.

    Superpixels: watershed of the least affinity with the face neighbours in the section, from the maxima of the
    distance to where it is at most `boundary`, smoothed by `seed_sigma_vx`; those of fewer than `min_superpixel_vx`
    voxels go to their neighbours. Edges between superpixels that touch have the mean affinity, over all offsets, of
    the pairs of voxels on both sides; the strongest edge is contracted until none exceeds `cut`, and edges that become
    parallel are averaged by their numbers of pairs. Source: Bailoni et al. 2020, section 5.2 (WSDT, there with the mean
    affinity), and 2022 (GASP, average linkage).
    """

    boundary: float = attrs.field(default=0.5, validator=fraction)
    seed_sigma_vx: float = attrs.field(default=2.0, validator=non_negative)
    min_superpixel_vx: int = attrs.field(default=50, validator=non_negative)

    @property
    def label(self) -> str:
        return f"superpixels({self._rule(f'boundary {self.boundary:g}', f'sigma {self.seed_sigma_vx:g}')})"

    def partition(self, affinities: Affinities) -> NDArray[np.uint32]:
        from dacapo_hd.segmentation.superpixels import average_linkage, superpixels

        inside = interior_of_sections(affinities)
        parts = superpixels(inside, self.boundary, self.seed_sigma_vx, self.min_superpixel_vx)
        if affinities.mask is not None:
            # what lies outside must not count for the objects beside it
            outside = np.where(affinities.mask, parts, np.uint32(0))
            parts = (np.unique(outside, return_inverse=True)[1].reshape(parts.shape) + 1).astype(np.uint32)
        return average_linkage(parts, affinities, self.cut)
