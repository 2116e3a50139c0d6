"""Damage is found and named with its run, its place and what to do."""

import os

import attrs
import pytest
from stored_runs import add_checkpoint, add_run, scores, stats, weights

from dacapo_hd.stores import Damage, FileStore, open_store
from dacapo_hd.stores.integrity import Checked, check_store
from dacapo_hd.stores.weights import checkpoint_file, partial_file

BACKUP = "copy the file from a backup; "


@pytest.fixture(params=["files", "mongodb"])
def store(request, tmp_path):
    if request.param == "files":
        return FileStore(tmp_path / "runs")
    return open_store(request.getfixturevalue("mongodb"), tmp_path / "weights")


def damage(store):
    return list(check_store(store, Checked()))


def test_a_sound_store_has_no_damage_and_all_of_it_was_read(store):
    add_run(store)
    add_run(store, "other", checkpoints=(10,), last=10)
    checked = Checked()
    assert list(check_store(store, checked)) == []
    assert checked == Checked(2, 70, 6, 3, 2 * len(weights(10)) + len(weights(10, "other")))


def test_a_run_that_was_stored_just_now_has_no_damage(store):
    add_run(store, checkpoints=(), last=0)
    assert damage(store) == []


def test_a_checkpoint_whose_rename_was_interrupted_is_no_damage(store):
    add_run(store)
    folder = store.checkpoint_folder("run")
    checkpoint_file(folder, 20).rename(partial_file(folder, 20))
    assert damage(store) == []


def test_weights_of_schema_1_are_verified_by_the_files_beside_them(store):
    add_run(store)
    for row in store.checkpoints("run"):
        checkpoint_file(store.checkpoint_folder("run"), row.iteration).with_suffix(".sha256").write_text(row.sha256)
    store.remove_checkpoints("run", [10, 20])
    checked = Checked()
    assert list(check_store(store, checked)) == []
    assert checked.checkpoints == 2
    path = checkpoint_file(store.checkpoint_folder("run"), 10)
    path.write_bytes(b"x" * path.stat().st_size)
    assert [(found.where, found.what) for found in damage(store)] == [
        (str(path), "damaged checkpoint: its SHA-256 differs")
    ]


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda path: path.unlink(), "the file is missing"),
        (lambda path: os.truncate(path, 5), "it has 5 bytes instead of 9600"),
        (lambda path: path.write_bytes(bytes(9600)), "its SHA-256 differs"),
    ],
)
@pytest.mark.parametrize(
    ("iteration", "advice"),
    [
        (10, "training does not need it, but `apply` and `validate` may"),
        (20, "otherwise `train` goes on from the checkpoint before"),
    ],
)
def test_a_damaged_checkpoint(store, harm, what, iteration, advice):
    add_run(store)
    path = checkpoint_file(store.checkpoint_folder("run"), iteration)
    harm(path)
    checked = Checked()
    found = list(check_store(store, checked))
    assert found == [Damage("run", str(path), f"damaged checkpoint: {what}", BACKUP + advice)]
    assert checked.checkpoints == 1


@pytest.mark.parametrize(
    ("name", "what", "advice"),
    [
        ("00000005.pt", "a file of weights that the store does not list", "remove it with `dacapo-hd runs prune run`"),
        (
            "00000030.pt",
            "a file of weights that the store does not list",
            "copy 'run' from a store that is sound, or move the file away",
        ),
        (
            ".00000030.pt.partial",
            "a file of weights that the store does not list",
            "remove it with `dacapo-hd runs prune run`",
        ),
        (
            "00000015.pt.damaged",
            "a damaged checkpoint that was put aside when training went on from the one before",
            "remove it with `dacapo-hd runs prune run`",
        ),
    ],
)
def test_a_file_that_is_not_listed(store, name, what, advice):
    add_run(store)
    path = store.checkpoint_folder("run") / name
    path.write_bytes(b"weights")
    assert damage(store) == [Damage("run", str(path), what, advice)]


def test_a_file_that_training_is_writing_is_no_orphan(store):
    add_run(store)
    (store.checkpoint_folder("run") / ".00000030.pt.partial").write_bytes(b"half")
    with store.lock("run"):
        assert damage(store) == []


def test_other_files_beside_the_weights_are_nobodys_damage(store):
    add_run(store)
    (store.checkpoint_folder("run") / "notes.txt").write_text("the good one is 20")
    assert damage(store) == []


def test_a_gap_in_the_statistics(store):
    add_run(store, checkpoints=(10,), last=10)
    store.append_stats("run", stats(14, 15))
    found = damage(store)
    assert [(one.run, one.where, one.what) for one in found] == [
        ("run", "statistics", "3 of 15 iterations are missing, the first is 11")
    ]


def test_statistics_that_end_before_the_newest_checkpoint(store):
    add_run(store, checkpoints=(10,), last=10)
    add_checkpoint(store, "run", 12)
    assert [one.what for one in damage(store)] == ["2 of 12 iterations are missing, the first is 11"]


def test_statistics_that_are_there_twice(store):
    add_run(store, checkpoints=(), last=10)
    store.append_stats("run", stats(9, 10))
    assert [(one.where, one.what) for one in damage(store)] == [
        ("statistics", "4 values are there more than once, the first is learning_rate of iteration 9")
    ]


def test_scores_that_are_there_twice(store):
    of = add_run(store)
    store.write_scores("run", scores(of, 20) + scores(of, 20, 0.75))
    assert [(one.where, one.what, one.advice) for one in damage(store)] == [
        (
            "scores",
            "2 scores are there more than once, the first of crop 'crop_0' at iteration 20",
            "validate again with `dacapo-hd validate run --iteration 20`, which replaces them",
        )
    ]


def test_scores_of_another_run(tmp_path):
    store = FileStore(tmp_path / "runs")
    of = add_run(store)
    store.write_scores("run", scores(attrs.evolve(of, name="stranger"), 20))
    assert any("'stranger'" in one.what and one.run == "run" for one in damage(store))


def test_the_progress_counts_all_bytes_of_weights(store):
    add_run(store)
    seen = []

    def begin(name, total_bytes):
        seen.append((name, total_bytes))
        return seen.append

    list(check_store(store, Checked(), begin))
    assert seen[0] == ("run", 19200) and sum(seen[1:]) == 19200


def test_the_weights_of_a_run_with_a_damaged_record_are_checked_and_the_other_runs_too(tmp_path):
    store = FileStore(tmp_path / "runs")
    add_run(store)
    add_run(store, "sound")
    record = store.folder / "run" / "run.yaml"
    record.write_text(record.read_text().replace("mito", "mitu"))
    path = checkpoint_file(store.checkpoint_folder("run"), 10)
    path.unlink()
    checked = Checked()
    found = [(one.run, one.where) for one in check_store(store, checked)]
    assert found == [("run", str(record)), ("run", str(path))]
    assert (checked.runs, checked.checkpoints) == (2, 3)


def test_damaged_rows_are_named_once(tmp_path):
    store = FileStore(tmp_path / "runs")
    add_run(store)
    path = store.folder / "run" / "scores.jsonl"
    path.write_bytes(path.read_bytes().replace(b"mito", b"mitu", 1))
    assert [(one.run, one.where) for one in damage(store)] == [("run", f"{path}:1")]
