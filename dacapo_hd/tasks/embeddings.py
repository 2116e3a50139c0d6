"""Embeddings: voxels of one object get vectors that agree, and how deep a voxel lies in its object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import attrs
import numpy as np

from dacapo_hd.architectures.base import Architecture, FeatureMap
from dacapo_hd.config import non_negative, one_of, positive
from dacapo_hd.labels.block import ABSENT, PRESENT, LabelBlock
from dacapo_hd.operations.distance import Axes
from dacapo_hd.operations.object_distance import object_distance
from dacapo_hd.segmentation import AngularClustering, CosineMutexWatershed
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.segmentation.clusters import EmbeddingSegmenter
from dacapo_hd.segmentation.cosine import Similarity
from dacapo_hd.segmentation.vectors import embedding_channel
from dacapo_hd.tasks.base import OBJECT, OutputChannel, Target
from dacapo_hd.tasks.per_class import PerClassTask, known_score

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dacapo_hd.operations.embeddings import Objects

Constraints = Literal["local", "global"]
Averaging = Literal["objects", "voxels"]
Background = Literal["object", "adjacent", "ignored"]
CutObjects = Literal["visible", "ignored"]

AXES = "zyx"


@attrs.frozen
class Embeddings(PerClassTask):
    """Predict for each class a vector per voxel (`embedding_dims`) and the distance to the boundary of its object.

    Wu, Chen, Merhof 2020. The distance is a share of the largest in the object, learnt with a squared error of the
    prediction, clipped at 0 outside of objects. Vectors of one object agree with their mean (intra); mean vectors of
    objects with voxels at most `neighbour_radius_nm` apart (`constraints: local`), or of all (`global`), are made
    orthogonal (inter). The loss is `distance_weight` x distance + intra + `inter_weight` x inter.

    `similarity`, `intra_average`, `background` and `distance_factor` choose between the paper's form and that of the
    published code; `cut_objects` says what is learnt of the distance in objects of which a part is unknown. Labels are
    seen `context_nm` beyond the output. It needs instance ids.
    """

    embedding_dims: int = attrs.field(default=8, validator=positive)
    constraints: Constraints = attrs.field(default="local", validator=one_of(*get_args(Constraints)))
    neighbour_radius_nm: float = attrs.field(default=100.0, validator=positive)
    inter_weight: float = attrs.field(default=1.0, validator=non_negative)
    distance_weight: float = attrs.field(default=1.0, validator=positive)
    similarity: Similarity = attrs.field(default="absolute", validator=one_of(*get_args(Similarity)))
    intra_average: Averaging = attrs.field(default="objects", validator=one_of(*get_args(Averaging)))
    background: Background = attrs.field(default="object", validator=one_of(*get_args(Background)))
    distance_factor: float = attrs.field(default=1.0, validator=positive)
    distance_axes: Axes = attrs.field(default="zyx", validator=one_of(*get_args(Axes)))
    cut_objects: CutObjects = attrs.field(default="visible", validator=one_of(*get_args(CutObjects)))
    context_nm: float = attrs.field(default=0.0, validator=non_negative)
    balance: bool = attrs.field(default=False, kw_only=True)
    best_by: str = attrs.field(default="symmetric_best_dice", validator=known_score, kw_only=True)

    @similarity.validator
    def _that_of_the_grid(self, attribute: attrs.Attribute[Similarity], value: Similarity) -> None:
        for segmenter in self.grid:
            if isinstance(segmenter, CosineMutexWatershed) and segmenter.similarity != value:
                raise ValueError(
                    f"similarity {value!r} of the task, but {segmenter.similarity!r} of a CosineMutexWatershed of the "
                    "grid; give both the same"
                )

    @property
    def context_axes(self) -> Axes:
        return self.distance_axes

    @property
    def needs_instances(self) -> bool:
        return True

    def problems_with(
        self, architecture: Architecture, voxel_size_nm: Sequence[float], shape_vx: Sequence[int]
    ) -> list[str]:
        problems = []
        if self.distance_axes == "yx" and shape_vx[0] > 1:
            problems += [
                f"task.grid: {segmenter.label} joins {shape_vx[0]} sections, but with distance_axes: yx an object has "
                "other vectors in each; give it axes: yx"
                for segmenter in self.segmenters()
                if isinstance(segmenter, EmbeddingSegmenter) and segmenter.axes == "zyx"
            ]
        for stage in architecture.stages()[:-1]:
            if stage[0].is_prediction and stage[0].channels != len(self.classes):
                problems.append(
                    f"architecture: its map of the distance has {stage[0].channels} channel(s), but the task has "
                    f"{len(self.classes)} classes; give it as many (WNet: intermediate_fmaps: {len(self.classes)})"
                )
        return problems + self._problems_of_learning(architecture, voxel_size_nm)

    def _problems_of_learning(self, architecture: Architecture, voxel_size_nm: Sequence[float]) -> list[str]:
        """Say which part of the loss would be 0 whatever is predicted."""
        problems = []
        output = architecture.output_shape_vx(architecture.input_shape_vx)
        # along an axis of one voxel there are no neighbours
        axes = [axis for axis, name in enumerate(AXES) if name in self.distance_axes and output[axis] > 1]
        shortest_nm = min((voxel_size_nm[axis] for axis in axes), default=0.0)
        if self.constraints == "local" and self.neighbour_radius_nm < shortest_nm:
            problems.append(
                f"task.neighbour_radius_nm: {self.neighbour_radius_nm:g} is less than the edge of a voxel "
                f"({shortest_nm:g} nm), so that no objects are neighbours; give several voxels"
            )
        if self.cut_objects == "ignored" and self.distance_axes == "zyx" and output[0] == 1 and not self.context_nm:
            problems.append(
                "task.cut_objects: 'ignored' leaves no object whose distance is learnt, since in an output of one "
                "section all are cut along z; give distance_axes: yx"
            )
        return problems

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        return {"distance": self._distance_target(labels), "embedding": embedding_target(labels)}

    def _distance_target(self, labels: LabelBlock) -> Target:
        values, weights = [], []
        for name, code in zip(labels.classes, labels.code, strict=True):
            ids = ids_of(labels, name)
            share, cut = object_distance(code, ids, labels.voxel_size_nm, self.distance_axes)
            known = (code == ABSENT) | ((code == PRESENT) & (ids > 0) & np.isfinite(share))
            values.append(np.nan_to_num(share) * np.float32(self.distance_factor))
            weights.append(known & ~cut if self.cut_objects == "ignored" else known)
        channels = tuple(f"{name}/distance" for name in labels.classes)
        return Target(np.stack(values), np.stack(weights).astype(np.float32), channels)

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module:
        from dacapo_hd.tasks.stage_head import StageHead

        channels = {"distance": len(self.classes), "embedding": len(self.classes) * self.embedding_dims}
        return StageHead(stages, channels, final=["embedding"])

    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        from dacapo_hd.operations.embeddings import inter_loss, intra_loss, unit
        from dacapo_hd.operations.losses import balanced, weighted_mean

        value, weight = targets["distance"]
        if self.balance:
            weight = balanced(weight, value > 0, value == 0)
        prediction = predictions["distance"].float()
        # clipped where the target is 0 alone: an output that is negative everywhere would have no gradient to return
        error = (prediction.where(value > 0, prediction.relu()) - value) ** 2
        losses = {"distance": self.distance_weight * weighted_mean(error, weight)}
        objects, pairs = self._objects(*targets["embedding"])
        for name, prediction in predictions.items():
            if name.startswith("embedding"):
                means = objects.means(unit(self._images(prediction, self.embedding_dims)))
                by_voxels, absolute = self.intra_average == "voxels", self.similarity == "absolute"
                losses[name.replace("embedding", "intra")] = intra_loss(means, objects, by_voxels)
                losses[name.replace("embedding", "inter")] = self.inter_weight * inter_loss(
                    means, objects, pairs, absolute
                )
        return losses

    def _objects(self, value: Tensor, weight: Tensor) -> tuple[Objects, Tensor]:
        """Return the objects of the classes and samples of a batch, and which are neighbours."""
        from dacapo_hd.operations.embeddings import UNKNOWN, Objects

        count = len(self.classes)
        ids = value[:, :count].round().long().where(weight[:, :count] > 0, UNKNOWN)
        objects = Objects.of(self._images(ids, 1)[:, 0], background=self.background != "ignored")
        if self.constraints == "global":
            return objects, objects.all_pairs()
        voxel_size_nm = value[0, count:, 0, 0, 0].tolist()
        pairs = objects.near_pairs(self.neighbour_radius_nm, voxel_size_nm)
        return objects, objects.with_background(pairs) if self.background == "adjacent" else pairs

    def _images(self, maps: Tensor, channels: int) -> Tensor:
        """Make each class, and with `distance_axes: yx` each section, an image of its own (n, c, z, y, x)."""
        maps = maps.reshape(-1, channels, *maps.shape[2:])
        if self.distance_axes == "yx":
            maps = maps.transpose(1, 2).reshape(-1, channels, 1, *maps.shape[3:])
        return maps

    def output_channels(self) -> tuple[OutputChannel, ...]:
        distances = (OutputChannel(f"{name}/distance", 0.0, 1.0) for name in self.classes)
        vectors = (
            OutputChannel(embedding_channel(name, index), -1.0, 1.0)
            for name in self.classes
            for index in range(self.embedding_dims)
        )
        return (*distances, *vectors)

    def decode(self, predictions: Mapping[str, Tensor]) -> Tensor:
        import torch

        from dacapo_hd.operations.embeddings import unit

        distance = (predictions["distance"].float() / self.distance_factor).clamp(0, 1)
        embedding = predictions["embedding"]
        shape = embedding.shape
        vectors = unit(embedding.reshape(-1, self.embedding_dims, *shape[2:])).clamp(-1, 1)
        return torch.cat([distance, vectors.reshape(shape)], dim=1)

    def default_grid(self) -> tuple[Segmenter, ...]:
        axes = self.distance_axes
        angular = (
            AngularClustering(seed_threshold=threshold, merge=merge, axes=axes)
            for threshold in (0.3, 0.5, 0.7)
            for merge in (True, False)
        )
        return (*angular, CosineMutexWatershed(similarity=self.similarity, axes=axes))


def ids_of(labels: LabelBlock, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """Return the ids (z, y, x) of a class, 0 where none is known."""
    shape = labels.code.shape[1:]
    return labels.instances.get(name, np.zeros(shape, np.uint32))


def embedding_target(labels: LabelBlock) -> Target:
    """Return for each class the number of the object that a voxel belongs to, 0 for background, then the voxel size.

    Weight is 1 where that is known: not where a class is present without an id. Objects are numbered 1, 2, ... in each
    block. Three channels hold the edges of a voxel (z, y, x; nm) everywhere: the loss looks for neighbours by distance.
    Their weight is 0.
    """
    import fastremap

    values, weights = [], []
    for name, code in zip(labels.classes, labels.code, strict=True):
        ids = np.where(code == PRESENT, ids_of(labels, name), 0)
        values.append(fastremap.renumber(ids, preserve_zero=True)[0].astype(np.float32))
        weights.append(((code == ABSENT) | (ids > 0)).astype(np.float32))
    values += [np.full(labels.code.shape[1:], edge, np.float32) for edge in labels.voxel_size_nm]
    weights += [np.zeros(labels.code.shape[1:], np.float32)] * len(AXES)
    edges = (f"voxel_{axis}_nm" for axis in AXES)
    channels = (*(f"{name}/{OBJECT}" for name in labels.classes), *edges)
    return Target(np.stack(values), np.stack(weights), channels)
