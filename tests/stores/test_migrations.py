"""A store that an older version has written opens, and its runs go on.

`schema_1/` was written by the version before `schema` was: the run `finished` was trained to its end, the run
`interrupted` with the same config until Ctrl-C at iteration 4.
"""

import json
import shutil
from math import isnan
from pathlib import Path

import attrs
import pytest
import torch
import yaml

from dacapo_hd.cli import main
from dacapo_hd.config import canonical_hash, structure
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation import SCORES
from dacapo_hd.phantom.options import write_phantoms
from dacapo_hd.run import Run
from dacapo_hd.stores import FileStore, RunRecord, ScoreRow, StatRow
from dacapo_hd.stores.base import DamageError
from dacapo_hd.stores.migrations import SCHEMA, hashes_fit, upgrade

SCHEMA_1 = Path(__file__).parent / "schema_1"


@pytest.fixture
def store(tmp_path):
    shutil.copytree(SCHEMA_1, tmp_path / "runs")
    return FileStore(tmp_path / "runs")


def lines(name, file):
    return [json.loads(line) for line in (SCHEMA_1 / name / file).read_text().splitlines()]


def document(name="finished"):
    return yaml.safe_load((SCHEMA_1 / name / "run.yaml").read_text())


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_an_old_run_reads_as_it_was_written_but_for_the_new_fields(store, name):
    old, new = document(name), store.run(name)
    assert old.keys() == {"name", "config", "config_hash", "group_hash", "seed", "created", "git_sha"}
    trainer = {
        **old["config"]["trainer"],
        "checkpoint_minutes": 10.0,
        "retention": {"last": 2, "every": None, "best": True},
    }
    assert new.config == {**old["config"], "trainer": trainer}
    assert (new.name, new.seed, new.created, new.git_sha) == (name, 0, old["created"], old["git_sha"])
    assert (new.archived, new.provenance) == ("", {})


def test_the_hashes_of_an_old_run_are_those_of_its_config_today(store):
    for record in store.runs():
        run = structure(dict(record.config), Run)
        assert (record.config_hash, record.group_hash) == (run.config_hash, run.group_hash)
        assert record.config_hash != document(record.name)["config_hash"]


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_old_rows_read_as_they_were_written_with_the_new_hashes(store, name):
    record = store.run(name)
    assert store.stats(name) == [StatRow(**line) for line in lines(name, "stats.jsonl")]
    hashes = {"config_hash": record.config_hash, "group_hash": record.group_hash}
    expected = [ScoreRow(**{**line, **hashes, "part": "validate"}) for line in lines(name, "scores.jsonl")]
    assert repr(store.scores(name)) == repr(expected)
    assert len(store.scores(name)) == {"finished": 88, "interrupted": 44}[name]
    assert store.newest_iteration(name) == {"finished": 6, "interrupted": 4}[name]


def test_reading_an_old_store_writes_nothing(store):
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    for record in store.runs():
        store.scores(record.name), store.stats(record.name), store.checkpoints(record.name)
    assert list(store.damage()) == []
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before


def test_an_old_store_is_written_to_in_the_new_way(store):
    record, before = store.run("interrupted"), store.scores("interrupted")
    store.add_run(attrs.evolve(record, created="now"))
    with store.lock("interrupted") as held:
        held.require_held()
        store.truncate("interrupted", 4)
        store.append_stats("interrupted", [StatRow(5, "loss", 0.5, 1.0)])
        new = attrs.evolve(before[0], iteration=5)
        store.write_scores("interrupted", [new])
    assert repr(store.scores("interrupted")) == repr([*before, new])
    assert [row.iteration for row in store.stats("interrupted")] == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3 + [5]
    assert list(store.damage()) == []
    assert store.run("interrupted") == record


def test_an_old_run_gets_another_name(store):
    old = store.run("finished")
    scores = store.scores("finished")
    new = attrs.evolve(old, name="archived", config={**old.config, "name": "archived"}, archived="2026-01-01")
    store.rename_run("finished", new)
    assert store.run("archived") == new
    assert repr(store.scores("archived")) == repr([attrs.evolve(row, run="archived") for row in scores])
    assert yaml.safe_load((store.folder / "archived" / "run.yaml").read_text())["schema"] == SCHEMA
    assert list(store.damage()) == []


def test_an_old_record_that_was_edited_is_damaged(store):
    path = store.folder / "finished" / "run.yaml"
    path.write_text(path.read_text().replace("scale_nm: 40.0", "scale_nm: 80.0"))
    with pytest.raises(DamageError) as error:
        store.run("finished")
    assert str(error.value) == (
        f"{path}: damaged run record (its hashes are not those of its config); restore the file from a backup, or "
        "remove the folder"
    )


def test_a_store_of_a_newer_version_is_refused_and_names_itself(store, caplog):
    path = store.folder / "finished" / "run.yaml"
    path.write_text(f"schema: {SCHEMA + 1}\n{path.read_text()}brand_new: 1\nsha512: abc\n")
    with pytest.raises(UserError) as error:
        store.run("finished")
    what = f"written by a newer dacapo_hd (schema {SCHEMA + 1}, this one knows {SCHEMA})"
    assert error.value.problems == (f"{path}: {what}; update this one",)
    assert [(found.where, found.what, found.advice) for found in store.damage()] == [
        (str(path), what, "update this one")
    ]
    assert [record.name for record in store.runs()] == ["interrupted"]
    assert f"{path}: {what}; update this one" in caplog.text


@pytest.mark.parametrize("schema", [0, -1, "2", 1.5, True, None])
def test_a_schema_that_is_none_is_damage(schema):
    with pytest.raises(ValueError, match="`schema` is "):
        upgrade({**document(), "schema": schema}, "place")


def test_a_document_of_this_schema_stays_as_it_is():
    now = upgrade(document(), "place")
    assert now["schema"] == SCHEMA
    assert upgrade(now, "place") == now
    del now["schema"]
    assert attrs.asdict(RunRecord(**now)) == now


@pytest.mark.parametrize(("kind", "added"), [("Affinities", {"foreground": False}), ("HotDistance", {})])
def test_runs_of_affinities_had_no_foreground(kind, added):
    config = {"name": "old", "seed": 0, "task": {"type": kind, "classes": ["mito"], "best_by": "cremi_score"}}
    hashes = {
        "config_hash": canonical_hash(config, without=("name",)),
        "group_hash": canonical_hash(config, without=("name", "seed")),
    }
    now = upgrade({**document(), "config": config, **hashes, "schema": 2}, "place")
    assert now["config"]["task"] == {**config["task"], **added}
    assert hashes_fit(now)


def test_what_a_newer_trainer_already_says_is_kept():
    old = document()
    old["config"]["trainer"]["checkpoint_minutes"] = 3.0
    with pytest.raises(ValueError, match="its hashes are not those of its config"):
        upgrade(old, "place")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What the old runs were trained on."""
    folder = tmp_path_factory.mktemp("data")
    crops = ["train", "train/every=4", "validate"]
    write_phantoms(folder / "phantom.zarr", (8, 96, 96), (8.0, 8.0, 8.0), seed=3, crops=crops)
    return folder


@pytest.fixture
def train(store, data, tmp_path, monkeypatch, capsys):
    """Train a run of the old experiment's file in the old store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DACAPO_HD_TEST_DATA", str(data))

    def run(name):
        shutil.copy(SCHEMA_1 / "experiment.yaml", f"{name}.yaml")
        with pytest.raises(SystemExit) as stop:
            main(["train", f"{name}.yaml", "--store", str(store.folder)])
        assert stop.value.code == 0, capsys.readouterr().err
        return capsys.readouterr()

    return run


def network(store, name, iteration):
    path = store.checkpoint_folder(name) / f"{iteration:08d}.pt"
    return torch.load(path, weights_only=True)["network"]


def test_training_an_old_run_that_has_ended_does_nothing(store, train):
    before = repr((store.stats("finished"), store.scores("finished")))
    assert "finished at iteration 6" in "".join(train("finished"))
    assert repr((store.stats("finished"), store.scores("finished"))) == before


def test_training_an_old_run_that_was_interrupted_goes_on_as_the_old_version_would_have(store, train):
    """To the bit on one machine; another one may add in another order."""
    assert "continues from iteration 4" in "".join(train("interrupted"))
    torch.testing.assert_close(network(store, "interrupted", 6), network(store, "finished", 6), rtol=1e-4, atol=1e-5)
    old, new = store.stats("finished"), store.stats("interrupted")
    assert [(row.iteration, row.name) for row in new] == [(row.iteration, row.name) for row in old]
    assert [row.value for row in new] == pytest.approx([row.value for row in old], rel=1e-4)
    old, new = cells(store.scores("finished")), cells(store.scores("interrupted"))
    # there may be more scores today
    assert old.keys() <= new.keys()
    # what old versions took for 0 or 1 is undefined today: scores of a class that the crop does not show
    undefined = {cell for cell in old if isnan(new[cell]) and not isnan(old[cell])}
    assert {(cell[3], SCORES[cell[4]].empty_truth) for cell in undefined} == {("mito", "NaN")}
    defined = [cell for cell in old if cell not in undefined]
    assert [new[cell] for cell in defined] == pytest.approx([old[cell] for cell in defined], abs=0.01, nan_ok=True)


def cells(rows):
    return {(row.iteration, row.crop, row.segmenter, row.class_name, row.score): row.value for row in rows}
