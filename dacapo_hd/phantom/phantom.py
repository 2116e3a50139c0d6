"""A FIB-SEM-like volume whose every voxel is known: what demos, tests and studies run on without any download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.config.validators import each_positive, non_negative
from dacapo_hd.geometry import Grid
from dacapo_hd.phantom.anatomy import draw
from dacapo_hd.phantom.appearance import image
from dacapo_hd.phantom.scene import make_scene
from dacapo_hd.phantom.scheme import values_of


def _three(instance: Any, attribute: attrs.Attribute[Any], values: tuple[float, ...]) -> None:
    if len(values) != 3:
        raise ValueError(f"must have 3 values (z, y, x), got {len(values)}")


@attrs.frozen
class Phantom:
    """A phantom's recipe; the same recipe always gives the same bytes.

    `degradation` scales everything that microscope and milling add (noise, curtaining, drift); 0 leaves blur alone.
    """

    shape_vx: tuple[int, ...] = attrs.field(default=(128, 256, 256), validator=[_three, each_positive])
    voxel_size_nm: tuple[float, ...] = attrs.field(default=(8.0, 8.0, 8.0), validator=[_three, each_positive])
    seed: int = attrs.field(default=0, validator=non_negative)
    offset_nm: tuple[float, ...] = attrs.field(default=(0.0, 0.0, 0.0), validator=_three)
    degradation: float = attrs.field(default=1.0, validator=non_negative)

    @property
    def grid(self) -> Grid:
        return Grid.from_nm(self.shape_vx, self.voxel_size_nm, self.offset_nm)


@attrs.frozen(eq=False)
class PhantomVolume:
    """Image and truth, all (z, y, x).

    `raw` is uint8; `semantic` uint8, 1 + the position in `ATOMS`, never 0; `instances` holds uint16 or uint32 ids per
    class of `INSTANCE_CLASSES`, 0 elsewhere, each id one 6-connected object.
    """

    phantom: Phantom
    raw: NDArray[np.uint8]
    semantic: NDArray[np.uint8]
    instances: Mapping[str, NDArray[Any]]

    def mask(self, class_name: str) -> NDArray[np.bool_]:
        """Return where a class, atomic or composite, is."""
        table = np.zeros(256, dtype=np.bool_)
        table[list(values_of(class_name))] = True
        return table[self.semantic]


def make(phantom: Phantom) -> PhantomVolume:
    """Draw a phantom."""
    extent_nm = [n * size for n, size in zip(phantom.shape_vx, phantom.voxel_size_nm, strict=True)]
    scene = make_scene(extent_nm, phantom.seed)
    semantic, instances = draw(scene, phantom.shape_vx, phantom.voxel_size_nm, phantom.seed)
    raw = image(semantic, instances["cell"], phantom.voxel_size_nm, phantom.seed, phantom.degradation)
    return PhantomVolume(phantom, raw, semantic, instances)
