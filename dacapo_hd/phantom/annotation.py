"""How much of a phantom's truth is shown, as in real projects: few planes, few classes, small boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config.validators import positive
from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.geometry import format_box
from dacapo_hd.phantom.scheme import CLASSES

Box = tuple[tuple[int, ...], tuple[int, ...]]


def _known_classes(instance: Any, attribute: attrs.Attribute[Any], names: tuple[str, ...]) -> None:
    problems = [f"unknown class {name!r}{suggestion(name, CLASSES)}" for name in names if name not in CLASSES]
    if problems:
        raise UserError(*problems)


@attrs.frozen
class Annotation:
    """What is annotated; the rest is unknown.

    `classes` get arrays, the others none at all. In those arrays, every `every_nth_plane`-th section (z) is annotated
    inside `boxes_vx` (begin, end; everywhere if none is given). Raises UserError for an unknown class.
    """

    classes: tuple[str, ...] = attrs.field(default=CLASSES, validator=_known_classes)
    every_nth_plane: int = attrs.field(default=1, validator=positive)
    boxes_vx: tuple[Box, ...] = ()

    def known(self, shape_vx: Sequence[int]) -> NDArray[np.bool_]:
        """Return where (z, y, x) the annotated classes are annotated; UserError for a box outside the volume."""
        known = np.zeros(tuple(shape_vx), np.bool_)
        for begin, end in self.boxes_vx or (((0, 0, 0), tuple(shape_vx)),):
            if not all(0 <= a < b <= n for a, b, n in zip(begin, end, shape_vx, strict=True)):
                raise UserError(
                    f"box {format_box(begin, end)} is not inside the phantom of shape {tuple(shape_vx)} voxels"
                )
            known[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))] = True
        # the middle of each run of planes, so that a thin crop keeps one
        known[np.arange(shape_vx[0]) % self.every_nth_plane != min(self.every_nth_plane, shape_vx[0]) // 2] = False
        return known
