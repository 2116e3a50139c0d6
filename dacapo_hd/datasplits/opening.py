"""Open a crop, and find all that is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from dacapo_hd.arrays import Volume, shared_arrays
from dacapo_hd.config import unstructure
from dacapo_hd.datasplits.crop import Crop, OpenCrop, box_of_labels
from dacapo_hd.datasplits.intensity import IntensityRange
from dacapo_hd.datasplits.places import notes, swapped_axes, warnings_of_places
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, fm, format_nm, nm
from dacapo_hd.labels.regrid import Relation
from dacapo_hd.labels.scheme import ClassScheme
from dacapo_hd.labels.sources import LabelSource, OpenLabels, open_plain

_T = TypeVar("_T")
_OPENED: ContextVar[dict[Any, Any] | None] = ContextVar("opened", default=None)


def open_crop(
    crop: Crop,
    classes: tuple[str, ...],
    scheme: ClassScheme,
    voxel_size_nm: Sequence[float] | None,
    intensity_range_of: Callable[[Volume], IntensityRange],
) -> OpenCrop:
    """Open a crop at a voxel size (None: its raw data's own); UserError with all problems."""
    problems: list[str] = []
    raw = _open_raw(crop, voxel_size_nm, problems)
    raw_grid = raw.grid if raw is not None else None
    labels = _open_labels(crop, scheme, raw_grid, problems)
    regions = _open_regions(crop, raw, problems)
    mask = _attempt(problems, lambda: open_plain(crop.mask, raw_grid, "mask")[0] if crop.mask else None)
    intensity_range = _attempt(problems, lambda: _range(raw, intensity_range_of) if raw is not None else None)
    box = _box(crop, raw, labels, mask, problems) if raw is not None else None
    if problems or raw is None or box is None or intensity_range is None:
        raise UserError(*problems)
    with_ids = {name for source in labels for name in source.instance_classes}
    return OpenCrop(
        name=crop.name,
        classes=classes,
        raw_grid=raw.grid,
        label_grid=box,
        channels=raw.channels or 1,
        intensity_range=intensity_range,
        weight=crop.weight,
        annotations=crop.annotations,
        instance_classes=tuple(name for name in classes if name in with_ids),
        raw=raw,
        labels=tuple(labels),
        mask=mask,
        scheme=scheme,
        regions=regions,
        notes=notes(raw, labels, mask),
        warnings=warnings_of_places(raw, labels, mask),
    )


def _attempt(problems: list[str], work: Callable[[], _T]) -> _T | None:
    try:
        return work()
    except UserError as error:
        problems += error.problems
        return None


def _open_raw(crop: Crop, voxel_size_nm: Sequence[float] | None, problems: list[str]) -> Volume | None:
    wanted = None if voxel_size_nm is None else tuple(voxel_size_nm)
    raw = _attempt(problems, lambda: crop.raw.open(wanted))
    if raw is not None and wanted is not None and raw.grid.voxel_size != fm(wanted):
        problems.append(
            f"raw {raw.path!r}: voxel size {format_nm(raw.grid.voxel_size_nm)}, but the first crop or "
            f"`datasplit.voxel_size_nm` says {format_nm(wanted)}; resample it or correct its `voxel_size_nm`"
        )
    return raw


def _open_labels(crop: Crop, scheme: ClassScheme, raw: Grid | None, problems: list[str]) -> list[OpenLabels]:
    if not crop.labels and not crop.annotations:
        problems.append("no labels; give at least one label source in `labels`")
    opened: list[OpenLabels] = []
    for source in crop.labels:
        missing = [scheme.unknown_class(name) for name in source.classes() if name not in scheme.classes]
        problems += missing
        one = None if missing else _attempt(problems, partial(_open_source, source, raw, scheme))
        if one is not None:
            opened.append(one)
    counts = Counter(name for source in opened for name in source.instance_classes)
    problems += [
        f"class {name!r} has instance ids in {count} arrays; keep one of them"
        for name, count in counts.items()
        if count > 1
    ]
    return opened


def _open_source(source: LabelSource, raw: Grid | None, scheme: ClassScheme) -> OpenLabels:
    """Open a source, once for all crops of one opening that have it: it looks through the whole array."""
    key = json.dumps(unstructure(source), sort_keys=True, default=str)
    return _once((type(source), key, raw), lambda: source.open(raw, scheme))


def _range(raw: Volume, intensity_range_of: Callable[[Volume], IntensityRange]) -> IntensityRange:
    """Find the intensities that count, once for all crops of one array."""
    return _once(raw, lambda: intensity_range_of(raw))


def _once(key: Any, work: Callable[[], _T]) -> _T:
    done = _OPENED.get()
    if done is None:
        return work()
    if key not in done:
        done[key] = work()
    found: _T = done[key]
    return found


@contextmanager
def shared_sources() -> Iterator[None]:
    """Let arrays and label sources that several crops have be opened once for all."""
    token = _OPENED.set({})
    try:
        with shared_arrays():
            yield
    finally:
        _OPENED.reset(token)


def _open_regions(crop: Crop, raw: Volume | None, problems: list[str]) -> Volume | None:
    if crop.regions is None or raw is None:
        return None
    reference = crop.regions
    regions = _attempt(problems, lambda: open_plain(reference, raw.grid, "regions")[0])
    if regions is None:
        return None
    if regions.dtype.kind not in "biu":
        problems.append(f"regions {regions.path!r}: dtype {regions.dtype}; they must be integers: convert the array")
    elif regions.grid.voxel_size != raw.grid.voxel_size or any(
        (regions.grid.offset - raw.grid.offset) % raw.grid.voxel_size
    ):
        problems.append(
            f"regions {regions.path!r}: not on the voxels of raw (voxel size {format_nm(regions.grid.voxel_size_nm)}, "
            f"offset {format_nm(regions.grid.offset_nm)}; raw {format_nm(raw.grid.voxel_size_nm)}, "
            f"{format_nm(raw.grid.offset_nm)}); resample the array"
        )
    return regions


def _box(crop: Crop, raw: Volume, labels: list[OpenLabels], mask: Volume | None, problems: list[str]) -> Grid | None:
    if labels:
        return _label_box(crop, raw, labels, mask, problems)
    if crop.roi_vx is None or crop.labels:
        return raw.grid
    roi_vx = crop.roi_vx
    return _attempt(problems, lambda: raw.grid.part(*zip(*roi_vx, strict=True)))


def _label_box(
    crop: Crop, raw: Volume, labels: list[OpenLabels], mask: Volume | None, problems: list[str]
) -> Grid | None:
    for source in labels:
        problems += source.problems(raw.grid)
    problems += swapped_axes(raw, labels, mask, crop.mask is not None and crop.mask.axes is not None)
    if mask is not None:
        _attempt(problems, lambda: Relation.between(mask.grid, raw.grid, f"mask {mask.path!r}"))
    grids = [grid for source in labels for grid in source.grids]
    box = _attempt(problems, lambda: box_of_labels(raw.grid, grids, None))
    if box is None:
        problems.append(
            f"raw {raw.path!r} ({_extent(raw.grid)}) and labels ({', '.join(sorted({_extent(g) for g in grids}))}) "
            "do not overlap; correct `offset_nm` or `voxel_size_nm` of one of them"
        )
    elif crop.roi_vx is not None:
        box = _attempt(problems, lambda: box_of_labels(raw.grid, grids, crop.roi_vx))
        if box is None and not problems:
            problems.append("no labels inside `roi_vx`")
    return box


def _extent(grid: Grid) -> str:
    return ", ".join(f"{a:g}:{b:g}" for a, b in zip(grid.offset_nm, nm(grid.roi.end), strict=True)) + " nm"
