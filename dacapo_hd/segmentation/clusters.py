"""Segmenters of embeddings: objects are connected voxels whose vectors agree."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import ADDED_LATER, non_negative, one_of, positive
from dacapo_hd.operations.distance import Axes
from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction
from dacapo_hd.segmentation.components import labelled_components
from dacapo_hd.segmentation.vectors import Embedded, embedded


def below_one(instance: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    """Require a fraction that something can exceed."""
    if not 0 <= value < 1:
        raise ValueError(f"must be at least 0 and less than 1, got {value}")


def _acute(instance: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < 90:
        raise ValueError(f"must be between 0 and 90, got {value}")


@attrs.frozen
class EmbeddingSegmenter(InstanceSegmenter):
    """Tells objects apart by their embedding, among the voxels whose distance exceeds `threshold`.

    With `axes: yx` each section is segmented by itself, as a task that was taught so needs it: an object has other
    vectors in the next section. In blocks (`united_by` overlap), `halo_vx` should be about the size of an object: what
    is in a block is decided by what the block and its halo hold.
    """

    readable: ClassVar[tuple[tuple[str, ...], ...]] = (("distance", "embedding"),)
    bytes_per_channel: ClassVar[int] = 12

    threshold: float = attrs.field(default=0.1, validator=below_one, kw_only=True)
    axes: Axes = attrs.field(default="zyx", validator=one_of(*get_args(Axes)), kw_only=True, metadata=ADDED_LATER)
    min_size_vx: int = attrs.field(default=0, validator=non_negative, kw_only=True)
    fill_holes: bool = attrs.field(default=False, kw_only=True)
    halo_vx: int = attrs.field(default=32, validator=non_negative, kw_only=True)

    @abstractmethod
    def divide(self, found: Embedded, foreground: NDArray[np.bool_]) -> NDArray[np.uint32]:
        """Number the objects of one class 1, 2, ... in the foreground (z, y, x); 0 for voxels of none."""

    def pieces(self, prediction: Prediction) -> Mapping[str, NDArray[np.uint32]]:
        divide = self.divide if self.axes == "zyx" else self._divide_sections
        return {name: divide(found, found.depth > self.threshold) for name, found in embedded(prediction, self).items()}

    def _divide_sections(self, found: Embedded, foreground: NDArray[np.bool_]) -> NDArray[np.uint32]:
        labels = np.zeros(foreground.shape, np.uint32)
        number = 0
        for section in range(len(labels)):
            alone = slice(section, section + 1)
            own = self.divide(Embedded(found.vectors[alone], found.depth[alone]), foreground[alone])
            labels[alone] = np.where(own > 0, own + np.uint32(number), 0)
            number += int(own.max(initial=0))
        return labels

    def _words(self, rule: str) -> str:
        size = f", size >= {self.min_size_vx}" if self.min_size_vx else ""
        sections = ", in sections" if self.axes == "yx" else ""
        return f"{rule}, distance > {self.threshold:g}{sections}{size}{', holes filled' if self.fill_holes else ''}"


@attrs.frozen
class AngularClustering(EmbeddingSegmenter):
    """Clusters grow from seeds through faces, over voxels at most `degrees` from the mean vector of the seed.

    Wu, Chen, Merhof 2020, section 3. Seeds are the components of the voxels whose distance exceeds `seed_threshold`,
    connected through faces across which vectors are at most `degrees` apart: the distance need not fall between objects
    that touch. There the threshold is 0.7 of the largest in the image, here 0.7 of an object's own, which is 1. A voxel
    that several clusters reach at the same number of steps joins that of the smallest angle. With `merge`, clusters
    that touch become one object if their seeds' vectors are at most `degrees` apart.
    """

    seed_threshold: float = attrs.field(default=0.7, validator=below_one)
    degrees: float = attrs.field(default=45.0, validator=_acute)
    merge: bool = True

    @seed_threshold.validator
    def _above_threshold(self, attribute: attrs.Attribute[float], value: float) -> None:
        if value < self.threshold:
            raise ValueError(f"must be at least threshold ({self.threshold:g}), got {value}")

    @property
    def label(self) -> str:
        merged = ", merged" if self.merge else ""
        return f"angular({self._words(f'{self.degrees:g} degrees, seeds > {self.seed_threshold:g}')}{merged})"

    def divide(self, found: Embedded, foreground: NDArray[np.bool_]) -> NDArray[np.uint32]:
        from dacapo_hd.segmentation import angular_kernels as kernels

        vectors = found.vectors.reshape(-1, found.vectors.shape[-1])
        least = math.cos(math.radians(self.degrees))
        inside = found.depth > self.seed_threshold
        # each voxel a cluster of its own, of which those that agree are merged
        voxels = np.where(inside, np.cumsum(inside, dtype=np.uint32).reshape(inside.shape), 0).astype(np.uint32)
        seeds = _merged(voxels, np.concatenate([np.zeros_like(vectors[:1]), vectors[inside.ravel()]]), least)
        directions = _directions(vectors, seeds.ravel(), int(seeds.max(initial=0)))
        labels, allowed = np.pad(seeds, 1), np.pad(foreground, 1)
        padded = np.pad(found.vectors, [(1, 1)] * 3 + [(0, 0)]).reshape(-1, vectors.shape[-1])
        kernels.grow(labels, allowed.ravel(), padded, directions, least)
        labels = np.ascontiguousarray(labels[1:-1, 1:-1, 1:-1])
        return _merged(labels, directions, least) if self.merge else labels


def _merged(labels: NDArray[np.uint32], directions: NDArray[np.float32], least: float) -> NDArray[np.uint32]:
    from dacapo_hd.segmentation import angular_kernels as kernels

    root = np.arange(len(directions))
    kernels.merge_touching(labels, directions, least, root)
    numbers = np.cumsum(root == np.arange(len(root)), dtype=np.uint32) - np.uint32(1)
    merged: NDArray[np.uint32] = numbers[root][labels]
    return merged


def _directions(vectors: NDArray[np.float32], labels: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Return the direction of the mean vector of each label (count + 1, e), that of label 0 being 0."""
    inside = np.flatnonzero(labels)
    chosen = labels[inside]
    sums = [np.bincount(chosen, part, count + 1) for part in vectors[inside].T]
    # of nothing, bincount counts in integers
    directions = np.stack(sums, axis=1).astype(np.float64)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    return directions.astype(np.float32)


@attrs.frozen
class SampledClustering(EmbeddingSegmenter):
    """Clusters of the vectors of `samples` voxels; each voxel joins the cluster of the nearest direction.

    Objects are the face-connected components of the voxels of one cluster, because embeddings of objects that are not
    neighbours may be alike. The sample is spread evenly over the foreground in the order of the volume. A sample in
    which no cluster is found is one cluster.
    """

    samples: int = attrs.field(default=2000, validator=positive, kw_only=True)

    @abstractmethod
    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Number the clusters of vectors (n, e) of length 1 from 0 on; -1 for vectors of none."""

    def divide(self, found: Embedded, foreground: NDArray[np.bool_]) -> NDArray[np.uint32]:
        inside = np.flatnonzero(foreground)
        if not len(inside):
            return np.zeros(foreground.shape, np.uint32)
        vectors = found.vectors.reshape(-1, found.vectors.shape[-1])[inside]
        chosen = vectors[np.linspace(0, len(inside) - 1, min(self.samples, len(inside))).astype(np.int64)]
        clusters = self.cluster(chosen) + 1
        if not clusters.any():
            # what has no clusters is one
            clusters += 1
        directions = _directions(chosen, clusters, int(clusters.max()))[1:]
        labels = np.zeros(foreground.shape, np.uint32)
        labels.ravel()[inside] = np.argmax(vectors @ directions.T, axis=1) + 1
        return labelled_components(labels)


@attrs.frozen
class MeanShiftClustering(SampledClustering):
    """Mean shift with a flat kernel of radius `bandwidth` (Comaniciu & Meer, 2002; scikit-learn).

    Vectors have length 1: those 45 degrees apart differ by 0.77, orthogonal ones by 1.41.
    """

    bandwidth: float = attrs.field(default=0.5, validator=positive)

    @property
    def label(self) -> str:
        return f"mean_shift({self._words(f'bandwidth {self.bandwidth:g}')})"

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        from sklearn.cluster import MeanShift

        # a vector of each bin: the bins' middles, which scikit-learn would take, can be out of reach of all vectors
        starts = np.unique(np.rint(vectors / self.bandwidth), axis=0, return_index=True)[1]
        found: NDArray[np.int64] = MeanShift(bandwidth=self.bandwidth, seeds=vectors[starts]).fit(vectors).labels_
        return found


@attrs.frozen
class HdbscanClustering(SampledClustering):
    """HDBSCAN with at least `min_samples` of the sampled voxels in a cluster (Campello et al., 2013; scikit-learn)."""

    min_samples: int = attrs.field(default=20, validator=positive)

    @min_samples.validator
    def _at_least_two(self, attribute: attrs.Attribute[int], value: int) -> None:
        if value < 2:
            raise ValueError(f"must be >= 2, got {value}")

    @property
    def label(self) -> str:
        return f"hdbscan({self._words(f'clusters >= {self.min_samples}')})"

    @min_samples.validator
    def _of_the_sample(self, attribute: attrs.Attribute[int], value: int) -> None:
        if value > self.samples:
            raise ValueError(f"must be at most samples ({self.samples}), got {value}")

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        from sklearn.cluster import HDBSCAN

        if len(vectors) < self.min_samples:
            return np.full(len(vectors), -1, np.int64)
        found: NDArray[np.int64] = HDBSCAN(min_cluster_size=self.min_samples, copy=True).fit(vectors).labels_
        return found.astype(np.int64)
