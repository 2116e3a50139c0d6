"""The contract of a datasplit: which crops to train, validate and test on, and how to open them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from dacapo_hd.arrays import Volume, in_3d, is_voxel_size
from dacapo_hd.config import ADDED_LATER, Component, non_negative, optional, positive
from dacapo_hd.datasplits.crop import Crop, OpenCrop, assuming
from dacapo_hd.datasplits.intensity import Intensity, IntensityRange, TypedRange, range_of
from dacapo_hd.datasplits.opening import open_crop, shared_sources
from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.labels.scheme import ClassScheme

Part = Literal["train", "validate", "test"]
PARTS: tuple[Part, ...] = ("train", "validate", "test")

# what else draws from a run's seed has other numbers
_SUBSET = 0x5B5E7


def _rising(instance: Any, attribute: attrs.Attribute[Any], value: TypedRange) -> None:
    if isinstance(value, tuple) and not value[0] < value[1]:
        raise ValueError(f"must be [low, high] with low < high, got {list(value)!r}")


@attrs.frozen(kw_only=True)
class Datasplit(Component, ABC):
    """Crops to train and to validate on, and those to test what the validation has chosen.

    `scheme`: without one, each class is known only where it is annotated itself. `voxel_size_nm`: resolution to train
    at, by default that of the first crop. `assumed_voxel_size_nm`: that of arrays whose files have none.
    `intensity_range`: the intensities that become -1 and 1, by default (0, 255) for uint8; `percentile`: the 1st and
    the 99th of each volume. `intensity`: `zscore` subtracts each volume's mean and divides by its standard deviation.
    `cache_mb`: how much of the crops of one part each process may keep in memory. `train_count`: train on so many of
    the training crops only, drawn by the run's seed; a larger number adds to a smaller one's.
    """

    kind: ClassVar[str] = "datasplit"

    scheme: ClassScheme | None = None
    voxel_size_nm: tuple[float, float, float] | str | None = attrs.field(default=None, validator=is_voxel_size)
    intensity_range: TypedRange = attrs.field(default=None, validator=_rising)
    cache_mb: int = attrs.field(default=512, validator=non_negative)
    train_count: int | None = attrs.field(default=None, validator=optional(positive), metadata=ADDED_LATER)
    assumed_voxel_size_nm: tuple[float, ...] | str | None = attrs.field(
        default=None, validator=is_voxel_size, metadata=ADDED_LATER
    )
    intensity: Intensity = attrs.field(default="range", metadata=ADDED_LATER)

    @intensity.validator
    def _one_of_both(self, attribute: attrs.Attribute[Any], value: Intensity) -> None:
        if value == "zscore" and self.intensity_range is not None:
            raise ValueError("must be range where `intensity_range` is given; leave out one of the two")

    @abstractmethod
    def crops(self, part: Part) -> tuple[Crop, ...]:
        """Return the crops of one part."""

    def where(self, part: Part) -> str:
        """Tell the user where crops of a part are to be added."""
        return f"{type(self).__name__} must give at least one"

    def intensity_range_of(self, volume: Volume) -> IntensityRange:
        """Return the intensities that become -1 and 1; UserError if neither the config nor the volume tells."""
        return range_of(volume, self.intensity_range, self.intensity)

    @property
    def depends_on_volume(self) -> bool:
        """Whether each volume's own statistics say which intensities count."""
        return self.intensity == "zscore" or self.intensity_range == "percentile"

    @property
    def training_size_nm(self) -> tuple[float, ...] | None:
        """The voxel size to train at, None for that of the first crop."""
        return None if self.voxel_size_nm is None else in_3d(self.voxel_size_nm)

    def class_scheme(self) -> ClassScheme:
        """Return the scheme, or one that derives nothing between the classes that the labels of all crops mention."""
        if self.scheme is not None:
            return self.scheme
        crops = (crop for part in PARTS for crop in self.crops(part))
        names = (name for crop in crops for source in crop.labels for name in source.classes())
        return ClassScheme.of_atoms(names, overlapping=True)

    def drawn_from(self, part: Part) -> tuple[Crop, ...]:
        """Return all crops of one part, with what the datasplit assumes about their files."""
        return tuple(assuming(crop, self.assumed_voxel_size_nm) for crop in self.crops(part))

    def drawn(self, part: Part, seed: int) -> tuple[Crop, ...]:
        """Return the crops of one part that a run with a seed uses; UserError if there are fewer than `train_count`."""
        crops = self.drawn_from(part)
        if part != "train" or self.train_count is None:
            return crops
        if self.train_count > len(crops):
            raise UserError(f"datasplit.train_count: {self.train_count} of {len(crops)} training crops; lower it")
        order = np.random.default_rng((seed, _SUBSET)).permutation(len(crops))
        return tuple(crops[index] for index in sorted(order[: self.train_count].tolist()))

    def open(self, part: Part, classes: Sequence[str], seed: int = 0) -> tuple[OpenCrop, ...]:
        """Open the crops of a part, for the given classes and the run's seed; UserError with every problem of each."""
        crops = self.drawn(part, seed)
        if part == "train" and not crops:
            raise UserError(f"datasplit.train: no crops; {self.where(part)}")
        with shared_sources():
            return self._open(part, crops, classes)

    def _open(self, part: Part, crops: Sequence[Crop], classes: Sequence[str]) -> tuple[OpenCrop, ...]:
        scheme = self.class_scheme()
        if not scheme.classes and any(crop.annotations for crop in crops):
            # nothing but annotations: no labels tell which classes there are
            scheme = ClassScheme.of_atoms(classes, overlapping=True)
        problems = [self._unknown_class(name, scheme) for name in classes if name not in scheme.classes]
        problems += _repeated(crop.name for crop in crops)
        if part == "test":
            problems += _in_both(self.crops("validate"), crops)
        opened: list[OpenCrop] = []
        voxel_size_nm = self._wanted_voxel_size_nm(part)
        for crop in crops:
            try:
                opened.append(open_crop(crop, tuple(classes), scheme, voxel_size_nm, self.intensity_range_of))
                voxel_size_nm = voxel_size_nm or opened[0].raw_grid.voxel_size_nm
            except UserError as error:
                problems += _of_crop(crop, error)
        problems += present_nowhere(opened, part)
        if problems:
            raise UserError(*problems)
        _share_memory(opened, self.cache_mb << 20)
        return tuple(opened)

    def _unknown_class(self, name: str, scheme: ClassScheme) -> str:
        if self.scheme is not None:
            return scheme.unknown_class(name)
        return f"class {name!r} is in the labels of no crop{suggestion(name, scheme.classes)}"

    def _wanted_voxel_size_nm(self, part: Part) -> tuple[float, ...] | None:
        """Return the voxel size of all crops, None while the first crop is still to be opened."""
        if self.voxel_size_nm is not None or part == "train":
            return self.training_size_nm
        for crop in self.drawn_from("train"):
            try:
                return crop.raw.open().grid.voxel_size_nm
            except UserError as error:
                raise UserError(*_of_crop(crop, error)) from None
        return None


def present_nowhere(crops: Sequence[OpenCrop], part: Part) -> list[str]:
    """Ask about masks of 0 and 255 where 255 is unknown only by default, if that leaves a class present nowhere."""
    asked = []
    for name in crops[0].classes if crops else ():
        layers = [
            layer
            for crop in crops
            for source in crop.labels
            for layer in source.layers
            if name in layer.decoder.classes
        ]
        unsaid = [layer for layer in layers if layer.unsaid_unknown]
        if unsaid and all(layer.none_present for layer in layers):
            asked.append((f"datasplit.{part}: labels {unsaid[0].volume.path!r}", name))
    if not asked:
        return []
    names = ", ".join(repr(name) for _, name in asked)
    return [
        f"{asked[0][0]}: hold 0 and 255 alone, and 255 means unknown in uint8 arrays, so that {names} would be present "
        "nowhere; write `unknown: none` where the labels are named if 255 is the class, or `unknown: 255` if nobody "
        "annotated there"
    ]


def _of_crop(crop: Crop, error: UserError) -> list[str]:
    return [f"crop {crop.name!r}: {problem}" for problem in error.problems]


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in names:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    return [f"crop {name!r}: the name occurs more than once; give each crop its own" for name in repeated]


def _in_both(validate: Iterable[Crop], test: Iterable[Crop]) -> list[str]:
    """Scores are kept by the names of crops."""
    names = {crop.name for crop in validate}
    return [
        f"crop {crop.name!r}: the name occurs in validate and in test; give each crop its own"
        for crop in test
        if crop.name in names
    ]


def _share_memory(crops: Sequence[OpenCrop], budget: int) -> None:
    """Let as many arrays as fit be kept in memory, small ones first; what is raw of several crops counts once."""
    raws = {crop.raw: n for n, crop in reversed(list(enumerate(crops)))}
    wanted = [(crops[n].memory()["raw"], "raw", n) for n in raws.values()]
    wanted += [(crop.memory()["labels"], "labels", n) for n, crop in enumerate(crops)]
    kept = set()
    for size, what, n in sorted(wanted):
        if size <= budget:
            budget -= size
            kept.add((what, n))
    for n, crop in enumerate(crops):
        crop.keep(raw=("raw", raws[crop.raw]) in kept, labels=("labels", n) in kept)
