"""Sizes of objects: from the numbers that crops are annotated with, or measured on labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.geometry import format_nm, format_shape
from dacapo_hd.labels.block import PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.operations.distance import Axes
from dacapo_hd.segmentation.components import components

if TYPE_CHECKING:
    from dacapo_hd.datasplits import OpenCrop

Sizes = dict[tuple[str, int], float]
Maps = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
NAMES = ("object_size_vx", "object_size_nm")
_NAME = re.compile(r"(?:(?P<class>.+)/)?(?P<name>object_size_(?P<unit>vx|nm))(?:/(?P<region>\d+))?")


def parse_sizes(annotations: Mapping[str, float], classes: Sequence[str], edge_nm: float) -> Sizes:
    """Return the sizes in voxels by class and region, 1 where none is named; UserError with all problems.

    Names are `[CLASS/]object_size_vx[/REGION]` or `..._nm`; the class may be left out where there is one. Annotations
    of other names, and those of other classes, are left alone.
    """
    sizes: Sizes = {}
    problems = []
    for key, value in annotations.items():
        found = _NAME.fullmatch(key)
        if found is None or found["class"] not in (None, *classes):
            continue
        if found["class"] is None and len(classes) > 1:
            problems.append(f"annotation {key}: of which class? call it {classes[0]}/{key}, for instance")
            continue
        place = found["class"] or classes[0], int(found["region"] or 1)
        if place in sizes:
            problems.append(f"annotation {key}: the size of that object is given twice; keep one")
        if value < 0:
            problems.append(f"annotation {key}: is {value:g}; a size cannot be negative")
        sizes[place] = value / edge_nm if found["unit"] == "nm" else value
    if problems:
        raise UserError(*problems)
    return sizes


def check_annotations(crop: OpenCrop, classes: Sequence[str], axes: Axes) -> tuple[str, ...]:
    """Return the classes whose sizes a crop tells; UserError for sizes that make no sense, or none without labels."""
    edge_nm = crop.raw_grid.voxel_size_nm[2]
    sizes = parse_sizes(crop.annotations, classes, edge_nm)
    if not sizes:
        if crop.labelled:
            return ()
        near = (suggestion(name.split("/")[0], NAMES) for name in crop.annotations)
        advice = "; give object_size_vx or object_size_nm in `annotations`, or labels"
        raise UserError(f"neither labels nor the size of an object{next(filter(None, near), advice)}")
    check_edges(crop.raw_grid.voxel_size_nm, crop.label_grid.shape_vx, axes)
    shapes = _region_shapes(crop)
    problems = []
    for (name, region), size in sizes.items():
        if region not in shapes:
            problems.append(
                f"size of {name} in region {region}: there is no such region; "
                + (f"`regions` holds {', '.join(map(str, shapes)) or 'none'}" if crop.regions else "give `regions`")
            )
        elif size > (most := 2 * max(shapes[region])):
            problems.append(
                f"size of {name}: {size:g} voxels is larger than the image of {format_shape(shapes[region])} voxels, "
                f"in which sizes are at most {most} (twice the longest edge); if it is in nm, call it object_size_nm"
            )
    if problems:
        raise UserError(*problems)
    return tuple(name for name in classes if any(found == name for found, _ in sizes))


def check_edges(voxel_size_nm: Sequence[float], shape_vx: Sequence[int], axes: Axes) -> None:
    """Raise UserError unless voxels have one edge along all axes along which sizes are measured."""
    if axes == "yx" and shape_vx[0] > 1:
        raise UserError(
            f"sizes within sections (task.size_axes: yx) need crops of one section, got {shape_vx[0]}; split the crop "
            "with roi_vx"
        )
    measured = [size for size, n in zip(voxel_size_nm, shape_vx, strict=True) if n > 1]
    if len(set(measured)) > 1:
        raise UserError(
            f"sizes of objects need voxels with equal edges, got {format_nm(voxel_size_nm)}; resample the data, or "
            "measure within sections: crops of one section, with task.size_axes: yx"
        )


def _region_shapes(crop: OpenCrop) -> dict[int, tuple[int, ...]]:
    if crop.regions is None:
        return {1: crop.label_grid.shape_vx}
    from scipy.ndimage import find_objects

    regions = crop.read_labels(crop.label_grid.roi).regions
    assert regions is not None, "a crop with regions has annotations"
    numbers, renumbered = np.unique(regions, return_inverse=True)
    boxes = find_objects(renumbered.reshape(crop.label_grid.shape_vx) + 1)
    shapes = [tuple(part.stop - part.start for part in box) for box in boxes if box is not None]
    return {int(number): shape for number, shape in zip(numbers, shapes, strict=True) if number}


def annotated_sizes(labels: LabelBlock) -> Maps:
    """Return for each class the size (voxels) that annotations tell at each voxel, and the number of its region."""
    shape = labels.code.shape[1:]
    sizes = parse_sizes(labels.annotations, labels.classes, labels.voxel_size_nm[2]) if labels.annotations else {}
    maps = []
    for name in labels.classes:
        values, numbers = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        own = [(region, size) for (class_name, region), size in sizes.items() if class_name == name]
        for number, (region, size) in enumerate(own, start=1):
            here = labels.regions == region
            values[here], numbers[here] = size, number
        maps.append((values, numbers))
    return maps


def measured_sizes(labels: LabelBlock, of_instances: bool, axes: Axes) -> Maps:
    """Return the same of each instance or connected component (faces) of a class, measured on its mask.

    The region of an object is what is known and nearer to it than to other objects. Where nothing is present, all that
    is known is one region with the size 0. With `axes="yx"` each section is an image by itself.
    """
    check_edges(labels.voxel_size_nm, (1, *labels.code.shape[2:]) if axes == "yx" else labels.code.shape[1:], axes)
    maps = []
    for name, code in zip(labels.classes, labels.code, strict=True):
        values, numbers = np.zeros(code.shape, np.float32), np.zeros(code.shape, np.float32)
        images = [slice(z, z + 1) for z in range(len(code))] if axes == "yx" else [slice(0, len(code))]
        last = 0
        for image in images:
            ids = labels.instances[name][image] if of_instances and name in labels.instances else None
            if of_instances and ids is None:
                continue
            own, regions = _measured(code[image], ids)
            values[image], numbers[image] = own, np.where(regions > 0, regions + last, 0)
            last += int(regions.max(initial=0))
        maps.append((values, numbers))
    return maps


def _measured(code: NDArray[np.uint8], ids: NDArray[np.uint32] | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the sizes and regions of the objects of one image, given by their ids or else its components."""
    import torch
    from scipy.ndimage import distance_transform_cdt

    from dacapo_hd.operations.chebyshev import object_sizes

    known = code != UNKNOWN
    if ids is not None:
        # what is present without an id belongs to none of the objects
        known = known & ((code != PRESENT) | (ids > 0))
    objects = components(code == PRESENT, 6) if ids is None else ids
    numbers = np.unique(objects[objects > 0])
    if not len(numbers):
        return np.zeros(code.shape, np.float32), known.astype(np.int64)
    _, nearest = distance_transform_cdt(objects == 0, "chessboard", return_indices=True)
    owner = objects[tuple(nearest)]
    masks = np.stack([(objects == number) & known for number in numbers])
    inside = np.stack([(owner == number) & known for number in numbers])
    caps = torch.full((len(numbers),), 2.0 * max(code.shape))
    sizes = object_sizes(torch.from_numpy(masks), torch.from_numpy(inside), caps).numpy()
    place = np.searchsorted(numbers, owner)
    return np.where(known, sizes[place], 0).astype(np.float32), np.where(known, place + 1, 0)
