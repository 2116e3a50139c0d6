"""`train --tensorboard` as a user calls it: it adds event files and changes nothing else."""

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dacapo_hd.stores import FileStore


def steps(folder, tag):
    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars(tag)]


def test_training_with_it_is_the_same_and_goes_on_without_duplicates(config, write, dacapo_hd, here):
    name = write(config)
    assert dacapo_hd("train", name, "--quiet", "--store", "plain")[0] == 0
    code, _, err = dacapo_hd("train", name, "--quiet", "--tensorboard", "tb")
    assert (code, err) == (0, "")
    assert not list((here / "plain").rglob("events*")), "off by default"
    plain, logged = FileStore(here / "plain"), FileStore(here / "runs")
    assert logged.run("tiny").config_hash == plain.run("tiny").config_hash
    # a second training in one process finds other addresses of memory, and so another order of sums
    assert [(row.iteration, row.name, row.value) for row in logged.stats("tiny")] == [
        (row.iteration, row.name, pytest.approx(row.value, rel=1e-4)) for row in plain.stats("tiny")
    ]
    # as if it had been killed before the last checkpoint
    (logged.checkpoint_folder("tiny") / "00000006.pt").unlink()
    code, _, err = dacapo_hd("train", name, "--quiet", "--tensorboard", "tb")
    assert code == 0 and "iteration 4 is used instead" in err
    assert [row.iteration for row in logged.stats("tiny") if row.name == "loss/one_hot"] == [1, 2, 3, 4, 5, 6]
    for tag in ("loss/one_hot", "loss/distance", "learning_rate"):
        assert steps("tb/tiny", tag) == [1, 2, 3, 4, 5, 6]
    assert steps("tb/tiny", "validate/dice") == [3, 6]


def test_without_the_extra_it_says_what_to_install(config, write, dacapo_hd, monkeypatch, here):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, _, err = dacapo_hd("train", write(config), "--tensorboard", "tb")
    assert (code, err) == (
        1,
        "error: --tensorboard needs tensorboard; install it by: pip install 'dacapo_hd[tensorboard]'\n",
    )
    assert not (here / "runs" / "tiny").exists()
