"""How a configuration names an array."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

import attrs

from dacapo_hd.arrays.naming import BY_OPTION, IN_CONFIG, Advice, AxisNaming, parse_axes
from dacapo_hd.arrays.opening import open_all_levels, open_array
from dacapo_hd.arrays.units import typed_size_nm
from dacapo_hd.arrays.volume import Volume
from dacapo_hd.config import ADDED_LATER, NAMING_FOLDER, non_negative, optional, placed

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


def is_voxel_size(instance: Any, attribute: attrs.Attribute[Any], value: str | tuple[float, ...] | None) -> None:
    """Validate a voxel size that may have been typed (an attrs validator)."""
    if value is not None:
        typed_size_nm(value)


def _axes(value: Any) -> Any:
    """Bring all spellings of axes to one; what is none is left to the validator, which knows the field."""
    try:
        return None if value is None else parse_axes(value)
    except ValueError:
        return value


def _are_axes(instance: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        parse_axes(value)


@attrs.frozen
class ArrayRef:
    """An array in any format that can be opened; a plain string in a configuration is its `path`.

    `path` is a path or a URL, and may contain `${NAME}`; a relative one begins at the folder of the file that names it.
    `voxel_size_nm` and `offset_nm` (lower corner of the first voxel) replace what the file says;
    `assumed_voxel_size_nm` counts only where the file has none. `level` is the dataset of an OME-Zarr group, by name.
    `axes` names the stored axes in their order, such as zyxc; `zyxc!` counts even where the file says others.
    `channel` is the only one to read.
    """

    advice: ClassVar[Advice] = IN_CONFIG

    path: str = attrs.field(validator=_is_path)
    voxel_size_nm: tuple[float, ...] | str | None = attrs.field(default=None, validator=is_voxel_size)
    offset_nm: tuple[float, ...] | None = attrs.field(default=None, validator=_per_axis)
    level: str | None = None
    axes: str | tuple[str, ...] | None = attrs.field(
        default=None, converter=_axes, validator=_are_axes, metadata=ADDED_LATER
    )
    channel: int | None = attrs.field(default=None, validator=optional(non_negative), metadata=ADDED_LATER)
    assumed_voxel_size_nm: tuple[float, ...] | str | None = attrs.field(
        default=None, validator=is_voxel_size, metadata=ADDED_LATER
    )
    folder: str | None = attrs.field(default=None, metadata=NAMING_FOLDER)

    @classmethod
    def from_string(cls, text: str) -> ArrayRef:
        return cls(text)

    @property
    def naming(self) -> AxisNaming:
        """The names of the axes that the user gives."""
        return AxisNaming(self.axes, self.advice)  # type: ignore[arg-type]

    @property
    def place(self) -> str:
        """The path or URL with environment variables replaced, begun at `folder` if it is relative."""
        return placed(self.path, self.folder)

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
        volume = open_array(self, self.place, wanted_voxel_size_nm)
        if shared is not None:
            shared[key] = volume
        return volume

    def open_levels(self) -> dict[str, Volume]:
        """Open all levels of an OME-Zarr or N5 group by name, finest first; a single array has the name "".

        A level that is named, and one whose voxel size is given, is a single array.
        """
        return dict(open_all_levels(self, self.place))


@attrs.frozen
class ArgumentRef(ArrayRef):
    """An array that is an argument of a command: what its file does not say is given by options."""

    advice: ClassVar[Advice] = BY_OPTION


def open_volume(path: str | Path) -> Volume:
    """Open the array or the finest level of the OME-Zarr group at a path."""
    return ArrayRef(str(path)).open()
