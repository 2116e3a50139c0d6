"""The W-Net: two U-Nets, the second of which sees what the first has learnt beside the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.architectures.unet import UNet
from dacapo_hd.architectures.unet_shapes import TwiceAxisShapes
from dacapo_hd.config import one_of, optional, positive

if TYPE_CHECKING:
    from torch import nn

Intermediate = Literal["distance_map", "distance_features", "embedding_features", "coordinates", "none"]

DEFAULT_FMAPS = {"distance_map": 1, "distance_features": 32, "embedding_features": 32}
MEANT_FOR = {"embedding_features": "embedding"}


@attrs.frozen(kw_only=True)
class WNet(UNet):
    """Two equal U-Nets: the second works on the image and, beside it, on what `intermediate` names.

    Wu, Chen, Merhof, Improving pixel embedding learning through intermediate distance regression supervision, 2020,
    section 3.2 and figure 3b. The features of the first (`out_fmaps` channels) are projected by a 1 x 1 x 1 convolution
    to `intermediate_fmaps` channels, and normalised to unit length in each voxel:

    - `distance_features`, `embedding_features`: features from which a task learns the distance or the embedding;
    - `distance_map`: the projection is itself the distance of each class, passed on with ReLU and not normalised;
    - `coordinates`: the position in the input along each axis, from -1 to 1, and nothing of the first U-Net;
    - `none`: the image alone.

    With the last two the first U-Net learns the distance without the second one seeing it. `intermediate_fmaps` (None:
    32 features, or a map of 1 channel) is for the first three alone. All other fields are those of `UNet`, of each.
    """

    intermediate: Intermediate = attrs.field(default="distance_features", validator=one_of(*get_args(Intermediate)))
    intermediate_fmaps: int | None = attrs.field(default=None, validator=optional(positive))

    @intermediate_fmaps.validator
    def _only_for_what_is_projected(self, attribute: attrs.Attribute[Any], value: int | None) -> None:
        if value is not None and self.intermediate not in DEFAULT_FMAPS:
            raise ValueError(f"must not be given with intermediate {self.intermediate!r}, which has no projection")

    @property
    def projected_fmaps(self) -> int:
        """The channels that the first U-Net passes on, 0 for none."""
        return self.intermediate_fmaps or DEFAULT_FMAPS.get(self.intermediate, 0)

    @property
    def added_channels(self) -> int:
        """The channels that the second U-Net sees beside the image."""
        return self.dims if self.intermediate == "coordinates" else self.projected_fmaps

    @property
    def axes(self) -> tuple[TwiceAxisShapes, ...]:
        return tuple(TwiceAxisShapes(**attrs.asdict(axis)) for axis in super().axes)

    def unets(self) -> tuple[UNet, UNet]:
        """Return the two U-Nets of which the network consists."""
        own = {field.name: getattr(self, field.name) for field in attrs.fields(UNet)}
        first = UNet(**own)
        cropped = (
            size - axis.between
            for size, axis in zip(first.output_shape_vx(self.input_shape_vx), self.axes, strict=True)
        )
        channels = self.in_channels + self.added_channels
        return first, attrs.evolve(first, in_channels=channels, input_shape_vx=tuple(cropped))

    def build(self) -> nn.Module:
        from dacapo_hd.architectures.wnet_modules import WNetModule

        return WNetModule(self)

    def stages(self) -> tuple[tuple[FeatureMap, ...], ...]:
        """Two stages, the decoder levels of each U-Net; with `distance_map` the first begins with that map."""
        first, second = (unet.stages()[0] for unet in self.unets())
        is_map = self.intermediate == "distance_map"
        channels = self.projected_fmaps if is_map else first[0].channels
        finest = FeatureMap(channels, (1, 1, 1), (MEANT_FOR.get(self.intermediate, "distance"),), is_prediction=is_map)
        return ((finest, *first[1:]), second)

    @property
    def block_independent(self) -> bool:
        return super().block_independent and self.intermediate != "coordinates"
