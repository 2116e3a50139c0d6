"""How a configuration names an array."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.arrays.opening import open_all_levels, open_array
from dacapo_hd.arrays.volume import Volume
from dacapo_hd.config import each_positive, expand_env, optional

_SHARED: ContextVar[dict[Any, Volume] | None] = ContextVar("shared", default=None)


@contextmanager
def shared_arrays() -> Iterator[None]:
    """Let each array that is opened inside be one `Volume`, however often it is opened: thousands of crops of one."""
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def _is_path(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if not value.strip():
        raise ValueError(f"must be the path of an array, got {value!r}")


def _per_axis(instance: Any, attribute: attrs.Attribute[Any], value: tuple[float, ...] | None) -> None:
    if value is not None and len(value) not in (2, 3):
        raise ValueError(f"must be [z, y, x], or [y, x] for 2D, got {value!r}")


@attrs.frozen
class ArrayRef:
    """An array in any format that can be opened; a plain string in a configuration is its `path`.

    `path` is a path or a URL, and may contain `${NAME}`. `voxel_size_nm` and `offset_nm` (lower corner of the first
    voxel) replace what the file says. `level` is the dataset of an OME-Zarr group, by name.
    """

    path: str = attrs.field(validator=_is_path)
    voxel_size_nm: tuple[float, ...] | None = attrs.field(default=None, validator=[_per_axis, optional(each_positive)])
    offset_nm: tuple[float, ...] | None = attrs.field(default=None, validator=_per_axis)
    level: str | None = None

    @classmethod
    def from_string(cls, text: str) -> ArrayRef:
        return cls(text)

    def open(self, wanted_voxel_size_nm: tuple[float, ...] | None = None) -> Volume:
        """Open the array; of an OME-Zarr group the level named, else the one with the wanted voxel size.

        Without either the finest level is opened. A plain array, a named level and an array whose `voxel_size_nm` is
        given are opened whatever their voxel size. Raises UserError when there is no such array or level, when the
        voxel size is unknown, or when the axes are not ([t=1,] [c,] [z,] y, x) in any order.
        """
        shared, key = _SHARED.get(), (self, wanted_voxel_size_nm)
        if shared is not None:
            # the finest level is the wanted one if it has the wanted voxel size
            finest = shared.get((self, None))
            if finest is not None and finest.grid.voxel_size_nm == wanted_voxel_size_nm:
                return finest
            if key in shared:
                return shared[key]
        volume = open_array(self, expand_env(self.path), wanted_voxel_size_nm)
        if shared is not None:
            shared[key] = volume
        return volume

    def open_levels(self) -> dict[str, Volume]:
        """Open all levels of an OME-Zarr or N5 group by name, finest first; a single array has the name "".

        A level that is named, and one whose voxel size is given, is a single array.
        """
        return dict(open_all_levels(self, expand_env(self.path)))


def open_volume(path: str | Path) -> Volume:
    """Open the array or the finest level of the OME-Zarr group at a path."""
    return ArrayRef(str(path)).open()
