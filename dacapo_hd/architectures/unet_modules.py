"""The torch modules of the U-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd, prod
from typing import Any

import torch
from torch import Tensor, nn

from dacapo_hd.architectures.unet import Sizes, UNet
from dacapo_hd.architectures.unet_shapes import even_excess

Makes = dict[Any, Callable[..., Any]]

CONVOLUTION: Makes = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Makes = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLING: Makes = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORM: Makes = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM: Makes = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
ACTIVATION: Makes = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU}
LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}
GROUPS = 8


def centre_crop(features: Tensor, spatial_shape: Sequence[int]) -> Tensor:
    """Crop the trailing axes symmetrically to `spatial_shape`; the differences must be even."""
    begin = features.dim() - len(spatial_shape)
    for axis, size in enumerate(spatial_shape, begin):
        features = features.narrow(axis, (features.shape[axis] - size) // 2, size)
    return features


def _activation(config: UNet) -> Any:
    # in place saves a copy of each feature map, but GELU has no such form
    return nn.GELU() if config.activation == "gelu" else ACTIVATION[config.activation](inplace=True)


def _normalization(config: UNet, channels: int) -> list[nn.Module]:
    if config.normalization == "group":
        return [nn.GroupNorm(gcd(GROUPS, channels), channels)]
    if config.normalization == "batch":
        return [BATCH_NORM[config.dims](channels)]
    if config.normalization == "instance":
        return [INSTANCE_NORM[config.dims](channels, affine=True)]
    return []


def _convolution(config: UNet, channels_in: int, channels_out: int, kernel: Sizes) -> Any:
    kernel = kernel[3 - config.dims :]
    padding = tuple(size // 2 for size in kernel) if config.padding == "same" else 0
    convolution = CONVOLUTION[config.dims](channels_in, channels_out, kernel, padding=padding)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    nn.init.zeros_(convolution.bias)
    return convolution


class ConvPass(nn.Module):
    """The convolutions of one level, each followed by normalization and activation; optionally residual."""

    def __init__(self, config: UNet, channels_in: int, channels_out: int, kernels: Sequence[Sizes]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, kernel in enumerate(kernels):
            layers.append(_convolution(config, channels_out if index else channels_in, channels_out, kernel))
            layers += [*_normalization(config, channels_out), _activation(config)]
        # a residual is added before the last activation
        self.last_activation = layers.pop()
        self.layers = nn.Sequential(*layers)
        self.shortcut: nn.Module | None = None
        if config.residual:
            same = channels_in == channels_out
            self.shortcut = nn.Identity() if same else _convolution(config, channels_in, channels_out, (1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.layers(features)
        if self.shortcut is not None:
            result = result + self.shortcut(centre_crop(features, result.shape[2:]))
        activated: Tensor = self.last_activation(result)
        return activated


def _upsampling(config: UNet, channels_in: int, channels_out: int, factor: Sizes) -> Any:
    factor = factor[3 - config.dims :]
    if config.upsampling == "nearest":
        # mixing channels before repeating voxels gives the same numbers as after it, for a fraction of the work
        mix = _convolution(config, channels_in, channels_out, (1, 1, 1))
        return nn.Sequential(mix, nn.Upsample(scale_factor=tuple(map(float, factor)), mode="nearest"))
    transposed = TRANSPOSED[config.dims](channels_in, channels_out, factor, stride=factor)
    nn.init.normal_(transposed.weight, std=channels_in**-0.5)
    nn.init.zeros_(transposed.bias)
    return transposed


class UNetModule(nn.Module):
    """Image (b, c, z, y, x) -> one stage of feature maps: decoder levels from fine to coarse, then the bottom."""

    def __init__(self, config: UNet) -> None:
        super().__init__()
        self.dims = config.dims
        self.valid = config.padding == "valid"
        first = 3 - config.dims
        factors = [factor[first:] for factor in config.downsample_factors]
        levels = range(len(factors))
        self.total_factors = [tuple(prod(axis) for axis in zip(*factors[level:], strict=True)) for level in levels]
        self.shrink_up = [
            tuple(sum(kernel[axis] - 1 for kernel in kernels) for axis in range(first, 3))
            for kernels in config.kernels_up
        ]
        fmaps = config.fmaps
        out = (config.out_fmaps or config.num_fmaps, *fmaps[1:])
        channels_in = (config.in_channels, *fmaps)
        self.down = nn.ModuleList(
            ConvPass(config, channels_in[level], fmaps[level], kernels)
            for level, kernels in enumerate(config.kernels_down)
        )
        self.pool = nn.ModuleList(POOLING[self.dims](factor) for factor in factors)
        self.upsample = nn.ModuleList(
            _upsampling(config, out[level + 1], fmaps[level], config.downsample_factors[level]) for level in levels
        )
        self.up = nn.ModuleList(
            ConvPass(config, 2 * fmaps[level], out[level], kernels) for level, kernels in enumerate(config.kernels_up)
        )

        # convolutions compute in this layout; on a CPU, not to copy in and out of it makes them 1.1 to 2 times faster
        self.to(memory_format=LAYOUT[self.dims])  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        if self.dims == 3:
            return [self._levels(image)]
        batch, channels, sections = image.shape[:3]
        planes = image.transpose(1, 2).reshape(batch * sections, channels, *image.shape[3:])
        return [[maps.reshape(batch, sections, *maps.shape[1:]).transpose(1, 2) for maps in self._levels(planes)]]

    def _levels(self, features: Tensor) -> list[Tensor]:
        features = features.contiguous(memory_format=LAYOUT[self.dims])
        skips = []
        for down, pool in zip(self.down, self.pool, strict=False):
            skips.append(down(features))
            features = pool(skips[-1])
        features = self.down[-1](features)
        outputs = [features]
        for level in reversed(range(len(self.up))):
            upsampled = self._cropped(self.upsample[level](features), level)
            skip = centre_crop(skips.pop(), upsampled.shape[2:])
            features = torch.cat([skip, upsampled], dim=1)
            # `features` holds a copy of both, beside which inference would have to hold them through the convolutions
            del skip, upsampled
            features = self.up[level](features)
            outputs.insert(0, features)
        return outputs

    def _cropped(self, upsampled: Tensor, level: int) -> Tensor:
        """Leave what the level's convolutions turn into a multiple of the downsampling at and below the level.

        Otherwise blocks that touch in the output would be downsampled on different grids. As `crop_to_factor` of
        funlib.learn.torch, but always symmetric.
        """
        if not self.valid:
            return upsampled
        sizes = zip(upsampled.shape[2:], self.shrink_up[level], self.total_factors[level], strict=True)
        return centre_crop(upsampled, [size - even_excess(size - shrink, factor) for size, shrink, factor in sizes])
