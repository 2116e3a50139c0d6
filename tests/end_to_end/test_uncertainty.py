"""A run that predicts how uncertain it is, from training to the tables."""

import csv
import json
import shutil

import numpy as np
import pytest

from dacapo_hd.config import unstructure
from dacapo_hd.evaluation.segments import CORRELATIONS
from dacapo_hd.evaluation.selection import best
from dacapo_hd.inference import load_network, make_predictor, open_scored
from dacapo_hd.manager import RunManager
from dacapo_hd.phantom.options import write_phantoms
from dacapo_hd.stores import FileStore
from dacapo_hd.training.validation import predict_crop


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantom.zarr"
    write_phantoms(folder, (8, 64, 64), (8.0, 8.0, 8.0), seed=3, crops=["train", "validate", "test"])
    return folder


@pytest.fixture(scope="module")
def trained_once(data, make_config, train_once):
    config = make_config()
    config["datasplit"] |= {"path": str(data), "scheme": str(data / "scheme.yaml")}
    config["task"] = {
        "type": "LatentMasks",
        "classes": ["cell"],
        "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
        "branches": [{"window_vx": [3, 3, 3]}],
        "latent_channels": 4,
        "samples": 16,
        "predict": ["mask_affinity", "mask_variance"],
    }
    config["architecture"] |= {"dims": 3, "input_shape_vx": [8, 32, 32]}
    config["trainer"] |= {"validation_interval": 6}
    return train_once(config)


@pytest.fixture
def trained(trained_once, here):
    shutil.copytree(trained_once, here / "runs")
    return FileStore(here / "runs")


def test_segments_of_the_best_segmenter_are_stored_and_replaced(trained, dacapo_hd):
    rows = trained.scores("tiny")
    tabled = [row for row in rows if row.segments]
    found = best(rows, "panoptic_quality")
    assert {row.score for row in rows} >= set(CORRELATIONS)
    assert {(row.score, row.segmenter) for row in tabled} == {(CORRELATIONS[0], found.segmenter)}
    assert [(row.part, row.crop) for row in tabled] == [("validate", "crop_0"), ("test", "test_0")]
    assert len({row.segmenter for row in rows}) == 6
    assert dacapo_hd("validate", "tiny", "--quiet")[0] == 0
    assert [row.segments for row in trained.scores("tiny") if row.segments] == [row.segments for row in tabled]


def test_what_is_stored_is_the_mean_of_the_predicted_variance(trained):
    run = RunManager(trained).load("tiny")
    _, network, _ = load_network(run, trained, 6)
    (crop,) = open_scored(run, "validate")
    prediction = predict_crop(make_predictor(run, network), crop)
    (row,) = (row for row in trained.scores("tiny", crop="crop_0") if row.segments)
    (segmenter,) = (one for one in run.task.segmenters() if unstructure(one) == json.loads(row.segmenter))
    labels = segmenter.segment(prediction).labels["cell"]
    variance = np.mean([prediction.channel(name) for name in prediction.channels if "variance" in name], axis=0)
    known = crop.read_labels(crop.label_grid.roi).known[0]
    assert row.segments.quantity == "mask_variance" and row.segments.of == len(np.unique(labels[known & (labels > 0)]))
    for number, voxels, value in zip(row.segments.id, row.segments.voxels, row.segments.uncertainty, strict=True):
        inside = (labels == number) & known
        assert voxels == inside.sum() and value == pytest.approx(variance[inside].mean(), rel=1e-3)


def test_users_see_them(trained, dacapo_hd, here):
    code, out, _ = dacapo_hd("compare", "--segments", "5")
    assert code == 0 and "mean mask_variance" in out and "tiny: uncertainty_error_correlation" in out
    code, out, _ = dacapo_hd("compare", "--score", CORRELATIONS[0])
    assert code == 0 and "uncertainty_error_correlation (higher is better)" in out
    assert dacapo_hd("report", "report.html", "--no-slices")[0] == 0
    assert '"quantity":"mask_variance"' in (here / "report.html").read_text()


def test_apply_writes_the_mean_of_each_object(trained, dacapo_hd, data, here):
    code, _, err = dacapo_hd("apply", "tiny", data / "validate" / "crop_0" / "raw", "out.zarr", "--quiet")
    assert code == 0, err
    with (here / "out.zarr/segmentation/cell.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "mean_mask_variance"
    assert all(0 <= float(row["mean_mask_variance"]) <= 0.25 for row in rows)
