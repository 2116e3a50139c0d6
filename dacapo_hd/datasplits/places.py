"""Where the arrays of a crop lie: what `check` says of them, and what is probably wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from itertools import permutations

import attrs

from dacapo_hd.arrays import StoredVolume, Volume
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.errors import said_once
from dacapo_hd.geometry import Grid, format_shape, nm
from dacapo_hd.labels.sources import LabelLayer, OpenLabels
from dacapo_hd.labels.values import blocks


def format_extent(grid: Grid) -> str:
    """Write the box of a grid as `z0:z1, y0:y1, x0:x1 nm`."""
    return ", ".join(f"{a:g}:{b:g}" for a, b in zip(grid.offset_nm, nm(grid.roi.end), strict=True)) + " nm"


def share_outside(inner: Grid, outer: Grid) -> float:
    """Return the share of a grid's volume that lies outside of another's."""
    both = inner.roi.intersect(outer.roi)
    return 1.0 if both.empty else 1 - math.prod(both.shape) / math.prod(inner.roi.shape)


def notes(raw: Volume, labels: Sequence[OpenLabels], mask: Volume | None) -> tuple[str, ...]:
    """Describe each array of a crop in one line, label arrays with what lies outside of raw and of them."""
    lines = [f"raw {raw.described()}"]
    for layer in _layers(labels):
        grid = layer.volume.grid
        lines.append(
            f"labels {layer.volume.described()}, box {format_extent(grid)}: {share_outside(grid, raw.grid):.1%} of it "
            f"outside raw, {share_outside(raw.grid, grid):.1%} of raw outside it{_pooled(layer)}"
        )
    if mask is not None:
        lines.append(f"mask {mask.described()}")
    return tuple(lines)


def shared_voxels(train: Sequence[OpenCrop], others: Sequence[OpenCrop], part: str) -> list[str]:
    """Warn of voxels of one image that training crops know and crops of another part as well, for the same class."""
    found = []
    for other in others:
        shared = {crop.name: share for crop in train if (share := _shared_share(crop, other)) > 0}
        if shared:
            first, share = max(shared.items(), key=lambda entry: entry[1])
            more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
            found.append(
                f"crop {other.name!r} of {part}: {share:.1%} of its known voxels are trained on by crop {first!r}"
                f"{more}, so its scores will be too good; give crops that do not overlap, by `roi_vx` or other files"
            )
    return found


def _shared_share(train: OpenCrop, other: OpenCrop) -> float:
    both = train.label_grid.roi.intersect(other.label_grid.roi)
    if not _same_image(train.raw, other.raw) or train.raw_grid.voxel_size != other.raw_grid.voxel_size or both.empty:
        return 0.0
    shared = known = 0
    for roi in blocks(other.label_grid):
        block = other.read_labels(roi)
        known += int(block.known.sum())
        inside = roi.intersect(both)
        if not inside.empty:
            here = Grid.from_roi(roi, other.raw_grid.voxel_size).slices(inside)
            shared += int((train.read_labels(inside).known & block.known[(slice(None), *here)]).sum())
    return shared / known if known else 0.0


def _same_image(a: Volume, b: Volume) -> bool:
    return a is b or (os.path.realpath(a.path) == os.path.realpath(b.path) and a.grid == b.grid)


def _pooled(layer: LabelLayer) -> str:
    return f"; {layer.note}" if layer.note else ""


def _layers(labels: Sequence[OpenLabels]) -> Iterator[LabelLayer]:
    for source in labels:
        yield from source.layers


def _placed(labels: Sequence[OpenLabels], mask: Volume | None, mask_axes_given: bool) -> Iterator[_Placed]:
    for layer in _layers(labels):
        yield _Placed("labels", layer.volume, layer.axes_given)
    if mask is not None:
        yield _Placed("mask", mask, mask_axes_given)


@attrs.frozen
class _Placed:
    """An array that belongs to an image."""

    kind: str
    volume: Volume
    axes_given: bool


def warnings_of_places(raw: Volume, labels: Sequence[OpenLabels], mask: Volume | None) -> tuple[str, ...]:
    """Warn of label arrays and a mask that lie partly outside of raw."""
    found = []
    for one in _placed(labels, mask, True):
        grid = one.volume.grid
        outside = share_outside(grid, raw.grid)
        if 0 < outside < 1:
            found.append(
                (
                    f"{one.kind} {one.volume.path!r}",
                    f"{outside:.1%} of the box {format_extent(grid)} lies outside raw ({format_extent(raw.grid)}) and "
                    "is not used; correct `offset_nm`, `voxel_size_nm` or `axes` of one of them if that is wrong",
                )
            )
    return tuple(said_once(found))


def swapped_axes(raw: Volume, labels: Sequence[OpenLabels], mask: Volume | None, mask_axes_given: bool) -> list[str]:
    """Name arrays whose shape is that of raw in another order of axes, unless the user has named the axes."""
    found = []
    for one in _placed(labels, mask, mask_axes_given):
        problem = None if one.axes_given else swapped(one.volume, raw)
        if problem is not None:
            found.append((f"{one.kind} {one.volume.path!r}", problem))
    return said_once(found)


def swapped(volume: Volume, raw: Volume) -> str | None:
    """Say that an array has the shape of raw with its axes in another order, and what to write; None if it has not."""
    shape, other = volume.grid.shape_vx, raw.grid.shape_vx
    if shape == other or sorted(shape) != sorted(other):
        return None
    return (
        f"the shape is {format_shape(shape)} voxels (z y x), that of raw {format_shape(other)}; write "
        f"`axes: {_axes(volume, _reordered(shape, other))}` at that array if its axes are stored in another "
        f"order, or `axes: {_axes(volume, 'zyx')}` if they are right"
    )


def _reordered(shape: Sequence[int], wanted: Sequence[int]) -> str:
    """Return the names by which axes read as z, y, x would have the wanted shape; the reverse order, if it does."""
    orders = [("x", "y", "z"), *permutations("zyx")]
    return "".join(next(order for order in orders if [shape[order.index(name)] for name in "zyx"] == [*wanted]))


def _axes(volume: Volume, names: str) -> str:
    """Write the names of the stored axes if what was read as z, y, x were `names`."""
    if not isinstance(volume, StoredVolume):
        return names
    now = dict(zip("zyx", names, strict=True))
    text = "".join(now.get(axis, axis) for axis in volume.understood.axes)
    return f"{text}!" if volume.understood.named and text != "".join(volume.understood.axes) else text
