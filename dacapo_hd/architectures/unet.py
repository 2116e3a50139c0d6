"""The U-Net, in two or three dimensions, with factors and kernels per level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any, Literal

import attrs

from dacapo_hd.architectures.base import Architecture, FeatureMap
from dacapo_hd.architectures.unet_shapes import AxisShapes
from dacapo_hd.config import non_empty, one_of, optional, positive
from dacapo_hd.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Sizes = tuple[int, ...]
Kernels = tuple[tuple[Sizes, ...], ...]  # per level, per convolution, (z, y, x)

AXES = "zyx"


def _three_sizes(value: Any) -> bool:
    return len(value) == 3 and all(size > 0 for size in value)


@attrs.frozen(kw_only=True)
class UNet(Architecture):
    """An encoder and a decoder of convolutions joined at each scale by a skip connection.

    Ronneberger et al. 2015, Çiçek et al. 2016; valid padding as in CNNectome and funlib.learn.torch: upsampled features
    are cropped so that outputs are multiples of the total downsampling, hence a volume predicted in blocks equals the
    volume predicted at once (except with `group` and `instance` normalization, whose statistics depend on the block).

    `num_fmaps` channels at full resolution grow by `fmap_inc_factor` per level. `kernel_sizes_down` has one entry per
    level and one for the bottom, `kernel_sizes_up` one per level, from fine to coarse; None means two convolutions of
    3 x 3 x 3, in two dimensions 1 x 3 x 3. `out_fmaps` are the channels of the finest decoder level (None:
    `num_fmaps`). Two-dimensional networks run on real 2D convolutions, sections as a batch.
    """

    dims: Literal[2, 3] = attrs.field(default=3, validator=one_of(2, 3))
    in_channels: int = attrs.field(default=1, validator=positive)
    num_fmaps: int = attrs.field(default=12, validator=positive)
    fmap_inc_factor: int | tuple[int, ...] = attrs.field(default=2)
    out_fmaps: int | None = attrs.field(default=None, validator=optional(positive))
    downsample_factors: tuple[tuple[int, ...], ...] = attrs.field(validator=non_empty)
    kernel_sizes_down: tuple[tuple[tuple[int, ...], ...], ...] | None = attrs.field(default=None)
    kernel_sizes_up: tuple[tuple[tuple[int, ...], ...], ...] | None = attrs.field(default=None)
    padding: Literal["valid", "same"] = attrs.field(default="valid", validator=one_of("valid", "same"))
    residual: bool = False
    normalization: Literal["group", "batch", "instance"] | None = attrs.field(
        default=None, validator=one_of(None, "group", "batch", "instance")
    )
    upsampling: Literal["transposed", "nearest"] = attrs.field(
        default="transposed", validator=one_of("transposed", "nearest")
    )
    activation: Literal["relu", "leaky_relu", "elu", "gelu"] = attrs.field(
        default="relu", validator=one_of("relu", "leaky_relu", "elu", "gelu")
    )
    # last, because its validator needs the other fields to be valid
    input_shape_vx: tuple[int, ...] = attrs.field()

    @downsample_factors.default
    def _two_levels(self) -> tuple[tuple[int, ...], ...]:
        return ((1, 2, 2), (1, 2, 2)) if self.dims == 2 else ((2, 2, 2), (2, 2, 2))

    @fmap_inc_factor.validator
    def _check_fmap_inc_factor(self, attribute: attrs.Attribute[Any], value: int | tuple[int, ...]) -> None:
        factors = (value,) if isinstance(value, int) else value
        if any(factor < 1 for factor in factors):
            raise ValueError(f"must be >= 1, got {value!r}")
        if not isinstance(value, int) and len(value) != len(self.downsample_factors):
            raise ValueError(
                f"must be a number or one number per level ({len(self.downsample_factors)}), got {len(value)} numbers"
            )

    @downsample_factors.validator
    def _check_factors(self, attribute: attrs.Attribute[Any], value: tuple[tuple[int, ...], ...]) -> None:
        for level, factor in enumerate(value):
            if not _three_sizes(factor):
                raise ValueError(f"level {level}: must be three factors >= 1 (z, y, x), got {factor!r}")
            if self.dims == 2 and factor[0] != 1:
                raise ValueError(f"level {level}: must be 1 along z for dims 2, got {factor!r}")

    @kernel_sizes_down.validator
    def _check_kernels_down(self, attribute: attrs.Attribute[Any], value: Kernels | None) -> None:
        self._check_kernels(value, len(self.downsample_factors) + 1, "one list per level and one for the bottom")

    @kernel_sizes_up.validator
    def _check_kernels_up(self, attribute: attrs.Attribute[Any], value: Kernels | None) -> None:
        self._check_kernels(value, len(self.downsample_factors), "one list per level")

    def _check_kernels(self, kernels: Kernels | None, entries: int, meaning: str) -> None:
        if kernels is None:
            return
        if len(kernels) != entries:
            raise ValueError(f"must have {entries} entries ({meaning}), got {len(kernels)}")
        for level, convolutions in enumerate(kernels):
            if not convolutions:
                raise ValueError(f"level {level}: must have at least one convolution")
            for kernel in convolutions:
                if not _three_sizes(kernel) or any(size % 2 == 0 for size in kernel):
                    raise ValueError(f"level {level}: must be three odd sizes (z, y, x), got {kernel!r}")
                if self.dims == 2 and kernel[0] != 1:
                    raise ValueError(f"level {level}: must be 1 along z for dims 2, got {kernel!r}")

    @input_shape_vx.validator
    def _check_input_shape(self, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
        if problem := self._shape_problem(value):
            raise ValueError(problem)

    def _shape_problem(self, shape: Sequence[int]) -> str:
        """Say what is wrong with an input shape and which sizes would fit, or return the empty string."""
        if not _three_sizes(shape):
            return f"must be three sizes > 0 (z, y, x), got {tuple(shape)!r}"
        problems = []
        for name, size, axis in zip(AXES, shape, self.axes, strict=True):
            smaller, larger = axis.nearest(size)
            if smaller is None:
                problems.append(f"{size} along {name} is too small for this network; smallest valid: {larger}")
            elif smaller != larger:
                problems.append(
                    f"{size} along {name} does not fit the downsampling by {axis.step} with {self.padding} padding; "
                    f"nearest valid: {smaller}, {larger}"
                )
        return "; ".join(problems)

    @property
    def kernels_down(self) -> Kernels:
        """The kernel sizes of the encoder and the bottom, defaults filled in."""
        return self.kernel_sizes_down or (self._default_kernels,) * (len(self.downsample_factors) + 1)

    @property
    def kernels_up(self) -> Kernels:
        """The kernel sizes of the decoder, from fine to coarse, defaults filled in."""
        return self.kernel_sizes_up or (self._default_kernels,) * len(self.downsample_factors)

    @property
    def _default_kernels(self) -> tuple[Sizes, ...]:
        return ((1, 3, 3) if self.dims == 2 else (3, 3, 3),) * 2

    @property
    def fmaps(self) -> tuple[int, ...]:
        """The channels of the encoder's levels and the bottom."""
        increase = self.fmap_inc_factor
        factors = (increase,) * len(self.downsample_factors) if isinstance(increase, int) else increase
        return tuple(accumulate((self.num_fmaps, *factors), mul))

    @property
    def axes(self) -> tuple[AxisShapes, ...]:
        """The sizes along z, y and x."""

        def shrink(kernels: Kernels, axis: int) -> tuple[int, ...]:
            return tuple(sum(kernel[axis] - 1 for kernel in level) for level in kernels)

        return tuple(
            AxisShapes(
                tuple(factor[axis] for factor in self.downsample_factors),
                shrink(self.kernels_down, axis),
                shrink(self.kernels_up, axis),
                self.padding == "valid",
            )
            for axis in range(3)
        )

    def build(self) -> nn.Module:
        from dacapo_hd.architectures.unet_modules import UNetModule

        return UNetModule(self)

    def stages(self) -> tuple[tuple[FeatureMap, ...], ...]:
        """One stage: the decoder's levels from fine to coarse, then the bottom.

        With valid padding all of them are centred on the same point; coarser ones reach further out.
        """
        factors = self.downsample_factors
        channels = (self.out_fmaps or self.num_fmaps, *self.fmaps[1:])
        scales = accumulate(factors, lambda scale, factor: tuple(map(mul, scale, factor)), initial=(1, 1, 1))
        return (tuple(FeatureMap(c, scale) for c, scale in zip(channels, scales, strict=True)),)

    def output_shape_vx(self, input_shape_vx: Sequence[int]) -> tuple[int, ...]:
        if problem := self._shape_problem(input_shape_vx):
            raise UserError(f"input shape {tuple(input_shape_vx)}: {problem}")
        return tuple(size - axis.lost for size, axis in zip(input_shape_vx, self.axes, strict=True))

    def input_shape_for(self, output_shape_vx: Sequence[int]) -> tuple[int, ...]:
        return tuple(axis.input_for(size) for size, axis in zip(output_shape_vx, self.axes, strict=True))

    @property
    def context_vx(self) -> tuple[int, ...]:
        return tuple(axis.context for axis in self.axes)

    @property
    def block_independent(self) -> bool:
        return self.normalization not in ("group", "instance")
