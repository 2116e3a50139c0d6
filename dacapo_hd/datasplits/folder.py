"""A datasplit by folder convention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.arrays.naming import Advice
from dacapo_hd.arrays.nodes import read_node
from dacapo_hd.config import ADDED_LATER, NAMING_FOLDER, local_path, placed
from dacapo_hd.datasplits.base import Datasplit, Part
from dacapo_hd.datasplits.crop import Crop
from dacapo_hd.errors import UserError
from dacapo_hd.labels.sources import ClassArrays, InstanceArray, LabelSource, integers
from dacapo_hd.labels.values import Unknown

_INSTANCES = "_inst"


@attrs.frozen
class FolderArray:
    """What the files of one array of each crop do not say; the fields are those of ArrayRef and of label sources."""

    axes: str | tuple[str, ...] | None = None
    channel: int | None = None
    voxel_size_nm: tuple[float, ...] | str | None = None
    offset_nm: tuple[float, ...] | None = None
    unknown: Unknown = None
    absent: int | tuple[int, ...] = attrs.field(default=(), converter=integers)


@attrs.frozen
class FolderRef(ArrayRef):
    """An array that a folder has: what its file does not say is said in the datasplit, by its name."""

    @property
    def advice(self) -> Advice:  # type: ignore[override]
        begin, end = f"write `arrays: {{{Path(self.path).name}: {{", "}}` in the datasplit"
        size = f"{begin}voxel_size_nm: [z, y, x]{end}"
        return Advice(
            f"{size}, or `assumed_voxel_size_nm: [z, y, x]`",
            size,
            f"{begin}offset_nm: [z, y, x]{end}",
            # a form for names: its own braces are doubled
            begin.replace("{", "{{") + "axes: {}" + end.replace("}", "}}"),
        )


@attrs.frozen
class Folder(Datasplit):
    """Zarr groups `train/*/`, `validate/*/` and `test/*/` in a folder (which may itself be a Zarr group).

    Each group has an array `raw`, and under `labels` one array per class, named as the class; `CLASS_inst` holds
    instance ids of that class. `mask`, if there, says where labels count. `ignore` names arrays under `labels` that
    are to be left out. `raw`, `labels` and `mask` rename these parts. `unknown` and `absent` are values of all label
    arrays, as in ClassArrays; `arrays` says of single arrays, by their names, what their files do not.

    The group's attribute `annotations` holds numbers that are known about the crop, by name. Where it holds lists,
    with one number per section, each section is a crop of its own, called `GROUP.SECTION`.
    """

    path: str
    raw: str = "raw"
    labels: str = "labels"
    mask: str = "mask"
    ignore: tuple[str, ...] = ()
    unknown: Unknown = attrs.field(default=None, metadata=ADDED_LATER)
    absent: int | tuple[int, ...] = attrs.field(default=(), converter=integers, metadata=ADDED_LATER)
    arrays: Mapping[str, FolderArray] = attrs.field(factory=dict, metadata=ADDED_LATER)
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
        sources: list[LabelSource] = []
        masks: dict[tuple[Any, Any], dict[str, ArrayRef]] = {}
        for array in _folders(group / self.labels):
            if array.name in self.ignore:
                continue
            own = self.arrays.get(array.name, FolderArray())
            unknown = self.unknown if own.unknown is None else own.unknown
            absent = own.absent or self.absent
            if array.name.endswith(_INSTANCES):
                name = array.name.removesuffix(_INSTANCES)
                sources.append(InstanceArray(self._ref(array), name, unknown, absent))
            else:
                masks.setdefault((unknown, absent), {})[array.name] = self._ref(array)
        mask = group / self.mask
        return Crop(
            name=group.name.removesuffix(".zarr"),
            raw=self._ref(group / self.raw),
            labels=(*(ClassArrays(arrays, *values) for values, arrays in masks.items()), *sources),
            mask=self._ref(mask) if mask.is_dir() else None,
        )

    def _ref(self, array: Path) -> ArrayRef:
        own = self.arrays.get(array.name, FolderArray())
        return FolderRef(
            str(array),
            own.voxel_size_nm,
            own.offset_nm,
            axes=own.axes,
            channel=own.channel,
            assumed_voxel_size_nm=self.assumed_voxel_size_nm,
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
