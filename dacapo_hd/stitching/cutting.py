"""One block of one class cut into numbered pieces."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, SeededSegmenter
from dacapo_hd.segmentation.components import components
from dacapo_hd.segmentation.pieces import Int64s, Pieces, measure, with_gaps
from dacapo_hd.stitching.faces import Face, Layer, faces

Labels = NDArray[np.uint32]


@attrs.frozen
class Place:
    """Where a block lies: `core` in the array of the block and its halo, `begin` in the volume of `shape`."""

    core: tuple[slice, ...]
    begin: tuple[int, ...]
    shape: tuple[int, ...]
    inner: tuple[Face, ...]
    """The faces behind which there is another block."""


@attrs.frozen(eq=False)
class Cut:
    """The pieces of a block: `labels` (z, y, x) without the halo, 0 for background that is no piece."""

    labels: Labels
    pieces: Pieces
    faces: dict[Face, Layer]


def cut(
    segmenter: InstanceSegmenter,
    prediction: Prediction,
    class_name: str,
    place: Place,
    seeds: NDArray[Any] | None = None,
    outside: NDArray[np.bool_] | None = None,
) -> Cut:
    """Cut a block; `prediction`, `seeds` (numbers of the whole volume) and `outside` include the halo."""
    origin: Int64s | None = None
    around: Labels | None = None
    if isinstance(segmenter, SeededSegmenter) and seeds is not None:
        inside, origin = _grown(segmenter, prediction, class_name, place.core, seeds)
        foreground = len(origin)
    else:
        found = segmenter.pieces(prediction)[class_name]
        if outside is not None:
            found = np.where(outside, np.uint32(0), found)
        around, foreground = _inside_first(found, place.core)
        inside = around[place.core]
    inside, number = with_gaps(inside, foreground) if segmenter.fill_holes else (inside, foreground)
    if origin is not None:
        origin = np.concatenate([origin, np.zeros(number - foreground, np.int64)])
    beyond = None if outside is None else outside[place.core]
    pieces = measure(inside, number, foreground, place.begin, place.shape, beyond, origin)
    if around is not None and segmenter.united_by == "overlap":
        around = np.where(around > foreground, around + np.uint32(number - foreground), around)
        around[place.core] = inside
        return Cut(inside, pieces, faces(around, place.core, place.inner, depth=2))
    return Cut(inside, pieces, faces(inside, [slice(0, n) for n in inside.shape], place.inner, depth=1))


def _inside_first(labels: Labels, core: tuple[slice, ...]) -> tuple[Labels, int]:
    """Number the labels that occur in the core 1, 2, ... and the others after them; returns also how many do."""
    import fastremap

    if labels[core].shape == labels.shape:
        return labels, int(labels.max(initial=0))
    inside = fastremap.unique(labels[core])
    inside = inside[inside > 0]
    order = np.full(int(labels.max(initial=0)) + 1, 1, np.int64)
    order[inside] = 0
    order[0] = -1
    numbers = np.zeros(len(order), np.uint32)
    numbers[np.argsort(order, kind="stable")] = np.arange(len(order), dtype=np.uint32)
    return numbers[labels], len(inside)


def _grown(
    segmenter: SeededSegmenter,
    prediction: Prediction,
    class_name: str,
    core: tuple[slice, ...],
    seeds: NDArray[Any],
) -> tuple[Labels, Int64s]:
    """Return the pieces in the core, and the seed of each: 0 for foreground that no seed in the block reaches."""
    import fastremap

    local, number_of = fastremap.renumber(seeds, preserve_zero=True)
    seed_of = np.zeros(len(number_of) + 1, np.int64)
    seed_of[list(number_of.values())] = list(number_of.keys())
    grown = segmenter.grow(prediction, {class_name: local.astype(np.uint32)})[class_name][core]
    found = fastremap.unique(grown)
    found = found[found > 0]
    numbers = np.zeros(len(seed_of), np.uint32)
    numbers[found] = np.arange(1, len(found) + 1, dtype=np.uint32)
    unreached = components(segmenter.foreground(prediction)[class_name][core] & (grown == 0), 6)
    labels = np.where(unreached > 0, unreached + np.uint32(len(found)), numbers[grown])
    origin = np.concatenate([seed_of[found], np.zeros(int(unreached.max(initial=0)), np.int64)])
    return labels.astype(np.uint32, copy=False), origin
