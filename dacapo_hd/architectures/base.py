"""The contract of an architecture: image -> stages, and all shapes known without running the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from dacapo_hd.config import Component

if TYPE_CHECKING:
    from torch import nn


@attrs.frozen
class FeatureMap:
    """Channels of a feature map and how many input voxels (z, y, x) one of its voxels covers.

    `meant_for` names what a task, if it predicts such a thing, should learn from this map of an earlier stage:
    `distance` or `embedding`. With `is_prediction` the map itself is what is predicted, a channel for each class.
    """

    channels: int
    scale: tuple[int, ...] = (1, 1, 1)
    meant_for: tuple[str, ...] = ()
    is_prediction: bool = False


class Architecture(Component, ABC):
    """A network that maps an image (b, c, z, y, x) to stages, each a list of feature maps from fine to coarse.

    A two-dimensional network takes the same five axes and treats the sections z as independent images.
    """

    kind: ClassVar[str] = "architecture"

    in_channels: int
    input_shape_vx: tuple[int, ...]

    @abstractmethod
    def build(self) -> nn.Module:
        """Make the network; its forward pass returns `list[list[Tensor]]`, `stages[-1][0]` being the features."""

    @abstractmethod
    def stages(self) -> tuple[tuple[FeatureMap, ...], ...]:
        """Describe what the network returns."""

    @abstractmethod
    def output_shape_vx(self, input_shape_vx: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of `stages[-1][0]`; UserError naming the nearest valid shapes for an invalid input."""

    @abstractmethod
    def input_shape_for(self, output_shape_vx: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest valid input shape whose output is at least `output_shape_vx`."""

    @property
    @abstractmethod
    def context_vx(self) -> tuple[int, ...]:
        """How far beyond itself, in voxels per axis and side, an output region sees that fills whole coarsest voxels.

        A single voxel may see farther on its own: up to the coarsest scale - 1 more.
        """

    @property
    def block_independent(self) -> bool:
        """Whether an output voxel depends on its receptive field alone, not on the rest of the input."""
        return True
