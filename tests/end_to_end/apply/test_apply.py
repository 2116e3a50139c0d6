"""Apply with many blocks: what every option makes."""

from pathlib import Path

import numpy as np
import pytest
import tensorstore
import yaozarrs
from apply_parts import files

from dacapo_hd.arrays import ArrayRef, create_volume, open_volume
from dacapo_hd.geometry import Grid
from dacapo_hd.manager import RunManager
from dacapo_hd.prediction import predict_in_memory, read_prediction
from dacapo_hd.stores import FileStore


def in_memory(made, volume, iteration=1):
    from dacapo_hd.inference import load_network, make_predictor

    store = FileStore(made / "runs")
    run = RunManager(store).load("tiny")
    _, network, _ = load_network(run, store, iteration)
    return predict_in_memory(make_predictor(run, network), volume, volume.grid, (0.0, 255.0))


def test_small_blocks_give_what_memory_gives(made, raw, apply):
    assert [str(path) for path in apply()] == [
        "out.zarr/prediction",
        "out.zarr/segmentation/mito",
        "out.zarr/segmentation/pm",
    ]
    found = read_prediction(open_volume("out.zarr/prediction"))
    exact = in_memory(made, open_volume(raw))
    assert abs(found.data - exact.data).max() <= 2 / 510 + 1e-6
    assert not Path("out.zarr/.dacapo_hd").exists()


def test_outputs_say_where_they_come_from(apply, raw):
    apply(flips=True)
    attributes = open_volume("out.zarr/segmentation/mito").attributes
    kept = {key: attributes[key] for key in ("run", "iteration", "source", "flips", "segmenter")}
    assert kept == {
        "run": "tiny",
        "iteration": 1,
        "source": raw,
        "flips": True,
        "segmenter": "components(distance > -0.2, 6 neighbours)",
    }


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_output_is_a_pyramid(apply, zarr_format, made):
    for path in apply(zarr_format=zarr_format):
        levels = ArrayRef(str(path)).open_levels()
        assert [volume.grid.voxel_size_nm for volume in levels.values()] == [(8, 8, 8), (16, 16, 16)]
        fine, coarse = levels.values()
        assert coarse.read().any() or not fine.read().any()


def test_objects_are_listed_in_a_table(apply):
    apply()
    rows = Path("out.zarr/segmentation/mito.csv").read_text().splitlines()
    assert len(rows) - 1 == open_volume("out.zarr/segmentation/mito").read().max() > 1


@pytest.mark.parametrize("options", [{"memory": "4GB"}, {"memory": "520MB"}], ids=str)
def test_blocks_change_values_by_rounding_only(apply, calm, options):
    apply(**options)
    found, expected = (open_volume(f"{folder}/prediction").read().astype(int) for folder in ("out.zarr", calm))
    np.testing.assert_allclose(found, expected, atol=1)


def test_workers_change_nothing(apply, calm):
    apply(workers=2)
    assert files("out.zarr") == files(calm)


def test_a_mask_limits_prediction_and_segmentation(apply, calm, here):
    mask = np.zeros((5, 23, 28), np.uint8)
    mask[2:4, 5:15, 3:20] = 1
    coarse = Grid.from_nm(mask.shape, (32, 32, 32))
    create_volume("mask.zarr", coarse, np.uint8).write(coarse.roi, mask)
    apply(mask="mask.zarr")
    inside = mask.repeat(4, 0).repeat(4, 1).repeat(4, 2)[:20, :90, :110] > 0
    found, all_of_it = (open_volume(f"{folder}/prediction").read() for folder in ("out.zarr", calm))
    assert (found[:, ~inside] == 0).all() and all_of_it[:, ~inside].any()
    np.testing.assert_array_equal(found[:, inside], all_of_it[:, inside])
    assert (open_volume("out.zarr/segmentation/mito").read()[~inside] == 0).all()


def test_a_hole_of_the_mask_is_not_filled(apply):
    mask = np.ones((10, 45, 55), np.uint8)
    mask[5, 20, 20] = 0
    coarse = Grid.from_nm(mask.shape, (16, 16, 16))
    create_volume("mask.zarr", coarse, np.uint8).write(coarse.roi, mask)
    everything = "{type: ConnectedComponents, quantity: distance, threshold: -1.0, fill_holes: true}"
    apply(mask="mask.zarr", parameters=everything)
    outside = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2) == 0
    found = open_volume("out.zarr/segmentation/mito").read() > 0
    np.testing.assert_array_equal(found, ~outside)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_other_programs_read_what_is_written(zarr_format, apply):
    for path in apply(zarr_format=zarr_format):
        (multiscale,) = yaozarrs.open_group(path).ome_metadata().multiscales
        spatial = [axis for axis in multiscale.axes if axis.type == "space"]
        assert [(axis.name, axis.unit) for axis in spatial] == [(name, "nanometer") for name in "zyx"]
        assert multiscale.type == ("mean" if path.name == "prediction" else "mode")
        levels = ArrayRef(str(path)).open_levels().values()
        for dataset, size, level in zip(multiscale.datasets, (8.0, 16.0), levels, strict=True):
            scale, translation = dataset.coordinateTransformations
            assert list(scale.scale[-3:]) == [size] * 3
            # the centre of the first voxel
            assert list(translation.translation[-3:]) == [size / 2] * 3
            store = {"driver": "file", "path": str(path / dataset.path)}
            driver = {2: "zarr", 3: "zarr3"}[zarr_format]
            stored = tensorstore.open({"driver": driver, "kvstore": store}).result().read().result()
            np.testing.assert_array_equal(stored, level.read())


def test_empty_blocks_are_background_when_asked(apply, calm):
    apply(skip_empty=True)
    found, all_of_it = (open_volume(f"{folder}/prediction").read() for folder in ("out.zarr", calm))
    assert (found[:, -6:] == 0).all() and all_of_it[:, -6:].any()
    np.testing.assert_allclose(found[:, :-6].astype(int), all_of_it[:, :-6], atol=1)


def test_compute_may_be_a_file(apply, calm):
    Path("here.yaml").write_text("type: Local\nworkers: 3\n")
    apply(compute="here.yaml", workers=2)
    assert files("out.zarr") == files(calm)
