"""Phantoms from plain options, as the command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.phantom.annotation import Annotation, Box
from dacapo_hd.phantom.phantom import Phantom
from dacapo_hd.phantom.scheme import CLASSES
from dacapo_hd.phantom.write import EVERYTHING, PhantomCrop, write_phantom, write_phantom_dataset, write_scheme


def make_phantoms(
    output: str | Path,
    *,
    shape: Sequence[int] = (128, 256, 256),
    voxel_size: Sequence[float] = (8.0, 8.0, 8.0),
    seed: int = 0,
    train_count: int = 0,
    validate_count: int = 0,
    test_count: int = 0,
    classes: str | None = None,
    planes: int = 1,
    box: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Write one phantom into the group `output`, or a dataset below it if any count is given; return the groups.

    `classes` (comma-separated), `planes` (every n-th) and `box` (z:z,y:y,x:x) limit what is annotated, in a dataset in
    its training crops only. The volumes get the seeds `seed`, `seed` + 1, ... in the order train, validate, test.
    The class scheme is written beside them as `scheme.yaml`. Raises UserError for an invalid option.
    """
    annotation = Annotation(
        tuple(classes.split(",")) if classes else CLASSES, planes, tuple(parse_box(text) for text in box)
    )
    # before anything is drawn, so that a wrong box costs no time
    annotation.known(shape)
    first = Phantom(tuple(shape), tuple(voxel_size), seed)
    counts = {"train": train_count, "validate": validate_count, "test": test_count}
    if not any(counts.values()):
        write_phantom(output, first, annotation, overwrite)
        write_scheme(output)
        return [Path(output)]
    parts: dict[str, list[PhantomCrop]] = {}
    for part, count in counts.items():
        shown = annotation if part == "train" else EVERYTHING
        parts[part] = [PhantomCrop(attrs.evolve(first, seed=seed + n), shown) for n in range(count)]
        seed += count
    write_phantom_dataset(output, **parts, overwrite=overwrite)
    return [Path(output) / part / f"crop_{number}" for part, crops in parts.items() for number in range(len(crops))]


def parse_box(text: str) -> Box:
    """Read `z:z,y:y,x:x`; UserError for anything else."""
    try:
        (z0, z1), (y0, y1), (x0, x1) = (map(int, axis.split(":")) for axis in text.split(","))
    except ValueError:
        raise UserError(f"box {text!r}: must be z:z,y:y,x:x in voxels, e.g. 0:32,0:64,0:64") from None
    return (z0, y0, x0), (z1, y1, x1)
