"""What cannot be learnt by tasks that tell objects apart, on the command line."""

import numpy as np
import pytest
import zarr

# how problems of a crop begin: those for training, then those for validation
CROPS = ("crop 'crop_0' and 1 more", "datasplit.validate: crop 'crop_0'")
NEAR = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
TASKS = {
    "Affinities": {"type": "Affinities", "classes": ["mito"], "offsets": NEAR},
    "LatentMasks": {
        "type": "LatentMasks",
        "classes": ["mito"],
        "offsets": NEAR,
        "branches": [{"window_vx": [3, 3, 3]}],
        "predict": ["latent_affinity", "mask_affinity"],
    },
}


@pytest.fixture(params=TASKS)
def instances(request, config):
    """The config of a run for each of the tasks, in three dimensions."""
    config["architecture"] |= {"dims": 3, "input_shape_vx": [8, 24, 24]}
    config["trainer"] |= {"iterations": 2, "batch_size": 1}
    return {**config, "task": {**TASKS[request.param]}}


@pytest.fixture
def masks(config):
    config["architecture"] |= {"dims": 3, "input_shape_vx": [8, 24, 24]}
    return {**config, "task": {**TASKS["LatentMasks"]}}


def told(dacapo_hd, path, command="check"):
    """Return the errors of a command that fails."""
    code, _, err = dacapo_hd(command, path)
    assert code == 1
    return [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_class_without_instance_ids(dacapo_hd, write, instances, command):
    instances["task"]["classes"] = ["mito", "pm"]
    assert told(dacapo_hd, write(instances), command) == [
        f"datasplit.train: no crop has instance ids of 'pm', which {instances['task']['type']} needs; give its labels "
        "as InstanceArray, or in a folder as labels/pm_inst"
    ]


def test_offsets_of_two_numbers(dacapo_hd, write, instances):
    instances["task"]["offsets"] = [[0, -1], [-1, 0]]
    assert told(dacapo_hd, write(instances)) == [
        "run.yaml: task.offsets: must be three numbers each (z, y, x), 0 along z within a section; got (0,-1)"
    ]


def test_offsets_within_sections_for_several_sections(dacapo_hd, write, instances):
    instances["task"]["offsets"] = [[0, -1, 0], [0, 0, -1]]
    problem = "task: no offset leaves the section, but the volume has 8 sections, whose objects would fall apart; add "
    assert told(dacapo_hd, write(instances)) == [
        f"{crop}: {problem}an offset along z such as (-1,0,0)" for crop in CROPS
    ]


def test_offsets_larger_than_the_networks_input(dacapo_hd, write, instances):
    instances["task"] |= {"offsets": [[-1, 0, 0], [0, 0, -24]], "predict": ["latent_affinity"]}
    if instances["task"]["type"] == "Affinities":
        del instances["task"]["predict"]
    problem = "task: the offset (0,0,-24) reaches out of the network's input, which is 24 voxels along x; enlarge "
    assert told(dacapo_hd, write(instances)) == [
        f"{crop}: {problem}architecture.input_shape_vx or choose a shorter offset" for crop in CROPS
    ]


def test_offsets_larger_than_the_window(dacapo_hd, write, masks):
    masks["task"]["offsets"] = [*NEAR, [0, 0, -3]]
    assert told(dacapo_hd, write(masks)) == [
        "run.yaml: task.predict: the offset (0,0,-3) is larger than the mask windows of level 0, or no multiple of "
        "their dilation (3x3x3 dilated by 1x1x1); leave it out, or add a branch that it fits"
    ]


def test_windows_of_even_size_and_larger_than_the_output(dacapo_hd, write, masks):
    masks["task"]["branches"] = [{"window_vx": [3, 4, 3]}]
    assert told(dacapo_hd, write(masks)) == [
        "run.yaml: task.branches.0.window_vx: must be odd on every axis, so that the window has a centre, got (3, 4, 3)"
    ]
    masks["task"]["branches"] = [{"window_vx": [3, 3, 3]}, {"window_vx": [3, 3, 5], "dilation": [1, 1, 6]}]
    problem = "task.branches: the mask window of masks_2 covers 25 voxels along x, more than the network's output of 24"
    assert told(dacapo_hd, write(masks)) == [
        f"{crop}: {problem}; enlarge architecture.input_shape_vx, or choose a smaller window or dilation"
        for crop in CROPS
    ]


def test_labels_without_a_known_pair_are_refused(dacapo_hd, write, instances, here):
    raw = np.random.default_rng(0).integers(0, 255, (12, 48, 48)).astype(np.uint8)
    # known voxels have unknown neighbours only
    labels = np.full(raw.shape, 9, np.uint8)
    labels[::3, ::5, ::5] = 1
    for name, data in (("raw", raw), ("labels", labels)):
        array = zarr.open(str(here / f"{name}.zarr"), mode="w", shape=data.shape, chunks=data.shape, dtype="uint8")
        array[:] = data
        array.attrs["resolution"] = [8, 8, 8]
    source = {"type": "InstanceArray", "path": "labels.zarr", "class_name": "mito", "unknown": 9}
    crop = {"name": "a", "raw": "raw.zarr", "labels": [source]}
    instances["datasplit"] = {"type": "Crops", "scheme": {"classes": {"mito": []}}, "train": [crop]}
    instances["task"]["foreground"] = False
    code, _, err = dacapo_hd("train", write(instances))
    assert code == 1 and "no voxel counts in " in err and "so nothing is learnt; " in err
