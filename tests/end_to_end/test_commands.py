"""The commands as a user calls them, on a phantom."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.geometry import Grid
from dacapo_hd.stores import FileStore


@pytest.fixture(scope="session")
def trained_runs(make_config, train_once):
    return train_once(make_config())


@pytest.fixture
def trained(trained_runs, here):
    """The run `tiny` in the default store."""
    shutil.copytree(trained_runs, here / "runs")


def test_the_whole_path_from_a_file_to_a_comparison(trained, config, dataset, write, dacapo_hd, here):
    other = {**config, "name": "other", "task": {"type": "OneHot", "classes": ["mito", "pm"]}}
    assert dacapo_hd("train", write(other), "--quiet")[0] == 0

    code, out, _ = dacapo_hd("runs")
    assert code == 0
    assert "tiny" in out and "HotDistance" in out and "6/6" in out

    code, out, _ = dacapo_hd("compare", "tiny", "other")
    assert code == 0
    assert "task.type" in out and "OneHot" in out
    assert "trainer.iterations" not in out, "only keys that differ are shown"

    raw = dataset / "validate" / "crop_0" / "raw"
    code, out, err = dacapo_hd("apply", "tiny", raw, "out.zarr", "--quiet")
    assert code == 0, err
    written = out.split()
    assert written == ["out.zarr/prediction", "out.zarr/segmentation/mito", "out.zarr/segmentation/pm"]
    source = ArrayRef(path=str(raw)).open()
    mask = ArrayRef(path="out.zarr/segmentation/mito").open()
    assert mask.grid == source.grid
    assert set(np.unique(mask.read())) <= {0, 1}
    assert ArrayRef(path="out.zarr/prediction").open().channels == 4


def test_training_stores_statistics_scores_and_checkpoints(trained, here):
    store = FileStore(here / "runs")
    stats = store.stats("tiny")
    assert [row.iteration for row in stats if row.name == "loss/one_hot"] == [1, 2, 3, 4, 5, 6]
    assert {row.name for row in stats} == {"loss/one_hot", "loss/distance", "learning_rate"}
    scores = store.scores("tiny")
    assert {row.iteration for row in scores} == {3, 6}
    assert {row.class_name for row in scores} == {"mito", "pm"}
    assert {row.crop for row in scores} == {"crop_0"}
    assert {"dice", "jaccard", "voi", "false_negative_rate", "false_positive_rate"} <= {row.score for row in scores}
    assert {"mean_boundary_distance", "f1_tolerance"} <= {row.score for row in scores}
    assert all(json.loads(row.segmenter)["type"] for row in scores)
    checkpoints = sorted(path.name for path in store.checkpoint_folder("tiny").glob("*.pt"))
    assert checkpoints == ["00000003.pt", "00000004.pt", "00000006.pt"]


def test_training_a_finished_run_again_changes_nothing(trained, config, write, dacapo_hd, here):
    before = (here / "runs" / "tiny" / "stats.jsonl").read_bytes()
    assert dacapo_hd("train", write(config), "--quiet")[0] == 0
    assert dacapo_hd("train", "tiny", "--quiet")[0] == 0
    assert (here / "runs" / "tiny" / "stats.jsonl").read_bytes() == before


def test_validating_again_gives_the_same_scores(trained, dacapo_hd, here):
    store = FileStore(here / "runs")
    before = sorted(map(repr, store.scores("tiny")))
    code, out, err = dacapo_hd("validate", "tiny", "--iteration", "3", "--quiet")
    assert code == 0, err
    assert "dice" in out and "mito" in out
    assert sorted(map(repr, store.scores("tiny"))) == before


def test_a_sweep_trains_its_product_and_reports_what_failed(config, write, dacapo_hd, here):
    sweep = {
        "name": "study",
        "tasks": [
            {"label": "hot", **config["task"]},
            {"label": "nothing", "type": "OneHot", "classes": ["mitto"]},
        ],
        "architectures": [config["architecture"]],
        "datasplits": [config["datasplit"]],
        "trainers": [{**config["trainer"], "iterations": 1}],
        "seeds": [0, 1],
    }
    code, _, err = dacapo_hd("train", write(sweep, "sweep.yaml"), "--quiet")
    assert [record.name for record in FileStore(here / "runs").runs()] == ["study-hot-s0", "study-hot-s1"]
    assert code == 1
    assert err.splitlines() == [
        f"error: run 'study-nothing-s{seed}': class 'mitto' is not in the scheme; did you mean 'mito'?"
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("roi", "shape", "begin"),
    [("0:4,10:40,:", (4, 30, 96), (0, 10, 0)), ("16:64,80:160,0:80nm", (6, 10, 10), (2, 10, 0))],
)
def test_apply_to_a_part_of_the_volume(trained, dataset, dacapo_hd, roi, shape, begin):
    raw = dataset / "validate" / "crop_0" / "raw"
    code, _, err = dacapo_hd("apply", "tiny", raw, "part.zarr", "--roi", roi, "--iteration", "3", "--quiet")
    assert code == 0, err
    grid = ArrayRef(path="part.zarr/segmentation/mito").open().grid
    assert grid.shape_vx == shape
    assert tuple(grid.offset_nm) == tuple(8.0 * n for n in begin)


def test_apply_with_chosen_parameters(trained, dataset, dacapo_hd):
    raw = dataset / "validate" / "crop_0" / "raw"
    everything = "{type: Threshold, quantity: distance, threshold: -1.0}"
    code, _, err = dacapo_hd("apply", "tiny", raw, "all.zarr", "--parameters", everything, "--quiet")
    assert code == 0, err
    assert ArrayRef(path="all.zarr/segmentation/pm").open().read().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["apply", "tony", "RAW", "o.zarr"],
            "error: no run 'tony' in runs; did you mean 'tiny'?; `dacapo-hd runs` lists them\n",
        ),
        (
            ["apply", "tiny", "RAW", "o.zarr", "--roi", "0:9,0:96,0:96"],
            "error: --roi: 0:9,0:96,0:96 is voxels 0:9,0:96,0:96, which is not inside the volume of shape "
            "8 x 96 x 96 voxels\n",
        ),
        (
            ["apply", "tiny", "RAW", "o.zarr", "--roi", "0:9"],
            "error: --roi: expected z:z,y:y,x:x (voxels, or nm with nm at the end), got '0:9'\n",
        ),
        (
            ["apply", "tiny", "RAW", "o.zarr", "--iteration", "last"],
            "error: --iteration: expected best, latest or a number, got 'last'\n",
        ),
        (
            ["apply", "tiny", "RAW", "o.zarr", "--parameters", "{type: Treshold, threshold: 0}"],
            "error: --parameters: type: unknown segmenter 'Treshold'; did you mean 'Threshold'?\n",
        ),
        (
            ["apply", "tiny", "RAW", "o.zarr", "--parameters", "0.5"],
            "error: --parameters: expected a segmenter such as '{type: Threshold, threshold: 0.1}', got '0.5'\n",
        ),
        (
            ["train", "tiny", "--set", "seed=1"],
            "error: --set: the stored run 'tiny' cannot be changed; use --set with a file\n",
        ),
        (["compare", "tiny", "--score", "dise"], "error: unknown score 'dise'; did you mean 'dice'?\n"),
        (
            ["apply", "tiny", "RAW", "o.zarr", "--roi", "nan:1,:,:"],
            "error: --roi: expected z:z,y:y,x:x (voxels, or nm with nm at the end), got 'nan:1,:,:'\n",
        ),
        (
            ["preview", "tiny", "picture.foo"],
            "error: picture.foo: not a picture that can be written; end the name with .png, .pdf, .svg, .jpg\n",
        ),
        (["preview", "tiny", "nowhere/a.png"], "error: nowhere/a.png: there is no folder nowhere; make it first\n"),
        (["nonsense"], "error: No such command 'nonsense'; see `dacapo-hd --help`\n"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(trained, dataset, dacapo_hd, arguments, message):
    raw = str(dataset / "validate" / "crop_0" / "raw")
    code, out, err = dacapo_hd(*[raw if argument == "RAW" else argument for argument in arguments])
    assert (code != 0, out, err) == (True, "", message)


def test_an_output_that_exists_needs_overwrite(trained, dataset, dacapo_hd, here):
    raw = dataset / "validate" / "crop_0" / "raw"
    assert dacapo_hd("apply", "tiny", raw, "out.zarr", "--quiet")[0] == 0
    code, _, err = dacapo_hd("apply", "tiny", raw, "out.zarr", "--quiet")
    assert (code, err) == (1, "error: out.zarr/prediction exists; give --overwrite to replace it\n")
    assert dacapo_hd("apply", "tiny", raw, "out.zarr", "--overwrite", "--quiet")[0] == 0


def test_a_volume_of_another_resolution_is_refused_with_both(trained, dacapo_hd):
    assert dacapo_hd("phantom", "coarse.zarr", "--shape", "8,48,48", "--voxel-size", "16,16,16")[0] == 0
    code, _, err = dacapo_hd("apply", "tiny", "coarse.zarr/raw", "out.zarr")
    assert code == 1
    assert err.endswith("no level has the voxel size [8, 8, 8] nm; levels: s0 [16, 16, 16] nm\n")
    assert len(err.splitlines()) == 1
    code, _, err = dacapo_hd("apply", "tiny", "coarse.zarr/raw/s0", "out.zarr")
    assert (code, err) == (
        1,
        "error: coarse.zarr/raw/s0: voxel size [16, 16, 16] nm, but run 'tiny' was trained at [8, 8, 8] nm; give a "
        "pyramid with that level, or resample the volume\n",
    )


def test_preview_draws_a_picture(config, write, dacapo_hd, here):
    code, out, err = dacapo_hd("preview", write(config), "samples.png", "--samples", "2")
    assert (code, out.strip(), err) == (0, "samples.png", "")
    assert (here / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_a_store_that_cannot_be_written_is_one_line(config, write, dacapo_hd, here):
    (here / "taken").write_text("a file")
    code, _, err = dacapo_hd("train", write(config), "--store", "taken", "--quiet")
    assert code == 1
    assert err == "error: --store: taken is a file; give a folder or mongodb://HOST/DATABASE\n"


def test_debug_shows_the_traceback(dacapo_hd):
    code, _, err = dacapo_hd("--debug", "train", "missing.yaml")
    assert code == 1
    lines = err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("error: missing.yaml: ")


def test_the_stored_config_is_the_resolved_one(trained, here):
    record = yaml.safe_load((here / "runs" / "tiny" / "run.yaml").read_text())
    assert record["config"]["task"]["distance_supervision"] == "exact"
    assert record["config"]["trainer"]["optimizer"] == "adamw"


def test_a_segmenter_that_reads_what_is_not_predicted_fails_before_anything_is_written(
    config, write, dacapo_hd, dataset
):
    config |= {"name": "hot", "task": {"type": "OneHot", "classes": ["mito"]}}
    assert dacapo_hd("train", write(config), "--quiet")[0] == 0
    raw = dataset / "validate" / "crop_0" / "raw"
    wrong = "{type: Threshold, quantity: distance, threshold: 0.1}"
    code, _, err = dacapo_hd("apply", "hot", raw, "never.zarr", "--parameters", wrong)
    assert (code, err) == (
        1,
        "error: threshold(distance > 0.1): does not suit the task of run 'hot': Threshold reads distance, but OneHot "
        "predicts probability; set its quantity: probability\n",
    )
    assert not Path("never.zarr").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            "similarity: signed",
            "does not suit the task of run 'vectors': similarity 'absolute' of the task, but 'signed' of a "
            "CosineMutexWatershed of the grid; give both the same",
        ),
        (
            "offsets_vx: [[0, -1, 0], [0, -4, 0]]",
            "no offset to a neighbour leaves the section, but there are several, whose objects would fall apart; "
            "add one along z such as (-1,0,0) to offsets_vx, or give axes: yx",
        ),
    ],
)
def test_a_segmenter_that_does_not_suit_the_task_or_the_volume_fails_before_anything_is_written(
    options, problem, config, write, dacapo_hd, dataset
):
    task = {"type": "Embeddings", "classes": ["mito"], "grid": [{"type": "AngularClustering"}]}
    config |= {"name": "vectors", "task": task}
    assert dacapo_hd("train", write(config), "--quiet")[0] == 0
    raw = dataset / "validate" / "crop_0" / "raw"
    segmenter = f"{{type: CosineMutexWatershed, {options}}}"
    code, _, err = dacapo_hd("apply", "vectors", raw, "never.zarr", "--parameters", segmenter)
    assert code == 1 and err.endswith(f"{problem}\n") and len(err.splitlines()) == 1
    assert not Path("never.zarr").exists()


def test_another_dtype_than_trained_on_is_refused(trained, dacapo_hd, here):
    grid = Grid.from_nm((8, 96, 96), (8.0, 8.0, 8.0))
    create_volume("deep.zarr/raw", grid, np.uint16).write(grid.roi, np.full(grid.shape_vx, 40_000, np.uint16))
    code, _, err = dacapo_hd("apply", "tiny", "deep.zarr/raw", "out.zarr")
    assert (code, err) == (
        1,
        "error: deep.zarr/raw: the dtype is uint16, but run 'tiny' was trained on uint8 with intensities 0 to 255; "
        "give --intensity-range, convert the volume, or train with datasplit.intensity_range\n",
    )


def test_overwriting_removes_what_apply_wrote_and_nothing_else(trained, dataset, dacapo_hd, here):
    raw = dataset / "validate" / "crop_0" / "raw"
    assert dacapo_hd("apply", "tiny", raw, "out.zarr", "--quiet")[0] == 0
    grid = Grid.from_nm((2, 4, 4), (8.0, 8.0, 8.0))
    truth = create_volume("out.zarr/segmentation/truth", grid, np.uint8)
    truth.write(grid.roi, np.full(grid.shape_vx, 7, np.uint8))
    create_volume("out.zarr/segmentation/er", grid, np.uint8, attributes={"segmenter": "threshold(distance > 0)"})
    assert dacapo_hd("apply", "tiny", raw, "out.zarr", "--overwrite", "--quiet")[0] == 0
    found = {folder.name for folder in (here / "out.zarr" / "segmentation").iterdir() if folder.is_dir()}
    assert found == {"mito", "pm", "truth"}
    assert (ArrayRef(path="out.zarr/segmentation/truth").open().read() == 7).all()


def test_what_was_segmented_is_said(trained, dataset, dacapo_hd, here):
    code, out, err = dacapo_hd("validate", "tiny", "--iteration", "3")
    assert code == 0, err
    found = re.findall(r"^(mito|pm) in crop_0: (\d+ voxels|nothing was segmented)$", out, re.MULTILINE)
    assert [name for name, _ in found] == ["mito", "pm"]
    raw = str(dataset / "validate" / "crop_0" / "raw")
    rule = "{type: Threshold, quantity: distance, threshold: %g}"
    code, _, err = dacapo_hd("apply", "tiny", raw, "all.zarr", "--parameters", rule % -0.99)
    assert code == 0
    assert "all.zarr/segmentation/mito: present\n" in err
    code, _, err = dacapo_hd("apply", "tiny", raw, "none.zarr", "--parameters", rule % 0.99, "--quiet")
    assert code == 0
    assert err == "".join(f"warning: none.zarr/segmentation/{name}: nothing was segmented\n" for name in ("mito", "pm"))
