"""A datasplit by folder convention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.arrays.nodes import read_node
from dacapo_hd.config import ADDED_LATER, NAMING_FOLDER, local_path, placed
from dacapo_hd.datasplits.base import Datasplit, Part
from dacapo_hd.datasplits.crop import Crop
from dacapo_hd.errors import UserError
from dacapo_hd.labels.sources import ClassArrays, InstanceArray, LabelSource
from dacapo_hd.labels.values import Unknown

_INSTANCES = "_inst"


@attrs.frozen
class Folder(Datasplit):
    """Zarr groups `train/*/`, `validate/*/` and `test/*/` in a folder (which may itself be a Zarr group).

    Each group has an array `raw`, and under `labels` one array per class, named as the class; `CLASS_inst` holds
    instance ids of that class. `mask`, if there, says where labels count. `ignore` names arrays under `labels` that
    are to be left out. `raw`, `labels` and `mask` rename these parts. `unknown` and `absent` are values of all label
    arrays, as in ClassArrays.

    The group's attribute `annotations` holds numbers that are known about the crop, by name. Where it holds lists,
    with one number per section, each section is a crop of its own, called `GROUP.SECTION`.
    """

    path: str
    raw: str = "raw"
    labels: str = "labels"
    mask: str = "mask"
    ignore: tuple[str, ...] = ()
    unknown: Unknown = attrs.field(default=None, metadata=ADDED_LATER)
    absent: tuple[int, ...] = attrs.field(default=(), metadata=ADDED_LATER)
    folder: str | None = attrs.field(default=None, metadata=NAMING_FOLDER)

    def crops(self, part: Part) -> tuple[Crop, ...]:
        folder = self._place
        if not folder.is_dir():
            raise UserError(f"datasplit.path: no folder {str(folder)!r}")
        return tuple(crop for group in _folders(folder / part) for crop in _annotated(self._crop(group), group))

    def where(self, part: Part) -> str:
        return f"put Zarr groups with raw and labels into {str(self._place / part)!r}"

    @property
    def _place(self) -> Path:
        return local_path(placed(self.path, self.folder))

    def _crop(self, group: Path) -> Crop:
        arrays: dict[str, ArrayRef] = {}
        instances: list[LabelSource] = []
        for array in _folders(group / self.labels):
            if array.name in self.ignore:
                continue
            if array.name.endswith(_INSTANCES):
                name = array.name.removesuffix(_INSTANCES)
                instances.append(InstanceArray(ArrayRef(str(array)), name, self.unknown, self.absent))
            else:
                arrays[array.name] = ArrayRef(str(array))
        masks = [ClassArrays(arrays, self.unknown, self.absent)] if arrays else []
        sources = [*masks, *instances]
        mask = group / self.mask
        return Crop(
            name=group.name.removesuffix(".zarr"),
            raw=ArrayRef(str(group / self.raw)),
            labels=tuple(sources),
            mask=ArrayRef(str(mask)) if mask.is_dir() else None,
        )


def _annotated(crop: Crop, group: Path) -> Iterator[Crop]:
    """Add the annotations of a group; they may make a crop of each section."""
    node = read_node(group)
    annotations = node.attributes.get("annotations", {}) if node is not None else {}
    if not isinstance(annotations, Mapping):
        raise UserError(f"{group}: its attribute `annotations` must map names to numbers, got {annotations!r}")
    lists = {name: value for name, value in annotations.items() if isinstance(value, list)}
    for name, value in annotations.items():
        wrong = [one for one in (value if isinstance(value, list) else [value]) if not _is_number(one)]
        if wrong:
            raise UserError(f"{group}: `annotations`: {name} must be a number or a list of them, got {wrong[0]!r}")
    if not lists:
        yield attrs.evolve(crop, annotations=annotations)
        return
    depth, height, width = crop.raw.open().grid.shape_vx
    for name, values in lists.items():
        if len(values) != depth:
            raise UserError(
                f"{group}: `annotations`: {name} has {len(values)} numbers, but raw has {depth} sections; give one each"
            )
    digits = len(str(depth - 1))
    for z in range(depth):
        own = {name: values[z] for name, values in lists.items()}
        yield attrs.evolve(
            crop,
            name=f"{crop.name}.{z:0{digits}}",
            roi_vx=((z, z + 1), (0, height), (0, width)),
            annotations={**annotations, **own},
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _folders(parent: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones; none if it does not exist."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
