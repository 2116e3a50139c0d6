"""A datasplit by folder convention."""

from __future__ import annotations

from pathlib import Path

import attrs

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.config import expand_env
from dacapo_hd.datasplits.base import Datasplit, Part
from dacapo_hd.datasplits.crop import Crop
from dacapo_hd.errors import UserError
from dacapo_hd.labels.sources import ClassArrays, InstanceArray, LabelSource

_INSTANCES = "_inst"


@attrs.frozen
class Folder(Datasplit):
    """Zarr groups `train/*/`, `validate/*/` and `test/*/` in a folder (which may itself be a Zarr group).

    Each group has an array `raw`, and under `labels` one array per class, named as the class; `CLASS_inst` holds
    instance ids of that class. `mask`, if there, says where labels count. `ignore` names arrays under `labels` that
    are to be left out. `raw`, `labels` and `mask` rename these parts.
    """

    path: str
    raw: str = "raw"
    labels: str = "labels"
    mask: str = "mask"
    ignore: tuple[str, ...] = ()

    def crops(self, part: Part) -> tuple[Crop, ...]:
        folder = Path(expand_env(self.path))
        if not folder.is_dir():
            raise UserError(f"datasplit.path: no folder {str(folder)!r}")
        return tuple(self._crop(group) for group in _folders(folder / part))

    def where(self, part: Part) -> str:
        return f"put Zarr groups with raw and labels into {str(Path(expand_env(self.path)) / part)!r}"

    def _crop(self, group: Path) -> Crop:
        arrays: dict[str, ArrayRef] = {}
        instances: list[LabelSource] = []
        for array in _folders(group / self.labels):
            if array.name in self.ignore:
                continue
            if array.name.endswith(_INSTANCES):
                instances.append(InstanceArray(ArrayRef(str(array)), array.name.removesuffix(_INSTANCES)))
            else:
                arrays[array.name] = ArrayRef(str(array))
        sources = [*([ClassArrays(arrays)] if arrays else []), *instances]
        mask = group / self.mask
        return Crop(
            name=group.name.removesuffix(".zarr"),
            raw=ArrayRef(str(group / self.raw)),
            labels=tuple(sources),
            mask=ArrayRef(str(mask)) if mask.is_dir() else None,
        )


def _folders(parent: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones; none if it does not exist."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
