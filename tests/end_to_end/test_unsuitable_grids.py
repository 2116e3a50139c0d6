"""Segmenters that cannot score a run are told before it trains, on the command line."""

from pathlib import Path

import numpy as np
import pytest

from dacapo_hd.arrays import create_volume
from dacapo_hd.geometry import Grid
from dacapo_hd.stores import FileStore

FLAT = {"type": "CosineMutexWatershed", "offsets_vx": [[0, 0, -1], [0, -1, 0], [0, 0, -4], [0, -4, 0]]}
OF_FLAT = (
    "task: cosine_mutex_watershed(absolute cosine > 0.5, long range 0.1 of 2 offsets up to 4, distance > 0.1): no "
    "offset to a neighbour leaves the section, but there are several, whose objects would fall apart; add one along z "
    "such as (-1,0,0) to offsets_vx, or give axes: yx"
)
OWN = """
import attrs
import numpy as np

from dacapo_hd.segmentation import Segmentation, Segmenter


@attrs.frozen
class Above(Segmenter):
    quantities: tuple[str, ...]

    def segment(self, prediction):
        found = sum(prediction.channel(f"mito/{name}") for name in self.quantities)
        return Segmentation({"mito": (found > 0).astype(np.uint8)})
"""


@pytest.fixture
def stacks(here):
    """Crops of one section to train on, and of several to score."""
    crops = {}
    for part, name, sections in (
        ("train", "flat", 1),
        ("validate", "deep", 4),
        ("validate", "deeper", 5),
        ("validate", "flat", 1),
        ("test", "deepest", 6),
    ):
        grid = Grid.from_nm((sections, 64, 64), (8.0, 8.0, 8.0))
        ids = np.zeros(grid.shape_vx, np.uint8)
        ids[:, 10:30, 10:30], ids[:, 10:30, 30:50] = 1, 2
        path = f"stacks.zarr/{part}_{name}"
        for array, data in (("raw", 100 * ids), ("ids", ids)):
            create_volume(Path(path) / array, grid, np.uint8).write(grid.roi, data)
        source = {"type": "InstanceArray", "path": f"{path}/ids", "class_name": "mito"}
        crops.setdefault(part, []).append({"name": name, "raw": f"{path}/raw", "labels": [source]})
    return {"type": "Crops", "scheme": {"classes": {"mito": []}}, **crops}


def refused(dacapo_hd, command, path):
    """Return the errors of a command that fails and leaves no run."""
    code, _, err = dacapo_hd(command, path)
    assert code == 1
    assert not Path("runs").exists()
    return [line.removeprefix("error: ") for line in err.splitlines()]


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_grid_that_reads_what_is_not_predicted(dacapo_hd, write, config, command):
    config["task"]["grid"] = [{"type": "AngularClustering"}]
    assert refused(dacapo_hd, command, write(config)) == [
        "run.yaml: task.grid.0: AngularClustering reads distance and embedding, but HotDistance predicts probability "
        "and distance; choose among Argmax, ConnectedComponents, Threshold, Watershed"
    ]


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_grid_that_cannot_join_the_sections_of_what_is_scored(dacapo_hd, write, config, stacks, command):
    config |= {"task": {"type": "Embeddings", "classes": ["mito"], "grid": [FLAT]}, "datasplit": stacks}
    validate, test = f"datasplit.validate: crop 'deep' and 1 more: {OF_FLAT}", "datasplit.test: crop 'deepest': "
    expected = [validate, f"{test}{OF_FLAT}"] if command == "check" else [validate]
    assert refused(dacapo_hd, command, write(config)) == expected


def test_the_same_for_affinities(dacapo_hd, write, config, stacks):
    config |= {"task": {"type": "Affinities", "classes": ["mito"]}, "datasplit": stacks}
    config["task"]["offsets"] = [[0, -1, 0], [0, 0, -1], [0, 0, -4]]
    sections = "sections, whose objects would fall apart; add an offset along z such as (-1,0,0)"
    assert refused(dacapo_hd, "check", write(config)) == [
        f"datasplit.{part}: crop '{name}': task: no offset leaves the section, but the volume has {number} {sections}"
        for part, name, number in (("validate", "deep", 4), ("validate", "deeper", 5), ("test", "deepest", 6))
    ]


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_segmenter_of_ones_own_that_does_not_say_what_it_reads(dacapo_hd, write, config, here, command):
    (here / "own_grid.py").write_text(OWN)
    config["task"] |= {"classes": ["mito"], "grid": [{"type": "own_grid:Above", "quantities": ["distance", "height"]}]}
    assert refused(dacapo_hd, command, write(config)) == [
        "task: Above does not suit HotDistance: the prediction has no channel 'mito/height', only mito/probability, "
        "mito/distance; choose a segmenter for what the task predicts"
    ]


def test_one_that_reads_what_is_predicted_scores(dacapo_hd, write, config, here):
    (here / "own_grid.py").write_text(OWN)
    config["task"] |= {"classes": ["mito"], "grid": [{"type": "own_grid:Above", "quantities": ["distance"]}]}
    path = write(config)
    assert dacapo_hd("check", path)[0] == 0
    assert dacapo_hd("train", path, "--quiet")[0] == 0
    assert {row.segmenter for row in FileStore("runs").scores("tiny")} == {
        '{"quantities": ["distance"], "type": "own_grid:Above"}'
    }
