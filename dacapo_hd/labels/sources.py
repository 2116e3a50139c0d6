"""Where labels come from: one array per class, one semantic array, or the instances of a class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from funlib.geometry import Roi
from numpy.typing import NDArray

from dacapo_hd.arrays import ArrayRef, StoredVolume, Volume
from dacapo_hd.config import ADDED_LATER, Component, non_empty
from dacapo_hd.errors import UserError, said_once
from dacapo_hd.geometry import Grid, format_nm
from dacapo_hd.labels.block import PRESENT
from dacapo_hd.labels.decode import ClassAnnotation, ClassDecoder, Decoder, SemanticDecoder
from dacapo_hd.labels.regrid import Relation
from dacapo_hd.labels.scheme import ClassScheme
from dacapo_hd.labels.values import LabelValues, Unknown, scan


@attrs.frozen(eq=False)
class LabelLayer:
    """One open array and how to read its values.

    `note` says what was done to open it. `unsaid_unknown`: it holds the unknown value and 0 alone, and nobody has said
    what that value means. `none_present`: it shows its class nowhere. `axes_given`: the user has named its axes.
    """

    volume: Volume
    decoder: Decoder
    note: str | None = None
    unsaid_unknown: bool = False
    none_present: bool = False
    axes_given: bool = False

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

    layers: tuple[LabelLayer, ...]

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
    def open(self, raw: Grid | None, scheme: ClassScheme | None = None) -> OpenLabels:
        """Open the arrays at the level that fits raw data on a grid, else the finest; UserError with all problems.

        Without a scheme, all classes count as atomic.
        """


def integers(value: Any) -> tuple[int, ...]:
    """Let one number stand for a list of one (an attrs converter)."""
    return (value,) if isinstance(value, int) else tuple(value)


@attrs.frozen
class ClassArrays(LabelSource):
    """One array per class: 0 absent, > 0 present, an instance id if values > 1 occur.

    `unknown` is the value that says nothing, or a list of them; `none` says that there is no other. By default it is
    the `unknown` of the array's `encoding`, else 255 in uint8 arrays. `absent` are values beside 0 that are absent.
    """

    arrays: Mapping[str, ArrayRef] = attrs.field(validator=non_empty)
    unknown: Unknown = None
    absent: int | tuple[int, ...] = attrs.field(default=(), converter=integers, metadata=ADDED_LATER)

    def classes(self) -> tuple[str, ...]:
        return tuple(self.arrays)

    def open(self, raw: Grid | None, scheme: ClassScheme | None = None) -> OpenLabels:
        layers: list[LabelLayer] = []
        unopened: list[str] = []
        unfit: list[tuple[str, str]] = []
        for name, array in self.arrays.items():
            try:
                layers.append(self._layer(name, array, raw))
            except _UnfitError as error:
                unfit.append((error.where, error.what))
            except UserError as error:
                unopened += error.problems
        if unopened or unfit:
            raise UserError(*unopened, *said_once(unfit))
        return OpenLabels(tuple(layers))

    def _layer(self, name: str, array: ArrayRef, raw: Grid | None) -> LabelLayer:
        volume, note = _openintegers(array, raw)
        usual = 255 if volume.dtype == np.uint8 else None
        values = LabelValues.of(volume, self.unknown, self.absent, usual)  # type: ignore[arg-type]
        return _class_layer(name, array, volume, values, note, has_ids=None if values.present is None else False)


@attrs.frozen
class InstanceArray(LabelSource):
    """The instances of one class: ids > 0 present, 0 absent.

    `unknown` is the value that says nothing, or a list of them; `none` says that there is no other. By default it is
    the `unknown` of the array's `encoding`, else none. `absent` are values beside 0 that are absent.
    """

    path: ArrayRef
    class_name: str
    unknown: Unknown = None
    absent: int | tuple[int, ...] = attrs.field(default=(), converter=integers, metadata=ADDED_LATER)

    def classes(self) -> tuple[str, ...]:
        return (self.class_name,)

    def open(self, raw: Grid | None, scheme: ClassScheme | None = None) -> OpenLabels:
        volume, note = _openintegers(self.path, raw)
        values = LabelValues.of(volume, self.unknown, self.absent)  # type: ignore[arg-type]
        return OpenLabels((_class_layer(self.class_name, self.path, volume, values, note, has_ids=True),))


def _tuples(values: Mapping[str, int | tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {name: integers(value) for name, value in values.items()}


def _not_listed(instance: SemanticArray, attribute: attrs.Attribute[Any], unlisted: Unknown) -> None:
    for value in unlisted if isinstance(unlisted, tuple) else (unlisted,):
        for name, values in _tuples(instance.values).items():
            if value in values:
                raise ValueError(f"must not be a value of a class, got {value}, which is {name!r}")


@attrs.frozen
class SemanticArray(LabelSource):
    """One array for several classes: `values` gives the value, or values, of each class.

    Where a value of a class stands, the other classes that exclude it or are parts of it are absent. 0 says that all
    the classes are absent, unless `background` is false; so do the values in `absent`. `unknown` (default as in
    ClassArrays) and values that no class lists say nothing.
    """

    path: ArrayRef
    values: Mapping[str, int | tuple[int, ...]] = attrs.field(validator=non_empty)
    unknown: Unknown = attrs.field(default=None, validator=_not_listed)
    background: bool = True
    absent: int | tuple[int, ...] = attrs.field(
        default=(), converter=integers, validator=_not_listed, metadata=ADDED_LATER
    )

    def classes(self) -> tuple[str, ...]:
        return tuple(self.values)

    def open(self, raw: Grid | None, scheme: ClassScheme | None = None) -> OpenLabels:
        volume, note = _openintegers(self.path, raw)
        usual = 255 if volume.dtype == np.uint8 else None
        values = LabelValues.of(volume, self.unknown, self.absent, usual)  # type: ignore[arg-type]
        scheme = scheme or ClassScheme.of_atoms(self.values)
        listed = _tuples(self.values)
        absent = {*values.absent} - {0}
        decoder = SemanticDecoder.of(listed, values.unknown, absent, self.background, scheme)
        is_class = any(value in mine for mine in listed.values() for value in values.unknown)
        unsaid = not is_class and _unknown_is_unsaid(volume, values)
        layer = LabelLayer(volume, decoder, note, unsaid, unsaid, self.path.axes is not None)
        return OpenLabels((layer,))


def _class_layer(
    name: str, array: ArrayRef, volume: Volume, values: LabelValues, note: str | None, has_ids: bool | None
) -> LabelLayer:
    """Look through an array of one class; `has_ids` None: it has if values > 1 occur."""
    found = scan(volume, values)
    problem = values.problem_with_all(found, volume.dtype)
    if problem is not None:
        raise _UnfitError(array, problem)
    ids = found.have_ids if has_ids is None else has_ids
    decoder = ClassDecoder(name, values, ids, found.numbers if ids else None)
    unsaid = found.only_absent_and_unknown and not values.said
    return LabelLayer(volume, decoder, note, unsaid, found.none_present, array.axes is not None)


def _unknown_is_unsaid(volume: Volume, values: LabelValues) -> bool:
    if not values.unknown or values.said:
        return False
    return scan(volume, values).only_absent_and_unknown


class _UnfitError(UserError):
    """An array that opens, but cannot be labels."""

    def __init__(self, array: ArrayRef, what: str, kind: str = "labels") -> None:
        self.where, self.what = f"{kind} {array.path!r}", what
        super().__init__(f"{self.where}: {what}")


def open_plain(array: ArrayRef, raw: Grid | None, kind: str) -> tuple[Volume, str | None]:
    """Open an array without channels for an image on the grid `raw`, and say in a note if no level fits as it is.

    That is the level with the voxel size of the image, if it lies on its voxels; else the finest that does and that
    regridding brings there; else the finest of all, whose misfit is for the caller to say. UserError, naming the array
    as `kind`, for channels.
    """
    try:
        volume = array.open(None if raw is None else raw.voxel_size_nm)
    except UserError:
        # a pyramid without that level, which regridding makes up for; whatever else is wrong is raised again
        volume = array.open()
    note = None
    if raw is not None and not _fits(volume.grid, raw):
        for name, level in array.open_levels().items():
            if _fits(level.grid, raw):
                note = (
                    f"the level with the voxel size {format_nm(volume.grid.voxel_size_nm)} lies between the voxels of "
                    f"raw; level {name} {format_nm(level.grid.voxel_size_nm)} is pooled instead"
                )
                volume = level
                break
    if isinstance(volume, StoredVolume):
        if volume.channels == 1:
            volume = volume.one_channel(0)
        if raw is not None and raw.shape_vx[0] == 1 and "z" not in volume.understood.axes:
            # what has no third dimension lies in the only section that there is
            volume = volume.in_section_of(raw)
    if volume.channels is not None:
        last = volume.channels - 1
        raise _UnfitError(
            array, f"has {volume.channels} channels; name one by `channel:` 0 to {last} at the array", kind
        )
    return volume, note


def _fits(labels: Grid, raw: Grid) -> bool:
    try:
        Relation.between(labels, raw)
    except UserError:
        return False
    return True


def _openintegers(array: ArrayRef, raw: Grid | None) -> tuple[Volume, str | None]:
    volume, note = open_plain(array, raw, "labels")
    if volume.dtype.kind not in "biu":
        raise _UnfitError(array, f"dtype {volume.dtype}; labels must be integers: convert the array")
    return volume, note
