"""The table of objects, against scikit-image on the whole volume."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import regionprops
from stitching_parts import prediction_of, smooth

from dacapo_hd.arrays import MemoryVolume, open_volume
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction.stored import ATTRIBUTE
from dacapo_hd.segmentation import ConnectedComponents, Watershed
from dacapo_hd.stitching import segment_volume

GRID = Grid.from_nm((30, 28, 40), (12.5, 4, 4), (100, -20, 3))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def triple(row: dict[str, str], pattern: str) -> list[float]:
    return [float(row[pattern.format(axis)]) for axis in "zyx"]


@pytest.mark.parametrize(
    "segmenter", [ConnectedComponents("distance", 0.3, 6, 5, True), Watershed("distance", 0.5, 0.1, 5, True)]
)
def test_the_table_says_of_each_object_what_scikit_image_measures(segmenter, tmp_path):
    made = prediction_of(smooth(GRID.shape_vx, 4, 1.5))
    prediction = MemoryVolume(made.data, GRID, "prediction", made.attributes)
    (path,) = segment_volume(prediction, segmenter, tmp_path / "out", tmp_path / "record", block_shape_vx=(9, 10, 11))
    rows = read(tmp_path / "out" / "mito.csv")
    regions = regionprops(open_volume(str(path)).read())
    assert [int(row["id"]) for row in rows] == [region.label for region in regions] == list(range(1, len(regions) + 1))
    assert len(regions) > 10
    size, offset = np.array(GRID.voxel_size_nm), np.array(GRID.offset_nm)
    for row, region in zip(rows, regions, strict=True):
        assert int(row["voxels"]) == region.num_pixels
        assert float(row["volume_um3"]) == pytest.approx(region.num_pixels * np.prod(size) * 1e-9, rel=1e-8)
        begin, end = np.array(region.bbox[:3]), np.array(region.bbox[3:])
        assert triple(row, "begin_{}_vx") == begin.tolist()
        assert triple(row, "end_{}_vx") == end.tolist()
        assert triple(row, "begin_{}_nm") == (offset + begin * size).tolist()
        assert triple(row, "end_{}_nm") == (offset + end * size).tolist()
        # positions of scikit-image are those of voxel centres
        assert triple(row, "centroid_{}_nm") == pytest.approx(
            offset + (np.array(region.centroid) + 0.5) * size, abs=1e-3
        )


def test_the_table_does_not_depend_on_the_blocks(tmp_path):
    prediction = prediction_of(smooth((30, 28, 40), 5, 1.5))
    segmenter = ConnectedComponents("distance", 0.3, 26, 0, True)
    tables = set()
    for number, blocks in enumerate([(30, 28, 40), (9, 10, 11), (30, 7, 40)]):
        segment_volume(
            prediction, segmenter, tmp_path / f"{number}", tmp_path / f"record{number}", block_shape_vx=blocks
        )
        tables.add((tmp_path / f"{number}" / "mito.csv").read_bytes())
    assert len(tables) == 1


@pytest.mark.parametrize("blocks", [(30, 28, 40), (9, 10, 11)])
@pytest.mark.parametrize(
    "segmenter", [ConnectedComponents("distance", 0.3, 6, 5, True), Watershed("distance", 0.5, 0.1, 5, True)]
)
def test_the_mean_uncertainty_of_an_object_is_that_of_its_voxels(segmenter, blocks, tmp_path):
    shape = (30, 28, 40)
    made = prediction_of(smooth(shape, 4, 1.5))
    values = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    channels = [
        {"name": f"mito/mask_variance{offset}", "low": 0.0, "high": 0.25, "uncertainty": True}
        for offset in ("(-1,0,0)", "(0,-1,0)")
    ]
    data = np.concatenate([values[:1], made.data, values[1:]])
    attributes = {ATTRIBUTE: [channels[0], *made.attributes[ATTRIBUTE], channels[1]]}
    prediction = MemoryVolume(data, made.grid, "prediction", attributes)
    (path,) = segment_volume(prediction, segmenter, tmp_path / "out", tmp_path / "record", block_shape_vx=blocks)
    found = [float(row["mean_mask_variance"]) for row in read(tmp_path / "out" / "mito.csv")]
    labels = open_volume(str(path)).read()
    expected = [values[:, labels == n].mean() * 0.25 / 255 for n in range(1, int(labels.max()) + 1)]
    assert len(found) > 10 and found == pytest.approx(expected, rel=1e-5)


def test_a_volume_without_objects_has_a_table_without_rows(tmp_path):
    prediction = prediction_of(np.full((8, 8, 8), -1.0))
    (path,) = segment_volume(
        prediction,
        ConnectedComponents("distance", 0.0),
        tmp_path / "out",
        tmp_path / "record",
        block_shape_vx=(4, 8, 8),
    )
    assert not open_volume(str(path)).read().any()
    assert (tmp_path / "out" / "mito.csv").read_text() == (
        "id,voxels,volume_um3,begin_z_vx,begin_y_vx,begin_x_vx,end_z_vx,end_y_vx,end_x_vx,begin_z_nm,begin_y_nm,"
        "begin_x_nm,end_z_nm,end_y_nm,end_x_nm,centroid_z_nm,centroid_y_nm,centroid_x_nm\n"
    )
