"""The documents of a MongoDB store: what is damaged or of another version, and how they are found."""

from __future__ import annotations

import attrs
import pytest
from store_rows import by_text, checkpoint, fill, record, score, stat

from dacapo_hd.config import canonical_hash
from dacapo_hd.errors import UserError
from dacapo_hd.stores import RunRecord
from dacapo_hd.stores.base import DamageError
from dacapo_hd.stores.migrations import SCHEMA


def test_rows_of_no_run_are_named_with_what_removes_them(store, database):
    fill(store)
    store.add_run(record("sound"))
    run_id = database.runs.find_one({"name": "run"})["_id"]
    database.runs.delete_one({"_id": run_id})
    damages = list(store.damage())
    assert [(damage.run, damage.where) for damage in damages] == [
        ("", f"{store}: {name}") for name in ("stats", "score_batches", "scores", "checkpoints")
    ]
    assert damages[0].what == f"orphan rows: they belong to a run {run_id} that is not there"
    assert damages[0].advice == f"remove them in mongosh with db.stats.deleteMany({{run_id: ObjectId('{run_id}')}})"
    for damage in damages:
        collection, _, query = damage.advice.partition("db.")[2].partition(".deleteMany({")
        database[collection].delete_many({query.partition(":")[0]: run_id})
    assert list(store.damage()) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"$set": {"value": [0.5, "x"]}}, "damaged statistics (`value` is not a list of int or float)"),
        ({"$set": {"iteration": [1.5, 2]}}, "damaged statistics (`iteration` is not a list of int)"),
        ({"$set": {"seconds": [0.5]}}, "damaged statistics (its lists differ in length)"),
        ({"$unset": {"name": ""}}, "damaged statistics (`name` is not a list of str)"),
    ],
)
def test_damaged_statistics_are_named_and_dropped_when_training_goes_on(store, database, caplog, change, what):
    store.append_stats("run", [stat(1)])
    store.append_stats("run", [stat(2), stat(3)])
    store.append_stats("run", [stat(4)])
    place = f"stats/{database.stats.find_one({'sequence': 1})['_id']}"
    database.stats.update_one({"sequence": 1}, change)
    with pytest.raises(DamageError) as error:
        store.stats("run")
    assert str(error.value) == f"{store}: {place}: {what}; `dacapo-hd train run` drops it and goes on"
    assert tuple(store.damage()) == error.value.damages
    store.truncate("run", 4)
    assert store.stats("run") == [stat(1), stat(4)]
    assert f"{store}: {place}: {what.replace(')', ') are dropped')}" in caplog.text
    assert list(store.damage()) == []


@pytest.mark.parametrize("change", [{"places": [["x"]]}, {"sequence": "x"}, {"places": None}])
def test_a_damaged_batch_is_named_and_dropped_when_training_goes_on(store, database, caplog, change):
    store.write_scores("run", [score(10)])
    store.write_scores("run", [score(20)])
    batch = database.score_batches.find_one({"iterations": 20})["_id"]
    database.score_batches.update_one({"_id": batch}, {"$set": change})
    with pytest.raises(DamageError) as error:
        store.scores("run")
    assert str(error.value) == (
        f"{store}: score_batches/{batch}: damaged batch of scores; training the run again drops it; then validate again"
    )
    assert [(damage.run, damage.where) for damage in store.damage()] == [("run", error.value.damages[0].where)]
    assert store.scores("run", iteration=10) == [score(10)]
    store.truncate("run", 20)
    assert f"{store}: score_batches/{batch}: damaged batch of scores; it is dropped" in caplog.text
    assert store.scores("run") == [score(10)]
    assert list(store.damage()) == []
    store.write_scores("run", [score(20)])
    assert by_text(store.scores("run")) == by_text([score(10), score(20)])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"$set": {"value": "x"}}, "damaged score of crop 'a' at iteration 10 (`value` is 'x')"),
        ({"$unset": {"segmenter": ""}}, "damaged score of crop 'a' at iteration 10 (`segmenter` is None)"),
        ({"$set": {"segments": 3}}, "damaged score of crop 'a' at iteration 10 (`segments` is 3)"),
        ({"$set": {"segments": {"of": 3}}}, "damaged score of crop 'a' at iteration 10 (`segments` is {'of': 3})"),
        (None, "1 scores of crop 'a' at iteration 10 are missing"),
        ({"$set": {"iteration": 11}}, "1 scores of crop 'a' at iteration 10 are missing"),
    ],
)
@pytest.mark.parametrize("way_out", ["validate", "train"])
def test_damaged_and_missing_scores_are_named_and_made_again(store, database, caplog, change, what, way_out):
    rows = [score(10, crop, 0.5, name) for crop in "ab" for name in ("dice", "voi")]
    store.write_scores("run", rows)
    query = {"crop": "a", "score": "voi"}
    place = f"scores/{database.scores.find_one(query)['_id']}" if change and "missing" not in what else "scores"
    if change is None:
        database.scores.delete_one(query)
    else:
        database.scores.update_one(query, change)
    for read in (lambda: store.scores("run"), lambda: store.scores("run", iteration=10, crop="a", score="voi")):
        with pytest.raises(DamageError) as error:
            read()
        assert str(error.value) == f"{store}: {place}: {what}; `dacapo-hd validate run --iteration N` makes it again"
    assert store.scores("run", crop="b") == rows[2:]
    assert store.scores("run", score="dice") == [rows[0], rows[2]]
    assert error.value.damages[0] in list(store.damage())
    if way_out == "validate":
        store.write_scores("run", rows[:2])
        assert by_text(store.scores("run")) == by_text(rows)
    else:
        store.truncate("run", 10)
        assert by_text(store.scores("run")) == by_text([rows[0], *rows[2:]])
        assert (
            what.partition(" (")[0].removeprefix("damaged score of ") in caplog.text or "damaged score" in caplog.text
        )
    store.truncate("run", 10)
    assert list(store.damage()) == []


def test_a_damaged_checkpoint_row_is_left_out_with_a_warning_and_dropped(store, database, caplog):
    store.add_checkpoint("run", checkpoint(1))
    store.add_checkpoint("run", checkpoint(2))
    database.checkpoints.update_one({"iteration": 2}, {"$set": {"bytes": "many"}})
    place = f"checkpoints/{database.checkpoints.find_one({'iteration': 2})['_id']}"
    what = f"{store}: {place}: damaged checkpoint row (`bytes` is 'many')"
    assert store.checkpoints("run") == [checkpoint(1)]
    assert f"{what}; that checkpoint is not used" in caplog.text
    assert [f"{damage.where}: {damage.what}" for damage in store.damage()] == [what]
    store.truncate("run", 2)
    assert f"{what}; it is dropped" in caplog.text
    assert list(store.damage()) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"$set": {"config": "{"}}, "damaged run record (Expecting property name enclosed in double quotes"),
        ({"$set": {"config": "[]"}}, "damaged run record ("),
        ({"$set": {"seed": "x"}}, "damaged run record (invalid literal for int()"),
        ({"$unset": {"created": ""}}, "damaged run record (fields are missing or unknown, or of another type)"),
        ({"$set": {"git_sha": 7}}, "damaged run record (fields are missing or unknown, or of another type)"),
        ({"$set": {"schema": 0}}, "damaged run record (`schema` is 0)"),
    ],
)
def test_a_damaged_record_is_left_out_with_a_warning_and_can_be_removed(store, database, caplog, change, what):
    store.add_run(record("sound"))
    fill(store)
    database.runs.update_one({"name": "run"}, change)
    place = f"{store}: runs/{database.runs.find_one({'name': 'run'})['_id']}"
    assert store.runs() == (record("sound"),)
    assert store.names() == ("run", "sound")
    assert f"{place}: {what}" in caplog.text
    for use in (lambda: store.run("run"), lambda: store.add_run(record())):
        with pytest.raises(DamageError) as error:
            use()
        assert str(error.value).startswith(f"{place}: {what}")
    assert [f"{damage.run} {damage.where}" for damage in store.damage()] == [f"run {place}"]
    with store.lock("run"):
        store.remove_run("run")
    assert list(store.damage()) == []


def test_a_record_that_somebody_edited_is_named(store, database):
    config = '{"name": "run", "task": {"type": "HotDistance", "classes": ["mito"], "scale_nm": 80.0}}'
    database.runs.update_one({}, {"$set": {"config": config}})
    assert [damage.what for damage in store.damage()] == ["the hashes in the record are not those of its config"]


def test_a_run_of_an_older_version_reads_as_one_of_this_version(store, database):
    """There was no MongoDB store then; but documents stay as they are when the schema goes on from the present one."""
    config = {"name": "old", "trainer": {"iterations": 5}, "seed": 3}
    hashes = canonical_hash(config, without=("name",)), canonical_hash(config, without=("name", "seed"))
    store.add_run(RunRecord("old", config, *hashes, 3, "2025-01-01T00:00:00+00:00", "abc"))
    store.write_scores("old", [attrs.evolve(score(run="old"), config_hash=hashes[0], group_hash=hashes[1])])
    database.runs.update_one({"name": "old"}, {"$unset": {"schema": "", "archived": ""}})
    found = store.run("old")
    assert found.config["trainer"].keys() > config["trainer"].keys()
    assert found.config_hash == canonical_hash(found.config, without=("name",)) != hashes[0]
    assert [(row.config_hash, row.group_hash) for row in store.scores("old")] == [(found.config_hash, found.group_hash)]
    assert list(store.damage()) == []


@pytest.mark.parametrize("size", [2**24, 2**25])
def test_a_config_that_is_too_large_for_a_document_is_an_error_with_the_way_out(store, size):
    with pytest.raises(UserError) as error:
        store.add_run(record("large", text="x" * size))
    assert str(error.value) == (
        f"{store}: this needs a document of more than 16 MB, the most that MongoDB holds; use a store in a folder"
    )
    assert store.names() == ("run",)


def test_scores_of_many_iterations_in_one_write_are_replaced_one_by_one(store, database):
    """As after `store copy`."""
    store.write_scores("run", [score(iteration, crop, 0.1) for iteration in range(5) for crop in "ab"])
    for iteration in range(5):
        store.write_scores("run", [score(iteration, "a", 0.2)])
    expected = [score(iteration, crop, {"a": 0.2, "b": 0.1}[crop]) for iteration in range(5) for crop in "ab"]
    assert store.scores("run") == expected
    assert database.scores.count_documents({}) == 10
    store.truncate("run", 2)
    assert store.scores("run") == expected[:6]
    store.write_scores("run", [score(iteration, "b", 0.3) for iteration in range(3)])
    assert [row.value for row in store.scores("run")] == [0.2, 0.3] * 3
    assert database.scores.count_documents({}) == 6
    assert list(store.damage()) == []


def test_a_run_of_a_newer_version_is_not_read(store, database):
    database.runs.update_one({}, {"$set": {"schema": SCHEMA + 1}})
    with pytest.raises(UserError, match=r"written by a newer dacapo_hd .*; update this one"):
        store.run("run")
    assert store.names() == ("run",)


def test_a_lock_that_cannot_be_read_is_named(store, database):
    run_id = database.runs.find_one()["_id"]
    database.locks.insert_one({"_id": run_id, "token": "x"})
    with pytest.raises(UserError) as error:
        store.lock("run").__enter__()
    assert str(error.value) == (
        f"{store}: locks/{run_id}: damaged lock; end the process that trains the run, then remove this document"
    )


def test_there_are_indexes_for_names_and_for_scores_by_run_iteration_crop_and_score(store, database):
    indexes = {name: list(database[name].index_information().values()) for name in database.list_collection_names()}
    keys = {name: [found["key"] for found in entries] for name, entries in indexes.items()}
    assert [("name", 1)] in keys["runs"]
    assert [("run", 1), ("iteration", 1), ("crop", 1), ("score", 1)] in keys["scores"]
    assert [found.get("unique") for found in indexes["runs"] if found["key"] == [("name", 1)]] == [True]
    fill(store)
    query = {"run": "run", "iteration": 2, "crop": "a", "score": "dice"}
    plan = database.scores.find(query).explain()["queryPlanner"]["winningPlan"]
    assert plan["inputStage"]["stage"] == "IXSCAN"
    assert [found["value"] for found in database.scores.find(query)] == [0.5]
