"""What is shown: paths -> layers with a kind, a shader and all their levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from dacapo_hd.arrays import ArgumentRef, ArrayRef, Volume, arrays_in, downsampling_of
from dacapo_hd.errors import UserError
from dacapo_hd.prediction.stored import ATTRIBUTE
from dacapo_hd.viewing.shaders import image_shader, quantity_shader, rgb_shader

MANY = 40
_LABEL_FOLDERS = ("labels", "segmentation", "segmentations")
_LABEL_ATTRIBUTES = ("segmenter", "encoding")


@attrs.frozen(eq=False)
class Layer:
    """One layer: the levels of a pyramid, finest first, and how they are drawn.

    `channel` is the one channel that is shown, None for all. `colours` are those of single labels.
    """

    name: str
    levels: tuple[Volume, ...]
    labels: bool
    channel: int | None = None
    shader: str | None = None
    colours: Mapping[int, str] = attrs.field(factory=dict)
    visible: bool = True


def layers_of_paths(paths: Sequence[str], labels: Sequence[str] = (), like: ArrayRef | None = None) -> list[Layer]:
    """Open arrays, pyramids, and all arrays in groups and folders; those in `labels` are segmentations for certain.

    `like` says of each what its file does not.

    What is not in `labels` is one if its attributes or the name of its folder say so, if its levels are a mode, or if
    it has 32 or 64 bit integers. Raises UserError with the problems of every path.
    """
    problems: list[str] = []
    opened: list[tuple[str, tuple[Volume, ...], bool]] = []
    for path, certain in [*((path, False) for path in paths), *((path, True) for path in labels)]:
        try:
            for one in arrays_in(path):
                levels = tuple(_like(like, one).open_levels().values())
                opened.append((one, levels, certain or _is_segmentation(one, levels[0])))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    if len(opened) > MANY:
        raise UserError(f"{', '.join(paths)}: {len(opened)} arrays are too many to view at once; name up to {MANY}")
    names = short_names([path for path, _, _ in opened])
    shown: list[Layer] = []
    for name, (_, levels, segmented) in zip(names, opened, strict=True):
        shown += [Layer(name, levels, labels=True)] if segmented else image_layers(name, levels)
    return shown


def _like(like: ArrayRef | None, path: str) -> ArrayRef:
    return ArgumentRef(path) if like is None else attrs.evolve(like, path=path)


def _is_segmentation(path: str, volume: Volume) -> bool:
    if ATTRIBUTE in volume.attributes or volume.channels is not None or volume.dtype.kind == "f":
        return False
    if volume.dtype.kind == "b" or volume.dtype.itemsize >= 4 or downsampling_of(path) == "mode":
        return True
    named = any(part in _LABEL_FOLDERS for part in Path(path).parts)
    return named or any(key in volume.attributes for key in _LABEL_ATTRIBUTES)


def image_layers(name: str, levels: tuple[Volume, ...], visible: bool = True) -> list[Layer]:
    """Return one layer, or one for each channel of what is not RGB; of those only the first is visible."""
    volume = levels[0]
    described = volume.attributes.get(ATTRIBUTE)
    if described and volume.channels == len(described):
        shaders = [quantity_shader(one["name"], one["low"], one["high"], n) for n, one in enumerate(described)]
        named = [one["name"] for one in described]
    elif volume.channels is None:
        return [Layer(name, levels, labels=False, shader=image_shader(levels[-1], None), visible=visible)]
    elif volume.channels == 3 and volume.dtype == "uint8":
        return [Layer(name, levels, labels=False, shader=rgb_shader(), visible=visible)]
    else:
        shaders = [image_shader(levels[-1], channel) for channel in range(volume.channels)]
        named = list(volume.attributes.get("channel_names") or map(str, range(volume.channels)))
    return [
        Layer(f"{name} {label}", levels, labels=False, channel=n, shader=shader, visible=visible and n == 0)
        for n, (label, shader) in enumerate(zip(named, shaders, strict=True))
    ]


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the shortest ends of paths that tell them apart."""
    parts = [[part for part in path.split("/") if part] for path in paths]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({n})" for n, path in enumerate(paths)]
