"""The contract of a segmenter: prediction -> labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config import Component
from dacapo_hd.errors import UserError

UnitedBy = Literal["connectivity", "seeds", "overlap"]


class MissingChannelError(UserError, ValueError):
    """A segmenter asked a prediction for what it does not have."""


@attrs.frozen(eq=False)
class Prediction:
    """Decoded network output, float32 (channel, z, y, x); channels are named `class/quantity`.

    Components of a quantity are numbered: `class/embedding_0`, `class/embedding_1`.
    Quantities of pairs of voxels carry the offset from one to the other (z, y, x): `class/affinity(-1,0,0)` in voxels,
    `class/affinity(-40,0,0)nm` in nanometres.
    """

    channels: tuple[str, ...]
    data: NDArray[np.float32]
    voxel_size_nm: tuple[float, ...]

    def channel(self, name: str) -> NDArray[np.float32]:
        """Return one channel (z, y, x); MissingChannelError if there is none of that name."""
        if name not in self.channels:
            raise MissingChannelError(
                f"the prediction has no channel {name!r}, only {', '.join(self.channels)}; choose a segmenter for what "
                "the task predicts"
            )
        found: NDArray[np.float32] = self.data[self.channels.index(name)]
        return found

    def classes(self, quantity: str) -> tuple[str, ...]:
        """Return the classes that have a channel `class/quantity`."""
        pairs = (name.rsplit("/", 1) for name in self.channels)
        return tuple(class_name for class_name, found in pairs if found == quantity)


@attrs.frozen(eq=False)
class Segmentation:
    """Labels per class, (z, y, x): uint8 masks (0, 1), or ids where `instances` is true (uint32, else uint64)."""

    labels: Mapping[str, NDArray[Any]]
    instances: bool = False


def kind_of(channel: str) -> str:
    """Return the quantity of a channel `class/quantity` or `class/quantity(offset)`, without the offset."""
    return channel.rsplit("/", 1)[-1].partition("(")[0]


class Segmenter(Component, ABC):
    """Post-processing with fixed parameters; the validation grid of a task is a list of these.

    `pointwise` segmenters look at single voxels only, so that a volume can be cut into blocks anywhere. `readable`
    lists what segmenters of a class can read: each entry the quantities that they need of a class of objects together.
    """

    kind: ClassVar[str] = "segmenter"
    pointwise: ClassVar[bool] = False
    readable: ClassVar[tuple[tuple[str, ...], ...]] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The quantities that this one needs, all of them: that of its field `quantity`, or the one `readable` entry.

        A task that does not predict them is refused with it. Empty if it does not say: then it is tried on one voxel.
        """
        quantity = getattr(self, "quantity", None)
        if isinstance(quantity, str):
            return (quantity,)
        return self.readable[0] if len(self.readable) == 1 else ()

    @property
    def label(self) -> str:
        """The parameters in short, for tables."""
        return repr(self)

    @abstractmethod
    def segment(self, prediction: Prediction) -> Segmentation:
        """Turn a prediction into labels."""


class InstanceSegmenter(Segmenter):
    """Tells the objects of a class apart; in volumes larger than memory block by block.

    Each block is cut into pieces, with `halo_vx` voxels of context around it, and pieces of neighbouring blocks are
    united into objects, as `united_by` says:

    - `connectivity`: pieces that touch are one object, with `connectivity` neighbours; the result does not depend
      on the blocks (`halo_vx` is 0);
    - `seeds`: see `SeededSegmenter`;
    - `overlap`: both blocks cut the two layers of voxels on either side of a face; pieces that overlap there most, each
      among all that it overlaps, and by half of the smaller one at least, are one object.

    Afterwards objects of fewer than `min_size_vx` voxels become background, and then, with `fill_holes`, face-connected
    gaps that touch the faces of one object only and do not reach the border of the volume become a part of it. Objects
    are numbered 1, 2, ... in the order of their first voxels along z, y, x.
    """

    united_by: ClassVar[UnitedBy] = "overlap"
    # what `pieces` holds per voxel for each channel of the prediction, where it needs all of them at once
    bytes_per_channel: ClassVar[int] = 0
    connectivity: int = 6
    halo_vx: int = 0
    min_size_vx: int = 0
    fill_holes: bool = False

    @abstractmethod
    def pieces(self, prediction: Prediction) -> Mapping[str, NDArray[np.uint32]]:
        """Number the pieces 1, 2, ... of each class in a block with its halo, (z, y, x)."""

    def reach_vx(self, prediction: Prediction) -> tuple[int, ...]:
        """Return how far apart along each axis voxels may be that are compared; blocks must be larger.

        UserError for a prediction that cannot be segmented, by its channels, voxel size and number of sections.
        """
        return (0, 0, 0)

    def segment(self, prediction: Prediction) -> Segmentation:
        """Turn a whole volume into objects: its pieces as one block."""
        found = self.pieces(prediction)
        return Segmentation({name: self._objects(labels) for name, labels in found.items()}, True)

    def _objects(self, labels: NDArray[np.uint32]) -> NDArray[Any]:
        from dacapo_hd.segmentation.objects import unite
        from dacapo_hd.segmentation.pieces import measure, with_gaps

        number = foreground = int(labels.max(initial=0))
        if self.fill_holes:
            labels, number = with_gaps(labels, foreground)
        block = measure(labels, number, foreground, (0, 0, 0), labels.shape)
        return unite([block], [], self.min_size_vx, self.fill_holes).ids[labels]


class SeededSegmenter(InstanceSegmenter):
    """Objects grow from seeds; in a volume of many blocks every seed is known to all blocks that it reaches.

    The seeds, the face-connected components of `seeds`, are found in the whole volume first, exactly. Then each block
    grows those that lie in it and its halo: the same seed makes the same object everywhere. Foreground that no seed
    reaches there belongs to the neighbour that it touches most, in another block.
    """

    united_by: ClassVar[UnitedBy] = "seeds"

    @abstractmethod
    def seeds(self, prediction: Prediction) -> Mapping[str, NDArray[np.bool_]]:
        """Mark the seeds of each class, (z, y, x); they may not depend on other voxels."""

    @abstractmethod
    def foreground(self, prediction: Prediction) -> Mapping[str, NDArray[np.bool_]]:
        """Mark where each class may have objects, (z, y, x); it may not depend on other voxels."""

    @abstractmethod
    def grow(self, prediction: Prediction, seeds: Mapping[str, NDArray[np.uint32]]) -> Mapping[str, NDArray[np.uint32]]:
        """Give each voxel of the foreground the number of the seed that reaches it, 0 for none."""

    def pieces(self, prediction: Prediction) -> Mapping[str, NDArray[np.uint32]]:
        from dacapo_hd.segmentation.components import components

        return self.grow(prediction, {name: components(mask, 6) for name, mask in self.seeds(prediction).items()})
