"""The contract of a task: everything a new method needs, in one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.architectures.base import Architecture, FeatureMap
from dacapo_hd.config import Component
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.segmentation.base import Segmenter

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dacapo_hd.datasplits import OpenCrop

# the quantity of a target's channel `class/object` that numbers objects 1, 2, ..., 0 being none
OBJECT = "object"


@attrs.frozen(eq=False)
class Target:
    """What the network should say and where that counts.

    `value` is float32 (v, z, y, x), `weight` float32 (w, z, y, x) with v a multiple of w; `channels` names the v
    channels. Where nothing is known the weight is 0; what
    is unknown but bounded (interval supervision) may count.
    """

    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    channels: tuple[str, ...]


@attrs.frozen
class OutputChannel:
    """One channel that inference stores: its name `class/quantity` and its range, which uint8 0..255 spans.

    `uncertainty` says that it is high where the others may be wrong: validation compares it with the errors.
    """

    name: str
    low: float
    high: float
    uncertainty: bool = False


@attrs.frozen
class Lesson:
    """What samples teach about one channel of a target, as shares of the output's voxels.

    `known`: the class is known. `counted`: the channel counts. `present` and `absent`: of those that count.
    `of_present` and `of_absent`: how much of the known present and absent voxels counts, NaN where there are none.
    `low` and `high` are the extreme values of what counts, `inside_low` and `inside_high` those where the class is
    present; NaN without.
    """

    target: str
    class_name: str
    channel: str
    known: float
    counted: float
    present: float
    absent: float
    of_present: float
    of_absent: float
    low: float
    high: float
    inside_low: float
    inside_high: float


@attrs.frozen
class Circumstances:
    """What may explain that a target teaches little about a class.

    `sections_alone`: the network sees single sections. `has_ids`: some crop has instance ids of the class.
    `fills_crops`: no voxel is known to be without it.
    """

    sections_alone: bool
    has_ids: bool
    fills_crops: bool


class Task(Component, ABC):
    """What to predict: targets, head, loss, decoding, segmenters and scores."""

    kind: ClassVar[str] = "task"

    classes: tuple[str, ...]

    @property
    @abstractmethod
    def context_nm(self) -> float:
        """How far beyond the output the labels must be seen for right targets."""

    @property
    def context_axes(self) -> Literal["zyx", "yx"]:
        """Along which axes they must; a task that looks at single sections needs no other sections."""
        return "zyx"

    def taught_by(self, crop: OpenCrop) -> tuple[str, ...]:
        """Name the classes that a training crop teaches by its annotations, with or without labels.

        UserError for annotations that make no sense. The network's output must see the whole of such a crop.
        """
        return ()

    @property
    def context_vx(self) -> tuple[int, ...]:
        """How far they must be seen at least in voxels (z, y, x), for what is counted in voxels."""
        return (0, 0, 0)

    @property
    def decode_context_vx(self) -> tuple[int, ...]:
        """How far beyond a voxel (z, y, x) `decode` looks for its value."""
        return (0, 0, 0)

    @property
    def decode_bytes(self) -> float:
        """How much memory `decode` takes at most, beside its result."""
        return 0.0

    @property
    def needs_instances(self) -> bool:
        """Whether nothing can be learnt of a present class without instance ids."""
        return False

    def problems_with(
        self, architecture: Architecture, voxel_size_nm: Sequence[float], shape_vx: Sequence[int]
    ) -> list[str]:
        """Say what keeps a network from learning the task, or from being of use, in a volume, each in one line.

        `shape_vx` is that of the raw data for training, else of what is predicted: asked are all crops for training,
        validation and test, and the volume of `apply`.
        """
        return []

    @property
    def dense(self) -> bool:
        """Whether objects may fill the volume: then it is no fault if a class is absent nowhere."""
        return self.needs_instances

    def remedy(self, target: str, class_name: str, about: Circumstances) -> str:
        """Say why a target teaches little about a class, and which key to change."""
        return "annotate more of it, or raise trainer.sampling.min_known"

    def remarks(self, lessons: Sequence[Lesson]) -> list[str]:
        """Say which channels would teach a constant or nothing of use, each with the key to change."""
        return []

    @property
    def frozen(self) -> tuple[str, ...]:
        """Name the modules of the network (`backbone`, or parts of the `head`) that training leaves as they are."""
        return ()

    @abstractmethod
    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        """Make the targets of a block; numpy, runs in the data workers. `labels.classes` equals `classes`."""

    @abstractmethod
    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module:
        """Make the module that maps the network's stages to `{name: prediction (b, c, z, y, x)}`.

        The mapping itself, and what a subclass of `dict` carries beside, comes to `loss` and `decode`.
        """

    @abstractmethod
    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """Return named scalars whose sum is minimised; each is finite, and 0 where nothing is known."""

    @abstractmethod
    def output_channels(self) -> tuple[OutputChannel, ...]:
        """Name what `decode` returns."""

    @abstractmethod
    def decode(self, predictions: Mapping[str, Tensor]) -> Tensor:
        """Turn raw predictions into the stored quantities (b, channel, z, y, x), inside their ranges."""

    @abstractmethod
    def segmenters(self) -> tuple[Segmenter, ...]:
        """The post-processing grid that validation tries."""

    @property
    @abstractmethod
    def score(self) -> str:
        """The name of *the* score, by which checkpoints are chosen unless the user names another."""
