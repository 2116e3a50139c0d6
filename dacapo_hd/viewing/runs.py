"""The crops of a run: raw, and for each class what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import Volume
from dacapo_hd.datasplits.base import PARTS, Part
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import PRESENT, UNKNOWN
from dacapo_hd.run import Run
from dacapo_hd.viewing.layers import Layer, image_layers
from dacapo_hd.viewing.shaders import colour

MANY_CROPS = 12
PRESENT_ID, UNKNOWN_ID = 1, 2**32 - 1
UNKNOWN_COLOUR = "#505050"


def layers_of_run(run: Run, crops: Sequence[str] = ()) -> list[Layer]:
    """Return raw and a layer for each class, for the named crops, or for all if there are not more than MANY_CROPS.

    The labels are what the run trains on: classes derived from others, and 2^32 - 1 where nothing is known. Only the
    first crop is visible, because crops of different volumes often lie at the same place. Raises UserError for crops
    that do not exist or cannot be opened.
    """
    known = {f"{part}/{crop.name}": part for part in PARTS for crop in run.datasplit.crops(part)}
    chosen = _chosen(run.name, known, crops)
    opened = {
        f"{part}/{crop.name}": crop
        for part in dict.fromkeys(known[name] for name in chosen)
        for crop in run.datasplit.open(part, run.task.classes, run.seed)
    }
    shown: list[Layer] = []
    for number, name in enumerate(chosen):
        shown += _crop_layers(name, opened[name], visible=number == 0)
    return shown


def _chosen(run: str, known: Mapping[str, Part], wanted: Sequence[str]) -> list[str]:
    chosen: list[str] = []
    for name in wanted:
        found = [one for one in known if name in (one, one.partition("/")[2])]
        if not found:
            raise UserError(f"--crop: run {run!r} has no crop {name!r}{suggestion(name, known)}")
        chosen += found
    if not wanted and len(known) > MANY_CROPS:
        some = ", ".join(list(known)[:MANY_CROPS])
        raise UserError(f"run {run!r} has {len(known)} crops; choose some with --crop: {some}, ...")
    return chosen or list(known)


def _crop_layers(name: str, crop: OpenCrop, visible: bool) -> list[Layer]:
    labels = CropLabels(crop)
    return [
        *image_layers(f"{name} raw", (crop.raw,), visible),
        *(
            Layer(
                f"{name} {class_name}",
                (labels,),
                labels=True,
                channel=number,
                colours={} if class_name in crop.instance_classes else _colours(number),
                visible=visible,
            )
            for number, class_name in enumerate(crop.classes)
        ),
    ]


def _colours(number: int) -> dict[int, str]:
    return {PRESENT_ID: colour(number), UNKNOWN_ID: UNKNOWN_COLOUR}


@attrs.frozen(eq=False)
class CropLabels(Volume):
    """What a crop knows, one channel per class: instance ids or PRESENT_ID, 0 where absent, UNKNOWN_ID."""

    crop: OpenCrop
    path: str = "labels"
    attributes: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def grid(self) -> Grid:  # type: ignore[override]
        return self.crop.label_grid

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint32)

    @property
    def channels(self) -> int | None:
        return len(self.crop.classes)

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        return self.grid.shape_vx

    def _read(self, region: tuple[slice, ...]) -> NDArray[Any]:
        begin, shape = [s.start for s in region[-3:]], [s.stop - s.start for s in region[-3:]]
        block = self.crop.read_labels(self.grid.roi_of(begin, shape))
        found = (block.code == PRESENT).astype(np.uint32)
        for name, ids in block.instances.items():
            number = block.classes.index(name)
            found[number] = np.where(ids > 0, ids, found[number])
        found[block.code == UNKNOWN] = UNKNOWN_ID
        return found[region[0]]

    def _write(self, region: tuple[slice, ...], data: NDArray[Any]) -> None:
        raise TypeError("labels of a crop are not written")
