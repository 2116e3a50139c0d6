"""Test crops are scored at the end, at what the validation has chosen; they choose nothing."""

import os
import signal

import pytest
import yaml

from dacapo_hd import session
from dacapo_hd.cli import main
from dacapo_hd.evaluation import best
from dacapo_hd.phantom.options import write_phantoms
from dacapo_hd.stores import FileStore


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantom.zarr"
    crops = ["train", "validate", "test", "test"]
    write_phantoms(folder, (2, 64, 64), (8.0, 8.0, 8.0), seed=3, crops=crops)
    return folder


@pytest.fixture
def train(data, make_config, tmp_path):
    config = make_config()
    config["task"]["grid"] = [{"type": "Threshold", "quantity": "distance", "threshold": at} for at in (0.0, 0.2)]
    config["datasplit"] |= {"path": str(data), "scheme": str(data / "scheme.yaml")}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))

    def command():
        with pytest.raises(SystemExit) as end:
            main(["train", str(tmp_path / "run.yaml"), "--store", str(tmp_path / "runs"), "--quiet"])
        return end.value.code

    return command


def test_they_are_scored_where_a_score_is_best(train, tmp_path):
    assert train() == 0
    store = FileStore(tmp_path / "runs")
    rows = store.scores("tiny")
    tested = {(row.iteration, row.crop) for row in rows if row.part == "test"}
    iterations = {found.iteration for score in {row.score for row in rows} if (found := best(rows, score))}
    assert tested == {(iteration, f"test_{number}") for iteration in iterations for number in (0, 1)}
    assert {row.crop for row in rows if row.part == "validate"} == {"crop_0"}
    for score in ("dice", "voi"):
        # whatever the test crops say
        assert best(rows, score) == best([row for row in rows if row.part == "validate"], score)
    record = store.run("tiny")
    assert record.provenance["packages"].keys() >= {"torch", "gunpowder"}
    # a finished run has nothing left to do
    assert train() == 0
    assert repr(store.scores("tiny")) == repr(rows)


def test_what_a_signal_prevented_is_made_up_for(train, tmp_path, monkeypatch):
    scored = session.score_network

    def stopped(run, network, crops, iteration, part="validate", **options):
        if part == "test":
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("went on")
        return scored(run, network, crops, iteration, part, **options)

    monkeypatch.setattr(session, "score_network", stopped)
    assert train() == 143
    store = FileStore(tmp_path / "runs")
    assert {row.part for row in store.scores("tiny")} == {"validate"}
    monkeypatch.setattr(session, "score_network", scored)
    assert train() == 0
    assert {row.part for row in store.scores("tiny")} == {"validate", "test"}


def test_validate_scores_both_parts_of_an_iteration(train, tmp_path, capsys):
    assert train() == 0
    with pytest.raises(SystemExit) as end:
        main(["validate", "tiny", "--iteration", "6", "--store", str(tmp_path / "runs"), "--quiet"])
    assert end.value.code == 0
    assert "test_1 (test)" in capsys.readouterr().out
