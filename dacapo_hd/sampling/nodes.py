"""Gunpowder nodes over our crops, augmentations and tasks.

Differences from gunpowder's own nodes: every random number comes from the request's (seed, index) and the node's
own number, never from the global generators, which these nodes do not even touch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate, Roi
from numpy.typing import NDArray

from dacapo_hd.datasplits import OpenCrop
from dacapo_hd.geometry import nm
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.operations.mirror import mirrored
from dacapo_hd.sampling.augment import GeometricAugment, Geometry, IntensityAugment, SectionAugment, Space
from dacapo_hd.sampling.boxes import Box, orient, oriented_box
from dacapo_hd.sampling.locations import Locator
from dacapo_hd.sampling.warp import Warp
from dacapo_hd.tasks.base import Task

RAW = gp.ArrayKey("RAW")
LABELS = gp.ArrayKey("LABELS")
INSTANCES = gp.ArrayKey("INSTANCES")
LOCATION = gp.ArrayKey("LOCATION")

LOCATION_STREAM = 0


class SampleRequest(gp.BatchRequest):
    """A request for sample `index` of a seed.

    gunpowder squares the seed at every copy of a request, modulo 2^32: after some twenty copies two values remain
    for all samples. Here the entropy stays as it is, and each node adds its own number.
    """

    def __init__(self, seed: int, index: int) -> None:
        self.entropy = (seed, index)
        super().__init__(random_seed=int(np.random.SeedSequence(self.entropy).generate_state(1)[0]))

    def copy(self) -> SampleRequest:
        """Copy as far as nodes change requests; gunpowder copies each Roi, several times per node."""
        twin = copy.copy(self)
        twin.array_specs = {key: copy.copy(spec) for key, spec in self.array_specs.items()}
        return twin

    def generator(self, stream: int) -> np.random.Generator:
        """Return the generator of the node with the number `stream`."""
        return np.random.default_rng((*self.entropy, stream))


class _KeepsGlobalState:
    def set_seeds(self, request: gp.BatchRequest) -> None:
        """Leave Python's and numpy's global generators alone; gunpowder would seed them."""


class CropSource(_KeepsGlobalState, gp.BatchProvider):
    """Raw and labels of a crop, in femtometres from the corner of its raw, without bounds.

    RAW is float32 (c, z, y, x), mirrored at the volume's edges; LABELS are codes, uint8 (class, z, y, x), unknown
    outside; INSTANCES is uint32 (k, z, y, x) for the classes named in its attribute `classes`, and in the end the
    regions, if there are `annotations`, which are the other attribute.
    """

    def __init__(self, crop: OpenCrop) -> None:
        self.crop = crop

    def setup(self) -> None:
        voxel_size = self.crop.raw_grid.voxel_size
        self.provides(RAW, gp.ArraySpec(voxel_size=voxel_size, interpolatable=True, dtype=np.float32))
        self.provides(LABELS, gp.ArraySpec(voxel_size=voxel_size, interpolatable=False, dtype=np.uint8))
        self.provides(INSTANCES, gp.ArraySpec(voxel_size=voxel_size, interpolatable=False, dtype=np.uint32))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        batch = gp.Batch()
        batch[RAW] = self._array(RAW, request[RAW].roi, self._raw(request[RAW].roi))
        roi = request[LABELS].roi
        block = self.crop.read_labels(roi + self.crop.raw_grid.offset)
        batch[LABELS] = self._array(LABELS, roi, block.code)
        ids = [block.instances[name] for name in block.instances]
        if block.regions is not None:
            ids.append(block.regions)
        stacked = np.stack(ids) if ids else np.zeros((0, *block.code.shape[1:]), np.uint32)
        known: dict[str, object] = {"classes": tuple(block.instances), "annotations": block.annotations}
        batch[INSTANCES] = self._array(INSTANCES, roi, stacked, known)
        return batch

    def _array(
        self, key: gp.ArrayKey, roi: Roi, data: NDArray[np.generic], attributes: dict[str, object] | None = None
    ) -> gp.Array:
        spec = copy.copy(self.spec[key])
        spec.roi = roi
        return gp.Array(data, spec, attributes)

    def _raw(self, roi: Roi) -> NDArray[np.float32]:
        grid = self.crop.raw_grid
        begin, end = roi.begin / grid.voxel_size, roi.end / grid.voxel_size
        indices = [mirrored(a, b, n) for a, b, n in zip(begin, end, grid.shape_vx, strict=True)]
        low = [int(i.min()) for i in indices]
        shape = [int(i.max()) + 1 - a for i, a in zip(indices, low, strict=True)]
        data = self.crop.read_raw(grid.roi_of(low, shape))
        if tuple(shape) == tuple(end - begin):
            return data
        channels = np.arange(len(data))
        return data[np.ix_(channels, *(i - a for i, a in zip(indices, low, strict=True)))]


class ChooseLocation(_KeepsGlobalState, gp.BatchProvider):
    """Take the sample from one of the crops, so that its output window lies where the locator says.

    Requests are in voxels from the input's first voxel. LOCATION is int64 (crop, z, y, x).
    """

    def __init__(self, locator: Locator, output: Box) -> None:
        self.locator = locator
        self.output = output

    def setup(self) -> None:
        for key, spec in self.get_upstream_providers()[0].spec.items():
            self.provides(key, spec)
        self.provides(LOCATION, gp.ArraySpec(nonspatial=True))

    def provide(self, request: SampleRequest) -> gp.Batch:
        index, begin = self.locator.draw(request.generator(LOCATION_STREAM))
        shift = (Coordinate(begin) - Coordinate(self.output.begin)) * self.spec[RAW].voxel_size
        upstream = request.copy()
        upstream.array_specs.pop(LOCATION, None)
        for _, spec in upstream.items():
            spec.roi = spec.roi + shift
        batch = self.get_upstream_providers()[index].request_batch(upstream)
        for _, array in batch.items():
            array.spec.roi = array.spec.roi - shift
        batch[LOCATION] = gp.Array(np.array([index, *begin]), gp.ArraySpec(nonspatial=True))
        return batch


class MoveVoxels(_KeepsGlobalState, gp.BatchFilter):
    """Compose all geometric augmentations of a sample and resample raw and labels once.

    Flips and transpositions alone only reorder voxels.
    """

    def __init__(self, augments: Sequence[tuple[int, GeometricAugment]], sample: Box, planar: bool) -> None:
        self.augments = augments
        self.planar = planar
        self.twice_centre = tuple(a + b - 1 for a, b in zip(sample.begin, sample.end, strict=True))

    def provide(self, request: SampleRequest) -> gp.Batch:
        voxel_size = self.spec[RAW].voxel_size
        boxes = {key: _box(request[key].roi, voxel_size) for key in (RAW, LABELS, INSTANCES)}
        around = boxes[RAW].union(boxes[LABELS])
        geometry = self._draw(request, around, nm(voxel_size))
        warp = None if geometry.exact else Warp(geometry, around, self.twice_centre, nm(voxel_size))
        upstream = request.copy()
        sources = {}
        for key, box in boxes.items():
            sources[key] = warp.source(box) if warp else oriented_box(box, geometry.orientation, self.twice_centre)
            upstream[key].roi = box_roi(sources[key], voxel_size)
        batch = self.get_upstream_provider().request_batch(upstream)
        for key, box in boxes.items():
            data = batch[key].data
            if warp is None:
                data = orient(data, geometry.orientation)
            else:
                data = (warp.linear if key == RAW else warp.nearest)(data, sources[key], box)
            batch[key].data = data
            batch[key].spec.roi = request[key].roi
        return batch

    def _draw(self, request: SampleRequest, box: Box, voxel_size_nm: tuple[float, ...]) -> Geometry:
        reach = [
            max(abs(2 * a - c), abs(2 * b - c)) for a, b, c in zip(box.begin, box.end, self.twice_centre, strict=True)
        ]
        extent = tuple(r * v for r, v in zip(reach, voxel_size_nm, strict=True))
        space = Space(voxel_size_nm, self.planar, extent)
        geometry = Geometry()
        for stream, augment in self.augments:
            rng = request.generator(stream)
            if rng.random() < augment.probability:
                geometry = geometry.then(augment.draw(rng, space))
        return geometry


class ChangeIntensity(_KeepsGlobalState, gp.BatchFilter):
    """Apply the intensity augmentations to RAW, one after the other."""

    def __init__(self, augments: Sequence[tuple[int, IntensityAugment]]) -> None:
        self.augments = augments

    def process(self, batch: gp.Batch, request: SampleRequest) -> None:
        # what a reader hands out may be memory that it keeps
        raw = batch[RAW].data.copy()
        for stream, augment in self.augments:
            rng = request.generator(stream)
            if rng.random() < augment.probability:
                raw = augment.apply(raw, rng)
        batch[RAW].data = raw


class LoseWholeSections(_KeepsGlobalState, gp.BatchFilter):
    """Make sections of RAW black, and give their labels those of the section before, unknown where it was not read."""

    def __init__(self, augments: Sequence[tuple[int, SectionAugment]]) -> None:
        self.augments = augments

    def process(self, batch: gp.Batch, request: SampleRequest) -> None:
        voxel_size = self.spec[RAW].voxel_size
        raw, labels = (_box(batch[key].spec.roi, voxel_size) for key in (RAW, LABELS))
        for stream, augment in self.augments:
            rng = request.generator(stream)
            if rng.random() >= augment.probability:
                continue
            lost = np.flatnonzero(augment.lost(rng, raw.shape[0]))
            for key in (RAW, LABELS, INSTANCES):
                batch[key].data = batch[key].data.copy()
            batch[RAW].data[:, lost] = -1
            for z in lost + raw.begin[0] - labels.begin[0]:
                if 0 <= z < labels.shape[0]:
                    for key in (LABELS, INSTANCES):
                        batch[key].data[:, z] = batch[key].data[:, z - 1] if z > 0 else 0


class AddTargets(_KeepsGlobalState, gp.BatchFilter):
    """Compute the task's targets for the output window from labels with the context that the task needs."""

    def __init__(self, task: Task, output: Box, context_vx: tuple[int, ...]) -> None:
        self.task = task
        self.output = output
        self.around = Box(
            tuple(b - c for b, c in zip(output.begin, context_vx, strict=True)),
            tuple(n + 2 * c for n, c in zip(output.shape, context_vx, strict=True)),
        )
        self.names: tuple[str, ...] = ()

    def setup(self) -> None:
        voxel_size = self.spec[LABELS].voxel_size
        nothing = np.zeros((len(self.task.classes), *self.around.shape), np.uint8)
        # what the task makes of unknown labels tells the names
        self.names = tuple(self.task.targets(LabelBlock(self.task.classes, nothing, nm(voxel_size))))
        for key in (key for name in self.names for key in target_keys(name)):
            self.provides(key, gp.ArraySpec(voxel_size=voxel_size, interpolatable=False, dtype=np.float32))

    def prepare(self, request: SampleRequest) -> gp.BatchRequest:
        roi = box_roi(self.around, self.spec[LABELS].voxel_size)
        wanted = gp.BatchRequest()
        wanted[LABELS] = gp.ArraySpec(roi=roi)
        wanted[INSTANCES] = gp.ArraySpec(roi=roi)
        return wanted

    def process(self, batch: gp.Batch, request: SampleRequest) -> gp.Batch:
        voxel_size = self.spec[LABELS].voxel_size
        block = label_block(batch, self.task.classes)
        where = (slice(None), *self.output.slices_in(self.around))
        made = gp.Batch()
        for name, target in self.task.targets(block).items():
            for key, data in zip(target_keys(name), (target.value, target.weight), strict=True):
                spec = copy.copy(self.spec[key])
                spec.roi = box_roi(self.output, voxel_size)
                made[key] = gp.Array(data[where], spec, {"channels": target.channels})
        return made


def label_block(batch: gp.Batch, classes: tuple[str, ...]) -> LabelBlock:
    """Put the labels of a batch together."""
    found = batch[INSTANCES]
    annotations, instances = found.attrs["annotations"], list(found.data)
    regions = instances.pop() if annotations else None
    named = dict(zip(found.attrs["classes"], instances, strict=True))
    return LabelBlock(classes, batch[LABELS].data, nm(batch[LABELS].spec.voxel_size), named, annotations, regions)


def target_keys(name: str) -> tuple[gp.ArrayKey, gp.ArrayKey]:
    """Return the keys of a target's value and weight."""
    return gp.ArrayKey(f"TARGET_{name}"), gp.ArrayKey(f"WEIGHT_{name}")


def _box(roi: Roi, voxel_size: Coordinate) -> Box:
    return Box(tuple(map(int, roi.begin / voxel_size)), tuple(map(int, roi.shape / voxel_size)))


def box_roi(box: Box, voxel_size: Coordinate) -> Roi:
    return Roi(Coordinate(box.begin) * voxel_size, Coordinate(box.shape) * voxel_size)
