"""A branch of latent masks: the window that its masks fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from dacapo_hd.config import non_negative

if TYPE_CHECKING:
    from dacapo_hd.operations.mask_aggregation import Window


def _odd(instance: Any, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
    if any(size < 1 or size % 2 == 0 for size in value):
        raise ValueError(f"must be odd on every axis, so that the window has a centre, got {value!r}")


@attrs.frozen
class MaskBranch:
    """Masks in a window of `window_vx` places (z, y, x), `dilation` voxels apart, from a decoder level (0: finest)."""

    level: int = attrs.field(default=0, validator=non_negative)
    window_vx: tuple[int, int, int] = attrs.field(default=(5, 7, 7), validator=_odd)
    dilation: tuple[int, int, int] = attrs.field(default=(1, 1, 1))

    @dilation.validator
    def _positive(self, attribute: attrs.Attribute[Any], value: tuple[int, int, int]) -> None:
        if any(step < 1 for step in value):
            raise ValueError(f"must be >= 1 on every axis, got {value!r}")

    @property
    def reach_vx(self) -> tuple[int, ...]:
        """How far the window reaches to either side."""
        return tuple(n // 2 * d for n, d in zip(self.window_vx, self.dilation, strict=True))

    def fits(self, offset: Sequence[float]) -> bool:
        """Tell whether two places of the window are an offset in voxels apart."""
        axes = zip(offset, self.window_vx, self.dilation, strict=True)
        return all(step % d == 0 and abs(step) // d < n for step, n, d in axes)

    def window(self) -> Window:
        from dacapo_hd.operations.mask_aggregation import Window

        return Window(self.window_vx, self.dilation)
