"""Make the dataset of `studies/embeddings.yaml` from fluorescence images of the Data Science Bowl 2018 (CC0).

.venv/bin/python experiments/dsb2018_nuclei.py dsb2018_fluo_train.npz OUT.zarr

The file has arrays `img_NAME` (uint8) and `lab_NAME` (ids of nuclei, 0 background), axes y, x, of different sizes.
Every 10th image in the order of the names is for testing; of the others, some drawn at random validate. Images differ
in brightness: each is stretched such that its 0.1th and 99.9th percentile become 0 and 255. Pixel sizes are not known:
1000 nm stand for a pixel.

    OUT.zarr/{train,validate,test}/NAME    raw, labels/nucleus_inst

to be read as `type: Folder`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.arrays import create_volume
from dacapo_hd.geometry import Grid

VOXEL_SIZE_NM = (1000.0, 1000.0, 1000.0)
PERCENTILES = (0.1, 99.9)
EACH_FOR_TEST = 10
CLASS = "nucleus"


def stretched(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (y, x) with its percentiles at 0 and 255."""
    low, high = np.percentile(image, PERCENTILES)
    return np.rint(((image - low) / max(high - low, 1)).clip(0, 1) * 255).astype(np.uint8)


def parts_of(names: list[str], validate: int, seed: int) -> dict[str, list[str]]:
    """Split names of images, in their order."""
    test = names[::EACH_FOR_TEST]
    others = [name for name in names if name not in set(test)]
    chosen = set(np.random.default_rng(seed).permutation(others)[:validate])
    return {
        "train": [name for name in others if name not in chosen],
        "validate": [name for name in others if name in chosen],
        "test": test,
    }


def write(group: Path, image: NDArray[np.uint8], ids: NDArray[np.uint16]) -> None:
    """Write an image and its nuclei (y, x) as one section."""
    grid = Grid.from_nm((1, *image.shape), VOXEL_SIZE_NM)
    for name, data in (("raw", stretched(image)), (f"labels/{CLASS}_inst", ids)):
        create_volume(group / name, grid, data.dtype, chunk_shape_vx=grid.shape_vx).write(grid.roi, data[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of which images validate")
    parser.add_argument("--validate", type=int, default=24, help="so many images to validate on")
    options = parser.parse_args()
    if options.output.exists():
        parser.error(f"{options.output} exists; remove it, or choose another folder")
    data = np.load(options.images)
    names = sorted(name.removeprefix("img_") for name in data.files if name.startswith("img_"))
    for part, own in parts_of(names, options.validate, options.seed).items():
        for name in own:
            write(options.output / part / name, data[f"img_{name}"], data[f"lab_{name}"])
        nuclei = sum(len(np.unique(data[f"lab_{name}"])) - 1 for name in own)
        print(f"{part}: {len(own)} images, {nuclei} nuclei")


if __name__ == "__main__":
    main()
