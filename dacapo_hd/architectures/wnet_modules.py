"""The torch modules of the W-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dacapo_hd.architectures.unet_modules import UNetModule, centre_crop
from dacapo_hd.architectures.wnet import WNet

# shorter vectors are not stretched to unit length: gradients grow by one over the length
SHORTEST = 1e-3


class WNetModule(nn.Module):
    """Image (b, c, z, y, x) -> the stages of two U-Nets, the second of which sees more than the image."""

    def __init__(self, config: WNet) -> None:
        super().__init__()
        first, second = config.unets()
        self.dims = config.dims
        self.intermediate = config.intermediate
        self.first, self.second = UNetModule(first), UNetModule(second)
        self.between = [axis.between for axis in config.axes]
        self.project: nn.Module | None = None
        if config.projected_fmaps:
            projection = nn.Conv3d(config.out_fmaps or config.num_fmaps, config.projected_fmaps, kernel_size=1)
            # the bias stays random: where all features are 0, a vector of length 0 would have no direction
            nn.init.kaiming_normal_(projection.weight, nonlinearity="linear")
            self.project = projection

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        (stage,) = self.first(image)
        added = self._added(stage[0], image)
        if self.intermediate == "distance_map" and added is not None:
            # the task compares the map unclipped: what is negative everywhere would have no gradient
            stage, added = [added, *stage[1:]], functional.relu(added)
        shape = [size - less for size, less in zip(stage[0].shape[2:], self.between, strict=True)]
        seen = [image] if added is None else [image, added]
        return [stage, *self.second(torch.cat([centre_crop(maps, shape) for maps in seen], dim=1))]

    def _added(self, features: Tensor, image: Tensor) -> Tensor | None:
        """Return what the second U-Net sees beside the image, not yet cropped."""
        if self.project is not None:
            projected: Tensor = self.project(features)
            if self.intermediate == "distance_map":
                # of a single channel, normalisation would leave the sign alone
                return projected
            # in half precision the sum of squares overflows
            return functional.normalize(projected.float(), dim=1, eps=SHORTEST).to(projected.dtype)
        return _coordinates(image, self.dims) if self.intermediate == "coordinates" else None


def _coordinates(image: Tensor, dims: int) -> Tensor:
    """Return the position in an image (b, c, z, y, x) along its last `dims` axes from -1 to 1, a channel each."""
    shape = image.shape[2:]
    # along an axis of one voxel there is no position
    lines = [
        torch.linspace(-1, 1, size, device=image.device, dtype=image.dtype) if size > 1 else image.new_zeros(1)
        for size in shape[3 - dims :]
    ]
    planes = torch.meshgrid(*lines, indexing="ij")
    return torch.stack([plane.expand(shape) for plane in planes]).expand(image.shape[0], -1, *shape)
