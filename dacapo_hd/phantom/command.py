"""What `dacapo-hd phantom` does: one phantom, or a dataset laid out for the folder convention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from dacapo_hd.errors import UserError
from dacapo_hd.phantom.annotation import Annotation, Box
from dacapo_hd.phantom.phantom import Phantom
from dacapo_hd.phantom.scheme import CLASSES
from dacapo_hd.phantom.write import PhantomCrop, write_phantom, write_phantom_dataset


def make_phantoms(
    output: str,
    *,
    shape: tuple[int, ...],
    voxel_size: tuple[float, ...],
    seed: int,
    train_count: int = 0,
    validate_count: int = 0,
    test_count: int = 0,
    classes: str | None = None,
    planes: int = 1,
    box: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Write one phantom to `output`, or as many crops as are asked for to `output/{train,validate,test}/crop_N`.

    Seeds count up from `seed` in that order. The annotation of validation and test crops is always complete. Returns
    the paths that were written; raises UserError for unknown classes, boxes outside, and outputs that exist.
    """
    names = tuple(name.strip() for name in classes.split(",")) if classes else CLASSES
    partial = Annotation(names, planes, tuple(_parse_box(text) for text in box))
    if not train_count + validate_count + test_count:
        write_phantom(output, Phantom(shape, voxel_size, seed), partial, overwrite)
        return [Path(output)]
    seeds = count(seed)

    def crops(number: int, annotation: Annotation) -> list[PhantomCrop]:
        return [PhantomCrop(Phantom(shape, voxel_size, next(seeds)), annotation) for _ in range(number)]

    parts = {
        "train": crops(train_count, partial),
        "validate": crops(validate_count, Annotation()),
        "test": crops(test_count, Annotation()),
    }
    scheme = write_phantom_dataset(output, **parts, overwrite=overwrite)
    written = [Path(output) / part / f"crop_{n}" for part, found in parts.items() for n in range(len(found))]
    return [*written, scheme]


def _parse_box(text: str) -> Box:
    try:
        bounds = [tuple(int(end) for end in part.split(":")) for part in text.split(",")]
        begin, end = zip(*bounds, strict=True)
    except ValueError:
        raise UserError(f"--box: expected z:z,y:y,x:x in voxels, got {text!r}") from None
    if len(begin) != 3:
        raise UserError(f"--box: expected z:z,y:y,x:x in voxels, got {text!r}")
    return begin, end
