"""Where labels come from: one array per class, one semantic array, or the instances of a class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import ArrayRef, Volume
from dacapo_hd.config import Component, non_empty
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import PRESENT
from dacapo_hd.labels.decode import ClassAnnotation, ClassDecoder, Decoder, SemanticDecoder, has_ids, id_numbers
from dacapo_hd.labels.regrid import Relation
from dacapo_hd.labels.scheme import ClassScheme


@attrs.frozen(eq=False)
class _Layer:
    """One open array and how to read its values."""

    volume: Volume
    decoder: Decoder

    def read(self, roi: Roi, grid: Grid) -> dict[str, ClassAnnotation]:
        relation = Relation.between(self.volume.grid, grid)
        covering = relation.covering(self.volume.grid, roi)
        inside = covering.intersect(self.volume.grid.roi)
        if inside.empty:
            return {}
        found = self.decoder(self.volume.read(inside))
        all_of_it = Grid.from_roi(covering, self.volume.grid.voxel_size)
        here = all_of_it.slices(inside)
        wanted = Grid.from_roi(covering, grid.voxel_size).slices(roi)

        def fit(data: NDArray[Any], regrid: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
            padded = np.zeros(all_of_it.shape_vx, data.dtype)
            padded[here] = data
            return regrid(padded)[wanted]

        annotations = {}
        for name, one in found.items():
            code, ids = fit(one.code, relation.codes), None
            if one.ids is not None:
                ids = np.where(code == PRESENT, fit(one.ids, relation.ids), np.uint32(0))
            annotations[name] = ClassAnnotation(code, ids)
        return annotations


@attrs.frozen(eq=False)
class OpenLabels:
    """The open arrays of one label source; picklable."""

    layers: tuple[_Layer, ...]

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The grids of the arrays."""
        return tuple(layer.volume.grid for layer in self.layers)

    @property
    def instance_classes(self) -> tuple[str, ...]:
        """The classes that have instance ids."""
        return tuple(name for layer in self.layers for name in layer.decoder.instance_classes)

    def problems(self, raw: Grid) -> list[str]:
        """Say which arrays do not fit the raw grid."""
        found: list[str] = []
        for layer in self.layers:
            try:
                Relation.between(layer.volume.grid, raw, f"labels {layer.volume.path!r}")
            except UserError as error:
                found += error.problems
        return found

    def read(self, roi: Roi, grid: Grid) -> dict[str, ClassAnnotation]:
        """Return the annotation in an ROI (femtometres) that is aligned with `grid`, on its voxels.

        Unknown outside the arrays; a class whose array does not touch the ROI is left out. UserError if the voxel
        sizes do not differ by whole factors.
        """
        found: dict[str, ClassAnnotation] = {}
        for layer in self.layers:
            found.update(layer.read(roi, grid))
        return found


class LabelSource(Component, ABC):
    """Labels of one or several classes of a crop."""

    kind: ClassVar[str] = "labels"

    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The classes it tells about."""

    @abstractmethod
    def open(self, wanted_voxel_size_nm: tuple[float, ...] | None, scheme: ClassScheme | None = None) -> OpenLabels:
        """Open the arrays, at the level with the wanted voxel size, else the finest; UserError with all problems.

        Without a scheme, all classes count as atomic.
        """


@attrs.frozen
class ClassArrays(LabelSource):
    """One array per class: 0 absent, > 0 present, an instance id if values > 1 occur.

    `unknown` is the value that says nothing; by default the `unknown` of the array's attribute `encoding`, else 255
    in uint8 arrays, else none.
    """

    arrays: Mapping[str, ArrayRef] = attrs.field(validator=non_empty)
    unknown: int | None = None

    def classes(self) -> tuple[str, ...]:
        return tuple(self.arrays)

    def open(self, wanted_voxel_size_nm: tuple[float, ...] | None, scheme: ClassScheme | None = None) -> OpenLabels:
        layers: list[_Layer] = []
        problems: list[str] = []
        for name, array in self.arrays.items():
            try:
                volume = _open_integers(array, wanted_voxel_size_nm)
                encoding = _encoding(volume)
                unknown = _unknown(self.unknown, volume, encoding)
                instances = "present" not in encoding and has_ids(volume, unknown)
                numbers = id_numbers(volume, unknown) if instances else None
                layers.append(_Layer(volume, ClassDecoder(name, unknown, instances, numbers)))
            except UserError as error:
                problems += error.problems
        if problems:
            raise UserError(*problems)
        return OpenLabels(tuple(layers))


@attrs.frozen
class InstanceArray(LabelSource):
    """The instances of one class: ids > 0 present, 0 absent.

    `unknown` is the value that says nothing; by default the `unknown` of the array's attribute `encoding`, else none.
    """

    path: ArrayRef
    class_name: str
    unknown: int | None = None

    def classes(self) -> tuple[str, ...]:
        return (self.class_name,)

    def open(self, wanted_voxel_size_nm: tuple[float, ...] | None, scheme: ClassScheme | None = None) -> OpenLabels:
        volume = _open_integers(self.path, wanted_voxel_size_nm)
        unknown = _encoding(volume).get("unknown") if self.unknown is None else self.unknown
        decoder = ClassDecoder(self.class_name, unknown, True, id_numbers(volume, unknown))
        return OpenLabels((_Layer(volume, decoder),))


def _tuples(values: Mapping[str, int | tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {name: (value,) if isinstance(value, int) else tuple(value) for name, value in values.items()}


def _not_listed(instance: SemanticArray, attribute: attrs.Attribute[Any], unknown: int | None) -> None:
    for name, values in _tuples(instance.values).items():
        if unknown in values:
            raise ValueError(f"must not be a value of a class, got {unknown}, which is {name!r}")


@attrs.frozen
class SemanticArray(LabelSource):
    """One array for several classes: `values` gives the value, or values, of each class.

    Where a value of a class stands, the other classes that exclude it or are parts of it are absent. 0 says that all
    the classes are absent, unless `background` is false. `unknown` (default as in ClassArrays) and values that no
    class lists say nothing.
    """

    path: ArrayRef
    values: Mapping[str, int | tuple[int, ...]] = attrs.field(validator=non_empty)
    unknown: int | None = attrs.field(default=None, validator=_not_listed)
    background: bool = True

    def classes(self) -> tuple[str, ...]:
        return tuple(self.values)

    def open(self, wanted_voxel_size_nm: tuple[float, ...] | None, scheme: ClassScheme | None = None) -> OpenLabels:
        volume = _open_integers(self.path, wanted_voxel_size_nm)
        unknown = _unknown(self.unknown, volume, _encoding(volume, flat=True))
        scheme = scheme or ClassScheme.of_atoms(self.values)
        decoder = SemanticDecoder.of(_tuples(self.values), unknown, self.background, scheme)
        return OpenLabels((_Layer(volume, decoder),))


def open_plain(array: ArrayRef, wanted_voxel_size_nm: tuple[float, ...] | None, what: str) -> Volume:
    """Open an array without channels at the level with the voxel size of the raw, else at the finest.

    UserError, naming the array as `what`, if it has channels.
    """
    try:
        volume = array.open(wanted_voxel_size_nm)
    except UserError:
        # a pyramid without that level, which regridding makes up for; whatever else is wrong is raised again
        volume = array.open()
    if volume.channels is not None:
        raise UserError(f"{what} {array.path!r}: has a channel axis; there must be z, y, x only")
    return volume


def _open_integers(array: ArrayRef, wanted_voxel_size_nm: tuple[float, ...] | None) -> Volume:
    volume = open_plain(array, wanted_voxel_size_nm, "labels")
    if volume.dtype.kind not in "biu":
        raise UserError(f"labels {array.path!r}: dtype {volume.dtype}; labels must be integers: convert the array")
    return volume


def _encoding(volume: Volume, flat: bool = False) -> Mapping[str, int]:
    """Return the attribute `encoding` (meaning -> value), or an empty mapping."""
    encoding = volume.attributes.get("encoding")
    if not isinstance(encoding, Mapping):
        return {}
    absent = encoding.get("absent", 0)
    if not flat and absent != 0:
        raise UserError(f"labels {volume.path!r}: `encoding` says that {absent} is absent; only 0 can be")
    return encoding


def _unknown(given: int | None, volume: Volume, encoding: Mapping[str, int]) -> int | None:
    if given is not None:
        return given
    return encoding.get("unknown", 255 if volume.dtype == np.uint8 else None)
