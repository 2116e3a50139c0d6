"""Sizes along one axis of a U-Net or two: which inputs fit, how large the output is, how far an output voxel sees."""

from __future__ import annotations

from math import prod

import attrs


def even_excess(size: int, factor: int) -> int:
    """Return the smallest even number that leaves a multiple of `factor` when taken from `size`.

    One exists unless `size` is odd and `factor` even, which no level of a U-Net with odd kernels produces: an even
    factor at or below a level makes its upsampled size even.
    """
    excess = size % factor
    return excess if excess % 2 == 0 else excess + factor


@attrs.frozen
class AxisShapes:
    """One axis of a U-Net: `factors` from fine to coarse, and what the convolutions of each level take off.

    `shrink_down` (one entry per level and one for the bottom) and `shrink_up` (one per level) are sums of `kernel - 1`
    in voxels of their level, as they are for valid padding, whatever `valid` says.
    """

    factors: tuple[int, ...]
    shrink_down: tuple[int, ...]
    shrink_up: tuple[int, ...]
    valid: bool

    @property
    def step(self) -> int:
        """The total downsampling: inputs that fit, and outputs, change in steps of this many voxels."""
        return prod(self.factors)

    @property
    def lost(self) -> int:
        """Input size - output size, the same for every input that fits, and even."""
        if not self.valid:
            return 0
        # Floor division lets an empty bottom stand for all: each size is then off by the same multiple of the step.
        size = -self.shrink_down[-1]
        for level in reversed(range(len(self.factors))):
            size = size * self.factors[level] - self.shrink_up[level]
            size -= even_excess(size, prod(self.factors[level:]))
        return self._input_for_bottom(0) - size

    def _input_for_bottom(self, bottom: int) -> int:
        size = bottom
        for factor, shrink in zip(reversed(self.factors), reversed(self.shrink_down[:-1]), strict=True):
            size = size * factor + shrink
        return size

    def fits(self, size: int) -> bool:
        """Tell whether an input of `size` voxels can be downsampled evenly and leaves an output."""
        output = size - self.lost
        return output > 0 and output % self.step == 0

    def nearest(self, size: int) -> tuple[int | None, int]:
        """Return the largest input size <= `size` that fits (None where there is none), and the smallest >= `size`."""
        larger = self.input_for(size - self.lost)
        smaller = larger if larger == size else larger - self.step
        return (smaller if self.fits(smaller) else None), larger

    def input_for(self, output: int) -> int:
        """Return the smallest input size that fits and whose output is at least `output` voxels."""
        return max(1, -(-output // self.step)) * self.step + self.lost

    @property
    def context(self) -> int:
        """How far an output of `step` voxels, the unit in which outputs grow, sees beyond itself."""
        first, last = self.lost // 2, self.lost // 2 + self.step - 1
        begin, end = self._span(0, first, last)
        return max(first - begin, end - last)

    def _span(self, level: int, begin: int, end: int) -> tuple[int, int]:
        """Return the first and last input voxel of a level on which its output voxels `begin` to `end` depend.

        The path through the coarser levels is followed alone: what it sees includes what the skip connection sees.
        """
        down = self.shrink_down[level] // 2
        if level < len(self.factors):
            factor, up = self.factors[level], self.shrink_up[level] // 2
            origin = down if self.valid else 0
            coarse = ((begin - up - origin) // factor, (end + up - origin) // factor)
            coarse_begin, coarse_end = self._span(level + 1, *coarse)
            begin, end = origin + coarse_begin * factor, origin + (coarse_end + 1) * factor - 1
        return begin - down, end + down


@attrs.frozen
class TwiceAxisShapes(AxisShapes):
    """One axis of two equal U-Nets, the second of which works on the output of the first."""

    @property
    def between(self) -> int:
        """How many voxels, an even number, are cropped between the two, for the second one's input to fit."""
        return even_excess(-super().lost, self.step) if self.valid else 0

    @property
    def lost(self) -> int:
        return 2 * super().lost + self.between

    def _span(self, level: int, begin: int, end: int) -> tuple[int, int]:
        if level > 0:
            return super()._span(level, begin, end)
        second = (super().lost + self.between) // 2
        begin, end = super()._span(0, begin - second, end - second)
        return super()._span(0, begin + second, end + second)
