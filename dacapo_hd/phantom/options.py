"""Phantoms from plain text options, as the command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from dacapo_hd.errors import UserError, suggestion
from dacapo_hd.phantom.annotation import Annotation, Box
from dacapo_hd.phantom.phantom import Phantom
from dacapo_hd.phantom.write import PhantomCrop, crop_folder, write_phantom, write_phantom_dataset, write_scheme

PARTS = ("train", "validate", "test")
OPTIONS = ("every", "only", "box")
FORM = "PART[/every=N][/only=CLASS+CLASS][/box=z:z,y:y,x:x], PART one of train, validate, test"


def write_phantoms(
    path: str | Path,
    shape_vx: Sequence[int],
    voxel_size_nm: Sequence[float] = (8.0, 8.0, 8.0),
    seed: int = 0,
    crops: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Write one phantom into the Zarr group `path`, or a dataset of crops below it; return what was written.

    A crop is `train`, `validate` or `test`, followed by what is annotated: `/every=4` (every fourth section),
    `/only=mito+pm` (these classes), `/box=0:32,0:64,0:64` (voxels inside). Their seeds are `seed`, `seed` + 1,
    ... Raises UserError for an invalid option.
    """
    try:
        first = Phantom(tuple(shape_vx), tuple(voxel_size_nm), seed)
    except ValueError as error:
        raise UserError(f"phantom: shape, voxel size or seed: {error}") from error
    if not crops:
        write_phantom(path, first, overwrite=overwrite)
        write_scheme(path)
        return [Path(path)]
    found: dict[str, list[PhantomCrop]] = {part: [] for part in PARTS}
    for number, text in enumerate(crops):
        part, annotation = parse_crop(text)
        annotation.known(shape_vx)
        found[part].append(PhantomCrop(attrs.evolve(first, seed=seed + number), annotation))
    write_phantom_dataset(path, found["train"], found["validate"], found["test"], overwrite)
    return [crop_folder(path, part, number) for part in PARTS for number in range(len(found[part]))]


def parse_crop(text: str) -> tuple[str, Annotation]:
    """Read `train/every=4/only=mito+pm`; UserError with the form for anything else."""
    part, *options = text.split("/")
    if part not in PARTS:
        raise UserError(f"crop {text!r}: unknown part {part!r}{suggestion(part, PARTS)}; give {FORM}")
    annotation = Annotation()
    for option in options:
        name, _, value = option.partition("=")
        if name not in OPTIONS:
            raise UserError(f"crop {text!r}: unknown option {name!r}{suggestion(name, OPTIONS)}; give {FORM}")
        try:
            annotation = attrs.evolve(annotation, **_field(name, value, annotation))
        except (ValueError, UserError) as error:
            raise UserError(f"crop {text!r}: {name}: {error}") from error
    return part, annotation


def _field(name: str, value: str, annotation: Annotation) -> dict[str, Any]:
    if name == "every":
        if not value.isdecimal():
            raise UserError(f"expected a whole number, got {value!r}")
        return {"every_nth_plane": int(value)}
    if name == "only":
        return {"classes": tuple(value.split("+"))}
    return {"boxes_vx": (*annotation.boxes_vx, _box(value))}


def _box(text: str) -> Box:
    try:
        (z0, z1), (y0, y1), (x0, x1) = (map(int, axis.split(":")) for axis in text.split(","))
    except ValueError:
        raise UserError(f"expected z:z,y:y,x:x, got {text!r}") from None
    return (z0, y0, x0), (z1, y1, x1)
