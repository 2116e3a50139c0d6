"""Small parts that contracts allow; a module of its own, because worker processes import it by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.architectures.base import Architecture, FeatureMap
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.tasks.base import OutputChannel, Target, Task


@attrs.frozen(eq=False)
class ArrayCrop:
    """The part of an open crop that sampling uses, over arrays in memory."""

    name: str
    classes: tuple[str, ...]
    data: NDArray[np.float32]
    code: NDArray[np.uint8]
    raw_grid: Grid
    label_grid: Grid
    ids: NDArray[np.uint32] | None = None
    weight: float = 1.0
    broken: str = ""
    labelled: bool = True

    @property
    def channels(self) -> int:
        return len(self.data)

    @property
    def instance_classes(self) -> tuple[str, ...]:
        return () if self.ids is None else self.classes[:1]

    def read_raw(self, roi: Roi) -> NDArray[np.float32]:
        if self.broken == "user":
            raise UserError("crop 'a': raw is NaN at voxel (0, 0, 0)")
        if self.broken:
            raise ZeroDivisionError(self.broken)
        return self.data[(slice(None), *self.raw_grid.slices(roi))]

    def read_labels(self, roi: Roi) -> LabelBlock:
        shape = Grid.from_roi(roi, self.raw_grid.voxel_size).shape_vx
        code = np.zeros((len(self.classes), *shape), np.uint8)
        ids = np.zeros(shape, np.uint32)
        inside = roi.intersect(self.label_grid.roi)
        if not inside.empty:
            here = Grid.from_roi(roi, self.raw_grid.voxel_size).slices(inside)
            there = self.label_grid.slices(inside)
            code[(slice(None), *here)] = self.code[(slice(None), *there)]
            if self.ids is not None:
                ids[here] = self.ids[there]
        found = {self.classes[0]: ids} if self.ids is not None else {}
        return LabelBlock(self.classes, code, self.raw_grid.voxel_size_nm, found)


@attrs.frozen
class Window(Architecture):
    """An architecture that only has shapes: the output is the input without a margin."""

    input_shape_vx: tuple[int, ...] = (12, 12, 12)
    margin_vx: tuple[int, ...] = (2, 2, 2)
    in_channels: int = 1

    def build(self) -> Any:
        raise NotImplementedError

    def stages(self) -> tuple[tuple[FeatureMap, ...], ...]:
        return ((FeatureMap(1),),)

    def output_shape_vx(self, input_shape_vx: Sequence[int]) -> tuple[int, ...]:
        return tuple(n - 2 * m for n, m in zip(input_shape_vx, self.margin_vx, strict=True))

    def input_shape_for(self, output_shape_vx: Sequence[int]) -> tuple[int, ...]:
        return tuple(n + 2 * m for n, m in zip(output_shape_vx, self.margin_vx, strict=True))

    @property
    def context_vx(self) -> tuple[int, ...]:
        return self.margin_vx


@attrs.frozen
class Codes(Task):
    """A task whose targets are the labels themselves: codes, and the instance ids split into two exact halves."""

    classes: tuple[str, ...] = ("mito", "er")
    context: float = 20.0

    @property
    def context_nm(self) -> float:
        return self.context

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        ids = labels.instances.get("mito", np.zeros(labels.code.shape[1:], np.uint32))
        halves = np.stack([ids >> 16, ids & 0xFFFF]).astype(np.float32)
        known = labels.known.astype(np.float32)
        return {
            "code": Target(labels.code.astype(np.float32), known, tuple(f"{c}/code" for c in self.classes)),
            "ids": Target(halves, known[:1], ("mito/high", "mito/low")),
        }

    def head(self, stages: Any) -> Any:
        raise NotImplementedError

    def loss(self, predictions: Any, targets: Any) -> Any:
        raise NotImplementedError

    def output_channels(self) -> tuple[OutputChannel, ...]:
        return ()

    def decode(self, predictions: Any) -> Any:
        raise NotImplementedError

    def segmenters(self) -> tuple[Any, ...]:
        return ()

    @property
    def score(self) -> str:
        return "dice"
