"""Crops that are annotated with numbers: in folders, section by section, in regions, and many of them."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from dacapo_hd.arrays import create_volume
from dacapo_hd.datasplits import Crop, Crops, Folder
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.sources import ClassArrays

SECTIONS = 5


@pytest.fixture
def folder(tmp_path):
    """Make a group of a training part, of 5 sections with another value each; its attributes are given."""

    def make(group="images", labels=False, **attributes):
        where = tmp_path / "data.zarr" / "train" / group
        grid = Grid.from_nm((SECTIONS, 6, 4), (8, 8, 8))
        raw = np.arange(SECTIONS, dtype=np.uint8)[:, None, None] * np.ones((1, 6, 4), np.uint8)
        create_volume(where / "raw", grid, "uint8").write(grid.roi, raw)
        if labels:
            create_volume(where / "labels" / "mito", grid, "uint8").write(grid.roi, np.minimum(raw, 1))
        (where / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (where / ".zattrs").write_text(json.dumps(attributes))
        return Folder(path=str(tmp_path / "data.zarr"))

    return make


def test_a_number_is_about_the_whole_crop(folder):
    split = folder(annotations={"object_size_vx": 4})
    (crop,) = split.open("train", ("mito",))
    assert crop.name == "images"
    assert crop.annotations == {"object_size_vx": 4}
    assert not crop.labelled
    assert crop.label_grid == crop.raw_grid
    block = crop.read_labels(crop.raw_grid.roi)
    assert block.annotations == {"object_size_vx": 4}
    assert (block.regions == 1).all()
    assert not block.known.any()


def test_lists_make_a_crop_of_each_section(folder):
    split = folder(annotations={"object_size_vx": [2, 4, 6, 8, 10], "age": 30})
    crops = split.open("train", ("mito",))
    assert [crop.name for crop in crops] == [f"images.{z}" for z in range(SECTIONS)]
    assert [dict(crop.annotations) for crop in crops] == [{"age": 30, "object_size_vx": 2 * z + 2} for z in range(5)]
    assert [crop.label_grid.shape_vx for crop in crops] == [(1, 6, 4)] * 5
    values = [np.unique(crop.read_raw(crop.label_grid.roi)) for crop in crops]
    assert [float(value[0]) for value in values] == pytest.approx([z * 2 / 255 - 1 for z in range(5)])
    # one array, opened once, which stays one on the way to a worker
    assert len({id(crop.raw) for crop in crops}) == 1
    assert len({id(crop.raw) for crop in pickle.loads(pickle.dumps(crops))}) == 1


def test_beyond_its_section_a_crop_knows_nothing(folder):
    crop = folder(annotations={"object_size_vx": [2] * 5}).open("train", ("mito",))[3]
    assert np.unique(crop.read_labels(crop.raw_grid.roi).regions, axis=0)[..., 0, 0].tolist() == [0, 1]
    assert [int(z) for z in np.flatnonzero(crop.read_labels(crop.raw_grid.roi).regions.any(axis=(1, 2)))] == [3]


def test_sections_may_have_labels_and_numbers(folder):
    crops = folder(labels=True, annotations={"object_size_vx": [2] * 5}).open("train", ("mito",))
    assert [int(crop.read_labels(crop.label_grid.roi).present.sum()) for crop in crops] == [0, 24, 24, 24, 24]
    assert len({id(crop.labels[0]) for crop in crops}) == 1


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        ([1, 2], "its attribute `annotations` must map names to numbers, got [1, 2]"),
        ({"size": "4"}, "`annotations`: size must be a number or a list of them, got '4'"),
        ({"size": [1, 2, None, 4, 5]}, "`annotations`: size must be a number or a list of them, got None"),
        ({"size": [1, 2]}, "`annotations`: size has 2 numbers, but raw has 5 sections; give one each"),
    ],
)
def test_wrong_annotations_are_named(folder, tmp_path, annotations, problem):
    with pytest.raises(UserError) as caught:
        folder(annotations=annotations).open("train", ("mito",))
    assert str(caught.value) == f"{tmp_path / 'data.zarr' / 'train' / 'images'}: {problem}"


def test_regions_are_read_where_the_crop_is(store):
    regions = np.zeros((1, 6, 8), np.uint16)
    regions[..., 2:5], regions[..., 5:] = 3, 4
    raw = store("raw", np.zeros((1, 6, 8), np.uint8))
    crop = Crop("a", raw, annotations={"object_size_vx/3": 2}, regions=store("regions", regions))
    (opened,) = Crops(train=(crop,)).open("train", ("mito",))
    np.testing.assert_array_equal(opened.read_labels(opened.raw_grid.roi).regions, regions)


def test_regions_that_do_not_fit_are_named(store):
    raw = store("raw", np.zeros((1, 6, 8), np.uint8))
    coarse = store("coarse", np.zeros((1, 3, 4), np.uint8), (4, 8, 8))
    fractions = store("fractions", np.zeros((1, 6, 8), np.float32))
    crops = tuple(
        Crop(name, raw, annotations={"object_size_vx/1": 2}, regions=regions)
        for name, regions in (("a", coarse), ("b", fractions))
    )
    with pytest.raises(UserError) as caught:
        Crops(train=crops).open("train", ("mito",))
    first, second = caught.value.problems
    assert first.startswith(f"crop 'a': regions '{coarse.path}")
    assert "not on the voxels of raw (voxel size [4, 8, 8] nm" in first
    assert second.endswith("dtype float32; they must be integers: convert the array")


@pytest.fixture
def many(store):
    raw = store("raw", np.zeros((8, 6, 4), np.uint8))
    labels = (ClassArrays({"mito": store("mito", np.ones((8, 6, 4), np.uint8))}),)
    crops = tuple(Crop(f"c{z}", raw, labels, roi_vx=((z, z + 1), (0, 6), (0, 4))) for z in range(8))

    def make(**fields):
        return Crops(train=crops, validate=(Crop("v", raw, labels),), **fields)

    return make


def test_some_of_the_crops_are_drawn_by_the_seed(many):
    drawn = {seed: [crop.name for crop in many(train_count=3).open("train", ("mito",), seed)] for seed in range(6)}
    assert all(len(set(names)) == 3 for names in drawn.values())
    assert len({tuple(names) for names in drawn.values()}) > 1
    assert drawn[2] == [crop.name for crop in many(train_count=3).open("train", ("mito",), 2)]
    # more crops are those and others
    assert set(drawn[2]) < {crop.name for crop in many(train_count=5).open("train", ("mito",), 2)}
    assert len(many(train_count=3).open("validate", ("mito",), 0)) == 1


def test_more_crops_than_there_are_cannot_be_drawn(many):
    with pytest.raises(UserError) as caught:
        many(train_count=9).open("train", ("mito",))
    assert str(caught.value) == "datasplit.train_count: 9 of 8 training crops; lower it"
