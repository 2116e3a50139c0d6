"""Make the datasets of `studies/object_size.yaml` from volumes of the hippocampus (Medical Segmentation Decathlon).

.venv/bin/python experiments/hippocampus_slices.py hippocampus_train.npz OUT.zarr

The file has arrays `img_NNN` (uint8) and `lab_NNN` (0 background, 1 anterior, 2 posterior), axes x, y, z, 1 mm. As in
Baručić and Kybic (2022), section 4: each section along the last axis is cut, or filled up with 0, to 48 x 32 pixels
around its centre, those with at least 1 % foreground are kept, both classes become one, and the size of each is
measured on its mask. Unlike there, *volumes* are split (70 % train, 10 % validate, 20 % test): neighbouring sections
of one volume are nearly the same image.

    OUT.zarr/masks/{train,validate,test}    raw, labels/hippocampus
    OUT.zarr/sizes/{train,validate,test}    the same; to train on, the attribute `annotations` instead of labels

Each section is a crop of its own (`Folder`), in random order.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dacapo_hd.arrays import create_volume
from dacapo_hd.geometry import Grid
from dacapo_hd.operations.chebyshev import object_sizes

SHAPE_VX = (48, 32)
VOXEL_SIZE_NM = (1e6, 1e6, 1e6)
LEAST_FOREGROUND = 0.01
SHARES = {"train": 0.7, "validate": 0.1, "test": 0.2}
CLASS = "hippocampus"


def fitted(sections: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut or fill up sections (n, y, x) to SHAPE_VX around their centre."""
    for axis, size in enumerate(SHAPE_VX, start=1):
        missing = max(size - sections.shape[axis], 0)
        padding = [(0, 0)] * sections.ndim
        padding[axis] = (missing // 2, missing - missing // 2)
        sections = np.pad(sections, padding)
        begin = (sections.shape[axis] - size) // 2
        sections = sections.take(range(begin, begin + size), axis)
    return sections


def slices_of(data: np.lib.npyio.NpzFile, names: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images and masks (n, y, x) of volumes."""
    images, masks = [], []
    for name in names:
        # x, y, z -> z, y, x
        image, mask = (fitted(np.ascontiguousarray(data[f"{kind}_{name}"].T)) for kind in ("img", "lab"))
        kept = (mask > 0).mean(axis=(1, 2)) >= LEAST_FOREGROUND
        images.append(image[kept])
        masks.append((mask[kept] > 0).astype(np.uint8))
    return np.concatenate(images), np.concatenate(masks)


def sizes_of(masks: NDArray[np.uint8]) -> list[float]:
    """Return the size (voxels) of each mask (n, y, x)."""
    caps = torch.full((len(masks),), 2.0 * max(SHAPE_VX))
    return object_sizes(torch.from_numpy(masks > 0), None, caps).tolist()


def write(group: Path, raw: NDArray[np.uint8], masks: NDArray[np.uint8], labels: bool = True) -> None:
    """Write images as the sections of one array, with masks or sizes alone."""
    grid = Grid.from_nm(raw.shape, VOXEL_SIZE_NM)
    create_volume(group / "raw", grid, "uint8", chunk_shape_vx=(256, *SHAPE_VX)).write(grid.roi, raw)
    if labels:
        volume = create_volume(group / "labels" / CLASS, grid, "uint8", chunk_shape_vx=(256, *SHAPE_VX))
        volume.write(grid.roi, masks)
    annotations = {} if labels else {"object_size_vx": sizes_of(masks)}
    # with labels, a list still makes each section a crop
    annotations = annotations or {"section": list(range(len(raw)))}
    (group / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    (group / ".zattrs").write_text(json.dumps({"annotations": annotations}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the split and the order")
    parser.add_argument("--validate", type=int, default=60, help="at most so many sections to validate on")
    parser.add_argument("--test", type=int, default=150, help="at most so many sections to test on")
    options = parser.parse_args()
    data, rng = np.load(options.volumes), np.random.default_rng(options.seed)
    names = rng.permutation(sorted(name.removeprefix("img_") for name in data.files if name.startswith("img_")))
    ends = np.round(np.cumsum(list(SHARES.values())) * len(names)).astype(int)
    for part, own in zip(SHARES, np.split(names, ends[:-1]), strict=True):
        raw, masks = slices_of(data, own)
        order = rng.permutation(len(raw))[: None if part == "train" else getattr(options, part)]
        raw, masks = raw[order], masks[order]
        print(f"{part}: {len(own)} volumes, {len(raw)} sections")
        write(options.output / "masks" / part / part, raw, masks)
        write(options.output / "sizes" / part / part, raw, masks, labels=part != "train")


if __name__ == "__main__":
    main()
