"""One crop: what the user says about it, and how it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import ArrayRef, Volume
from dacapo_hd.config import ADDED_LATER, non_empty, positive
from dacapo_hd.datasplits.intensity import IntensityRange, normalise
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import UNKNOWN, LabelBlock
from dacapo_hd.labels.decode import ClassAnnotation
from dacapo_hd.labels.derive import contradictory, derive, merge
from dacapo_hd.labels.regrid import Relation
from dacapo_hd.labels.scheme import ClassScheme
from dacapo_hd.labels.sources import LabelSource, OpenLabels
from dacapo_hd.labels.values import blocks


@attrs.frozen
class Crop:
    """A raw array with labels on all or a part of it.

    `mask`: labels count only where it is nonzero. `roi_vx`: per axis (begin, end) in voxels of the raw array; labels
    outside are unknown, raw outside serves as context. `annotations`: known numbers about the crop, by name; with
    `regions`, an array of integers on the voxels of raw, `NAME/3` is about the voxels that are 3 there. A crop with
    annotations needs no labels. `weight`: how often it is sampled, relative to other crops.
    """

    name: str = attrs.field(validator=non_empty)
    raw: ArrayRef
    labels: tuple[LabelSource, ...] = ()
    mask: ArrayRef | None = None
    roi_vx: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None
    annotations: Mapping[str, float] = attrs.field(factory=dict)
    weight: float = attrs.field(default=1.0, validator=positive)
    regions: ArrayRef | None = attrs.field(default=None, metadata=ADDED_LATER)


def assuming(value: Any, size_nm: tuple[float, ...] | str | None) -> Any:
    """Return a crop, or a part of one, whose arrays have a voxel size where neither file nor config gives one."""
    if size_nm is None:
        return value
    if isinstance(value, ArrayRef):
        return attrs.evolve(value, assumed_voxel_size_nm=value.assumed_voxel_size_nm or size_nm)
    if isinstance(value, tuple | list):
        return type(value)(assuming(entry, size_nm) for entry in value)
    if isinstance(value, Mapping):
        return {key: assuming(entry, size_nm) for key, entry in value.items()}
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        changed = {field.alias: assuming(getattr(value, field.name), size_nm) for field in fields}
        return attrs.evolve(value, **changed)
    return value


# one array may be the raw of many crops
_RAW: WeakKeyDictionary[Volume, NDArray[Any]] = WeakKeyDictionary()


@attrs.define(slots=False)
class _Cache:
    """What a crop keeps in memory; each process fills its own."""

    keeps_raw: bool = False
    keeps_labels: bool = False
    labels: LabelBlock | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "labels": None}


@attrs.frozen(eq=False)
class OpenCrop:
    """A crop whose arrays are open; picklable.

    `label_grid` is the box around all labels, on the voxels of `raw_grid` and inside it; without labels, the box that
    `annotations` are about. `notes` say how arrays were understood, `warnings` what may be wrong with their places.
    """

    name: str
    classes: tuple[str, ...]
    raw_grid: Grid
    label_grid: Grid
    channels: int
    intensity_range: IntensityRange
    weight: float
    annotations: Mapping[str, float]
    instance_classes: tuple[str, ...]
    raw: Volume
    labels: tuple[OpenLabels, ...]
    mask: Volume | None
    scheme: ClassScheme
    regions: Volume | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    _cache: _Cache = attrs.field(factory=_Cache, repr=False)

    @property
    def labelled(self) -> bool:
        """Whether the crop has labels, be it of other classes."""
        return bool(self.labels)

    def read_raw(self, roi: Roi) -> NDArray[np.float32]:
        """Return normalised intensities (c, z, y, x) in -1..1 of an ROI (femtometres) inside `raw_grid`.

        UserError where raw is NaN or infinite.
        """
        if self._cache.keeps_raw:
            if self.raw not in _RAW:
                _RAW[self.raw] = self._stored(self.raw_grid.roi)
            data = _RAW[self.raw][(slice(None), *self.raw_grid.slices(roi))]
        else:
            data = self._stored(roi)
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            self._refuse(data, roi)
        return normalise(data, self.intensity_range)

    def read_labels(self, roi: Roi) -> LabelBlock:
        """Return what is known in any ROI (femtometres) of whole voxels of `raw_grid`; unknown outside `label_grid`."""
        shape = Grid.from_roi(roi, self.raw_grid.voxel_size).shape_vx
        inside = roi.intersect(self.label_grid.roi)
        empty = self._empty_block(shape)
        if inside.empty:
            return empty
        here = Grid.from_roi(roi, self.raw_grid.voxel_size).slices(inside)
        found = self._known(inside)
        empty.code[(slice(None), *here)] = found.code
        for name, ids in found.instances.items():
            empty.instances[name][here] = ids
        if empty.regions is not None:
            empty.regions[here] = self._read_regions(inside)
        return empty

    def memory(self) -> dict[str, int]:
        """Return how many bytes `raw` and `labels` take in memory."""
        label_bytes = len(self.classes) + 4 * len(self.instance_classes)
        return {
            "raw": math.prod(self.raw_grid.shape_vx) * self.channels * self.raw.dtype.itemsize,
            "labels": math.prod(self.label_grid.shape_vx) * label_bytes,
        }

    def keep(self, raw: bool, labels: bool) -> None:
        """Say what is to be kept in memory once read."""
        self._cache.keeps_raw, self._cache.keeps_labels = raw, labels

    def _stored(self, roi: Roi) -> NDArray[Any]:
        data = self.raw.read(roi)
        return data if self.raw.channels is not None else data[None]

    def _refuse(self, data: NDArray[Any], roi: Roi) -> None:
        where = tuple(np.argwhere(~np.isfinite(data))[0])
        begin = (roi.offset - self.raw_grid.offset) / self.raw_grid.voxel_size
        voxel = tuple(int(a + b) for a, b in zip(begin, where[1:], strict=True))
        raise UserError(
            f"crop {self.name!r}: raw {self.raw.path!r} is {data[where]} at voxel {voxel} (z, y, x); "
            "replace what is not finite by numbers"
        )

    def _empty_block(self, shape_vx: tuple[int, ...]) -> LabelBlock:
        return LabelBlock(
            self.classes,
            np.full((len(self.classes), *shape_vx), UNKNOWN, np.uint8),
            self.raw_grid.voxel_size_nm,
            {name: np.zeros(shape_vx, np.uint32) for name in self.instance_classes},
            self.annotations,
            np.zeros(shape_vx, np.uint32) if self.annotations else None,
        )

    def _known(self, roi: Roi) -> LabelBlock:
        if not self._cache.keeps_labels:
            return self._derived(roi)
        if self._cache.labels is None:
            kept = self._empty_block(self.label_grid.shape_vx)
            for part in blocks(self.label_grid):
                here, found = self.label_grid.slices(part), self._derived(part)
                kept.code[(slice(None), *here)] = found.code
                for name, ids in found.instances.items():
                    kept.instances[name][here] = ids
            self._cache.labels = kept
        kept, here = self._cache.labels, self.label_grid.slices(roi)
        instances = {name: ids[here] for name, ids in kept.instances.items()}
        return LabelBlock(kept.classes, kept.code[(slice(None), *here)], kept.voxel_size_nm, instances)

    def _derived(self, roi: Roi) -> LabelBlock:
        """Read and derive an ROI inside `label_grid`."""
        annotations = self._annotations(roi)
        shape = Grid.from_roi(roi, self.raw_grid.voxel_size).shape_vx
        block = self._empty_block(shape)
        usable = self._usable(roi)
        if annotations:
            np.copyto(block.code, derive(self.scheme, _merged(annotations), self.classes), where=usable)
        for name, kept in block.instances.items():
            for one in annotations.get(name, []):
                if one.ids is not None:
                    np.copyto(kept, one.ids, where=usable)
        return block

    def _read_regions(self, roi: Roi) -> NDArray[np.uint32]:
        """Return which region the voxels of an ROI inside `label_grid` belong to."""
        shape = Grid.from_roi(roi, self.raw_grid.voxel_size).shape_vx
        found = np.ones(shape, np.uint32)
        if self.regions is not None:
            found[:] = 0
            inside = roi.intersect(self.regions.grid.roi)
            if not inside.empty:
                here = Grid.from_roi(roi, self.raw_grid.voxel_size).slices(inside)
                found[here] = self.regions.read(inside)
        return np.where(self._usable(roi), found, np.uint32(0))

    def contradictions(self, roi: Roi) -> int:
        """Count the voxels of an ROI inside `label_grid` where annotations say what the scheme rules out."""
        annotations = self._annotations(roi)
        if not annotations:
            return 0
        return int((contradictory(self.scheme, _merged(annotations)) & self._usable(roi)).sum())

    def _annotations(self, roi: Roi) -> dict[str, list[ClassAnnotation]]:
        annotations: dict[str, list[ClassAnnotation]] = {}
        for source in self.labels:
            for name, annotation in source.read(roi, self.raw_grid).items():
                annotations.setdefault(name, []).append(annotation)
        return annotations

    def _usable(self, roi: Roi) -> NDArray[np.bool_] | np.bool_:
        if self.mask is None:
            return np.bool_(True)
        relation = Relation.between(self.mask.grid, self.raw_grid)
        covering = relation.covering(self.mask.grid, roi)
        inside = covering.intersect(self.mask.grid.roi)
        whole = Grid.from_roi(covering, self.mask.grid.voxel_size)
        usable = np.zeros(whole.shape_vx, bool)
        if not inside.empty:
            usable[whole.slices(inside)] = self.mask.read(inside) != 0
        return relation.all_of(usable)[Grid.from_roi(covering, self.raw_grid.voxel_size).slices(roi)]


def _merged(annotations: Mapping[str, list[ClassAnnotation]]) -> dict[str, NDArray[np.uint8]]:
    return {name: merge(one.code for one in several) for name, several in annotations.items()}


def box_of_labels(raw: Grid, labels: list[Grid], roi_vx: tuple[tuple[int, int], ...] | None) -> Grid | None:
    """Return the grid of the raw voxels that the boxes of the labels touch, None if they touch none.

    UserError if `roi_vx` is not inside the raw grid.
    """
    if roi_vx is not None:
        raw.part(*zip(*roi_vx, strict=True))
    begin, end = [], []
    for axis, (low, high) in enumerate(roi_vx or [(0, n) for n in raw.shape_vx]):
        size, first = raw.voxel_size[axis], raw.offset[axis]
        begins = (grid.offset[axis] - first for grid in labels)
        ends = (grid.offset[axis] + grid.shape_vx[axis] * grid.voxel_size[axis] - first for grid in labels)
        begin.append(max(low, min(begins) // size))
        end.append(min(high, -(-max(ends) // size)))
    return raw.part(begin, end) if all(a < b for a, b in zip(begin, end, strict=True)) else None
