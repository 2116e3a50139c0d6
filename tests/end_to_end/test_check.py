"""What `check` finds, and what of it stops `train`."""

import numpy as np

from dacapo_hd.arrays import create_volume
from dacapo_hd.geometry import Grid


def test_a_class_that_no_crop_knows_is_an_error_in_check_and_in_train(config, write, dacapo_hd, tmp_path):
    data = tmp_path / "partial.zarr"
    crop = "train/only=mito/box=0:8,0:8,0:8"
    assert dacapo_hd("phantom", data, "--shape", "8,96,96", "--crop", crop, "--crop", "validate")[0] == 0
    config["datasplit"] = {"type": "Folder", "path": str(data)}
    config["task"]["classes"] = ["mito", "pm"]
    run = write(config)
    for command in ("check", "train"):
        code, _, err = dacapo_hd(command, run)
        assert (code, err) == (
            1,
            "error: no training crop knows a voxel of 'pm'; annotate some, or remove the class from task.classes\n",
        )


def test_check_prints_what_there_is(config, write, dacapo_hd):
    code, out, err = dacapo_hd("check", write(config))
    assert (code, err) == (0, "")
    for text in ("crop_0", "crop_1", "8 x 96 x 96", "75.0%", "no problems found", "parameters", "1 x 48 x 48"):
        assert text in out


def test_check_says_which_scores_will_say_nothing(config, write, dacapo_hd):
    assert "warning" not in dacapo_hd("check", write(config))[1]
    config["task"] |= {"classes": ["mito", "pm"], "best_by": "instance_voi"}
    config["trainer"]["tolerance_nm"] = 5
    code, out, _ = dacapo_hd("check", write(config))
    assert code == 0
    assert (
        "warning: datasplit.validate: no crop has instance ids of 'pm', so that instance_voi, by which checkpoints are "
        "chosen, is undefined; give ids (InstanceArray, or labels/pm_inst in a folder), or set task.best_by" in out
    )
    assert (
        "warning: trainer.tolerance_nm: 5 is less than a voxel (8 nm), so that f1_tolerance and the cremi scores "
        "forgive nothing; set about two voxels" in out
    )
    assert out.count("warning: ") == 2


def test_check_reports_all_problems_at_once(config, write, dacapo_hd, dataset):
    config["datasplit"] = {
        "type": "Crops",
        "train": [
            {"name": "a", "raw": str(dataset / "train/crop_0/rau"), "labels": []},
            {"name": "b", "raw": str(dataset / "train/crop_9/raw"), "labels": []},
        ],
    }
    code, _, err = dacapo_hd("check", write(config))
    assert code == 1
    assert "crop 'a'" in err and "crop 'b'" in err and "did you mean 'raw'?" in err


def test_check_says_when_a_crop_is_smaller_than_the_network_needs(config, write, dacapo_hd):
    config["architecture"]["input_shape_vx"] = [1, 128, 128]
    code, _, err = dacapo_hd("check", write(config))
    assert code == 1
    assert err.splitlines()[0] == (
        "error: crop 'crop_0' and 1 more: raw is 8 x 96 x 96 voxels, smaller than the network's input of 1 x 128 x "
        "128; make architecture.input_shape_vx smaller, or set trainer.sampling.pad_small_crops: true to mirror the "
        "raw data"
    )


def test_masks_of_0_and_255_are_pointed_out(config, write, dacapo_hd, here):
    grid = Grid.from_nm((4, 64, 64), (8.0, 8.0, 8.0))
    mask = np.zeros(grid.shape_vx, np.uint8)
    mask[:, 20:40] = 255
    for name, data in {"raw": mask, "mito": mask}.items():
        create_volume(f"own.zarr/{name}", grid, np.uint8).write(grid.roi, data)
    labels = [{"type": "ClassArrays", "arrays": {"mito": "own.zarr/mito"}}]
    config["task"]["classes"] = ["mito"]
    config["datasplit"] = {"type": "Crops", "train": [{"name": "a", "raw": "own.zarr/raw", "labels": labels}]}
    advice = "write `unknown: none` where the labels are named if 255 is the class"
    for command in ("check", "train"):
        code, out, err = dacapo_hd(command, write(config))
        assert (code, err.count("\n")) == (1, 1)
        assert err.startswith("error: datasplit.train: labels ") and advice in err
        assert "no problems" not in out
    labels[0]["unknown"] = "none"
    assert dacapo_hd("check", write(config))[0] == 0
