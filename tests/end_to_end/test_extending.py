"""A new task in one file outside the package: the one that docs/extending.md shows."""

import re
from pathlib import Path

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.stores import FileStore

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_task_of_the_docs_trains_validates_and_applies(config, write, dacapo_hd, dataset, here):
    source = re.search(r"```python\n(# my_tasks.py\n.*?)```", DOCS.read_text(), re.DOTALL)
    (here / "my_tasks.py").write_text(source.group(1))
    config["task"] = {"type": "my_tasks:Foreground", "classes": ["mito"], "threshold": 0.3}
    code, _, err = dacapo_hd("train", write(config), "--quiet")
    assert code == 0, err
    store = FileStore(here / "runs")
    assert {row.name for row in store.stats("tiny")} == {"loss/foreground", "learning_rate"}
    assert {row.class_name for row in store.scores("tiny")} == {"mito"}
    assert store.run("tiny").config["task"]["type"] == "my_tasks:Foreground"

    raw = dataset / "validate" / "crop_0" / "raw"
    code, _, err = dacapo_hd("apply", "tiny", raw, "out.zarr", "--iteration", "latest", "--quiet")
    assert code == 0, err
    assert ArrayRef(path="out.zarr/segmentation/mito").open().grid.shape_vx == (8, 96, 96)


def test_a_mistake_in_its_fields_is_reported_like_any_other(config, write, dacapo_hd, here):
    source = re.search(r"```python\n(# my_tasks.py\n.*?)```", DOCS.read_text(), re.DOTALL)
    (here / "my_tasks.py").write_text(source.group(1))
    config["task"] = {"type": "my_tasks:Foreground", "classes": ["mito"], "treshold": 0.3}
    code, _, err = dacapo_hd("train", write(config), "--quiet")
    assert (code, err) == (1, "error: run.yaml: task.treshold: unknown field; did you mean 'threshold'?\n")
