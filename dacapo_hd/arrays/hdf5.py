"""Datasets in HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays.axes import Axis, plain_axes
from dacapo_hd.arrays.naming import AxisNaming
from dacapo_hd.arrays.nodes import listed
from dacapo_hd.arrays.source import PerProcess, Region, Source, standard_order, stored_region
from dacapo_hd.errors import UserError, suggestion

SUFFIXES = (".h5", ".hdf5", ".hdf")
SIGNATURE = b"\x89HDF\r\n\x1a\n"
CACHE_BYTES = 64 * 2**20


@attrs.frozen(eq=False)
class Hdf5Dataset:
    """A dataset in a file, with its attributes as plain Python values."""

    file: Path
    name: str
    shape: tuple[int, ...]
    attributes: dict[str, Any]
    dimension_names: tuple[str | None, ...]

    @property
    def label(self) -> str:
        return f"{self.file}/{self.name} (HDF5 dataset of shape {self.shape})"

    def axes(self, naming: AxisNaming) -> tuple[Axis, ...]:
        """Raises UserError for attributes that do not fit the shape."""
        return plain_axes(self.label, self.shape, self.attributes, self.dimension_names, naming=naming)


def is_hdf5(file: Path) -> bool:
    """Tell whether a file is an HDF5 file, or means to be one."""
    with file.open("rb") as opened:
        return opened.read(len(SIGNATURE)) == SIGNATURE or file.suffix.lower() in SUFFIXES


def find_dataset(file: Path, name: str) -> Hdf5Dataset:
    """Look up a dataset; the UserError for a missing one lists what the file contains."""
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            found = opened.get(name) if name else None
            if not isinstance(found, h5py.Dataset):
                raise _missing(file, name, opened)
            attributes = {key: _plain(value) for key, value in found.attrs.items()}
            return Hdf5Dataset(file, name, found.shape, attributes, tuple(map(_dimension_name, found.dims)))
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, PermissionError):
            raise UserError(f"cannot open {file}: no permission to read it") from error
        raise UserError(f"cannot open {file}: not a readable HDF5 file: {_first_line(error)}") from error


def _dimension_name(dimension: Any) -> str | None:
    """Return the label of a dimension, else the name of its scale, as netCDF has it."""
    scales = dimension.values()
    return dimension.label or (scales[0].name.rpartition("/")[2] if scales else None)


def _missing(file: Path, name: str, opened: Any) -> UserError:
    import h5py

    inside: list[str] = []
    opened.visititems(lambda key, item: inside.append(key) if isinstance(item, h5py.Dataset) else None)
    below = [key for key in inside if key.startswith(f"{name}/")] if name else inside
    if not name or below:
        what = f"{file}/{name}" if name else str(file)
        listing = f"name one of the datasets in it: {listed(below)}" if below else "it contains no datasets"
        return UserError(f"{what} (HDF5 {'group' if name else 'file'}): {listing}")
    listing = f"the file contains {listed(inside)}" if inside else "the file contains no datasets"
    return UserError(f"no dataset {name} in {file}: {listing}{suggestion(name, inside)}")


def _plain(value: Any) -> Any:
    """Turn an attribute into what JSON holds."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _first_line(error: Exception) -> str:
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__


class Hdf5Source(Source):
    """A dataset; the file is opened for reading in each process, where h5py lets in one thread at a time."""

    def __init__(self, file: Path, name: str, axes: tuple[str, ...]) -> None:
        self.file, self.name, self.axes = file, name, axes
        self.dataset = PerProcess(self._open)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hdf5Source, (self.file, self.name, self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.dataset().dtype.newbyteorder("=")
        return dtype

    @property
    def chunk_shape_vx(self) -> tuple[int, ...]:
        dataset = self.dataset()
        chunks = dataset.chunks or (1,) * (dataset.ndim - 1) + dataset.shape[-1:]
        by_name = dict(zip(self.axes, chunks, strict=True))
        return tuple(by_name.get(axis, 1) for axis in "zyx")

    def read(self, region: Region) -> NDArray[Any]:
        try:
            return standard_order(self.dataset()[stored_region(region, self.axes)], self.axes)
        except RuntimeError as error:
            raise ValueError(_first_line(error)) from error

    def _open(self) -> Any:
        import h5py

        return h5py.File(self.file, "r", rdcc_nbytes=CACHE_BYTES)[self.name]
