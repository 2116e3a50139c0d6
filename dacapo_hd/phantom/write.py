"""Phantoms on disk: OME-Zarr crops with partial annotation, singly or laid out for the folder convention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import yaml
from numpy.typing import NDArray

from dacapo_hd.arrays import create_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.phantom.annotation import Annotation
from dacapo_hd.phantom.phantom import Phantom, PhantomVolume, make
from dacapo_hd.phantom.scheme import INSTANCE_CLASSES, scheme

UNKNOWN_MASK = 255
EVERYTHING = Annotation()


@attrs.frozen
class PhantomCrop:
    """One crop of a dataset: what it shows and how much of it is annotated."""

    phantom: Phantom
    annotation: Annotation = EVERYTHING


def write_phantom(
    path: str | Path, phantom: Phantom, annotation: Annotation = EVERYTHING, overwrite: bool = False
) -> PhantomVolume:
    """Draw a phantom, write `raw`, `labels/<class>` and `labels/<class>_inst` below `path`, and return it.

    Masks are uint8 (0 absent, 1 present, 255 unknown); instances are uint16 or uint32 ids, the highest value being
    unknown. Every array says so in its attribute `encoding`. Raises UserError where something exists.
    """
    volume = make(phantom)
    known = annotation.known(phantom.shape_vx)
    root = Path(path)
    _write(root / "raw", phantom.grid, volume.raw, {"description": "synthetic FIB-SEM"}, overwrite)
    for name in annotation.classes:
        mask = np.where(known, volume.mask(name), np.uint8(UNKNOWN_MASK)).astype(np.uint8)
        encoding = {"absent": 0, "present": 1, "unknown": UNKNOWN_MASK}
        _write(root / "labels" / name, phantom.grid, mask, {"encoding": encoding}, overwrite)
    for name in (n for n in INSTANCE_CLASSES if n in annotation.classes):
        ids = volume.instances[name]
        unknown = int(np.iinfo(ids.dtype).max)
        encoding = {"absent": 0, "unknown": unknown}
        shown = np.where(known, ids, ids.dtype.type(unknown))
        _write(root / "labels" / f"{name}_inst", phantom.grid, shown, {"encoding": encoding}, overwrite)
    return volume


def write_phantom_dataset(
    path: str | Path,
    train: Sequence[PhantomCrop],
    validate: Sequence[PhantomCrop] = (),
    test: Sequence[PhantomCrop] = (),
    overwrite: bool = False,
) -> Path:
    """Write `path/{train,validate}/crop_<n>/`, `path/test/test_<n>/` and `path/scheme.yaml`; return the latter."""
    root = Path(path)
    for part, crops in (("train", train), ("validate", validate), ("test", test)):
        for number, crop in enumerate(crops):
            write_phantom(crop_folder(root, part, number), crop.phantom, crop.annotation, overwrite)
    return write_scheme(root)


def crop_folder(root: str | Path, part: str, number: int) -> Path:
    """Return where a crop of a dataset lies."""
    # scores are kept by the names of crops: those of validation and test must differ
    return Path(root) / part / (f"test_{number}" if part == "test" else f"crop_{number}")


def write_scheme(folder: str | Path) -> Path:
    """Write `scheme.yaml`, the phantom's class scheme, into a folder and return its path."""
    file = Path(folder) / "scheme.yaml"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump({"classes": scheme()}, sort_keys=False, default_flow_style=None))
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from error
    return file


def _write(path: Path, grid: Grid, data: NDArray[Any], attributes: dict[str, Any], overwrite: bool) -> None:
    volume = create_volume(path, grid, data.dtype, overwrite=overwrite, attributes=attributes)
    volume.write(grid.roi, data)
