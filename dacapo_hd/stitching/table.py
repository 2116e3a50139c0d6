"""The table of objects that is written next to a segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dacapo_hd.geometry import Grid
from dacapo_hd.segmentation.objects import Objects
from dacapo_hd.stitching.tables import write

AXES = "zyx"
HEADER = (
    "id",
    "voxels",
    "volume_um3",
    *(f"{end}_{axis}_{unit}" for unit in ("vx", "nm") for end in ("begin", "end") for axis in AXES),
    *(f"centroid_{axis}_nm" for axis in AXES),
)
ROWS_AT_ONCE = 100_000
NM3_PER_UM3 = 1e9


def write_table(path: Path, objects: Objects, grid: Grid, uncertainty: str = "") -> None:
    """Write one line per object as CSV.

    The box in voxels counts from the first voxel of `grid`, `end` excluded; nm are world coordinates: of the box its
    lower and upper corner, of the centroid the mean of the voxels' centres. Where `uncertainty` names a quantity, its
    mean over the voxels is the last column, `mean_QUANTITY`.
    """
    header = [*HEADER, f"mean_{uncertainty}"] if uncertainty else HEADER

    def save(file: BinaryIO) -> None:
        file.write((",".join(header) + "\n").encode())
        for first in range(0, len(objects.voxels), ROWS_AT_ONCE):
            file.write("".join(_rows(objects, grid, first, bool(uncertainty))).encode())

    write(path, save)


def _rows(objects: Objects, grid: Grid, first: int, with_uncertainty: bool) -> Iterator[str]:
    part = slice(first, first + ROWS_AT_ONCE)
    size, offset = np.array(grid.voxel_size_nm), np.array(grid.offset_nm)
    voxels, begin, end = objects.voxels[part], objects.begin[part], objects.end[part]
    volume = voxels * (float(np.prod(size)) / NM3_PER_UM3)
    centroid = offset + (objects.sums[part] / voxels[:, None] + 0.5) * size
    columns = zip(
        voxels.tolist(),
        volume.tolist(),
        np.concatenate([begin, end], axis=1).tolist(),
        np.concatenate([offset + begin * size, offset + end * size], axis=1).tolist(),
        centroid.tolist(),
        (objects.uncertainty[part] / voxels).tolist(),
        strict=True,
    )
    for number, (count, cubic, box_vx, box_nm, centre, uncertainty) in enumerate(columns, start=first + 1):
        cells = [
            str(number),
            str(count),
            f"{cubic:.9g}",
            *map(str, box_vx),
            *(f"{value:.12g}" for value in box_nm),
            *(f"{value:.3f}" for value in centre),
            *([f"{uncertainty:.6g}"] if with_uncertainty else []),
        ]
        yield ",".join(cells) + "\n"
