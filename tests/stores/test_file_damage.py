"""Damage in a file store is found and named."""

import threading

import attrs
import pytest
from stored_runs import add_run, record, scores, stats

from dacapo_hd.stores import Damage, FileStore
from dacapo_hd.stores.writing import locked


@pytest.fixture
def store(tmp_path):
    """A store with two runs."""
    store = FileStore(tmp_path / "runs")
    add_run(store)
    add_run(store, "other")
    return store


def damage(store):
    return list(store.damage())


def test_a_store_that_is_not_there_yet_has_none(tmp_path):
    assert damage(FileStore(tmp_path / "runs")) == []


def test_a_sound_store_has_none_also_while_it_is_used(store):
    with store.lock("run"):
        store.truncate("run", 20)
        assert damage(store) == []
    store.rename_run("run", record("new"))
    store.remove_run("other")
    assert damage(store) == []


def test_a_damaged_record(store):
    path = store.folder / "run" / "run.yaml"
    path.write_text(path.read_text().replace("mito", "er"))
    what = "damaged run record (its checksum differs: it was edited, or the disk has failed)"
    advice = "restore the file from a backup, or remove the folder"
    assert damage(store) == [Damage("run", str(path), what, advice)]


def test_a_record_in_a_folder_of_another_name(store):
    (store.folder / "run").rename(store.folder / "moved")
    assert damage(store) == [
        Damage(
            "moved",
            f"{store.folder}/moved/run.yaml",
            "the record of run 'run' lies in a folder of another name",
            "name the folder 'run' again",
        )
    ]


def test_hashes_that_are_not_those_of_the_config(store):
    store.add_run(attrs.evolve(record("odd"), config_hash="0" * 16))
    what = "the hashes in the record are not those of its config"
    assert damage(store) == [Damage("odd", f"{store.folder}/odd/run.yaml", what, "restore the file from a backup")]


@pytest.mark.parametrize("file", ["stats.jsonl", "scores.jsonl", "checkpoints.jsonl"])
def test_damaged_lines(store, file):
    path = store.folder / "run" / file
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace("1", "2"), *lines[2:], "rubbish"]) + "\n")
    advice = "remove it to go on without that row"
    assert damage(store) == [
        Damage("run", f"{path}:2", "damaged line", advice),
        Damage("run", f"{path}:{len(lines) + 1}", "damaged line", advice),
    ]


def test_a_half_written_last_line(store):
    path = store.folder / "run" / "stats.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    what = "the last line was being written when a process was killed"
    advice = "nothing that counted is lost, and the next process that writes to the file removes that line"
    assert damage(store) == [Damage("run", str(path), what, advice)]
    store.truncate("run", 25)
    assert damage(store) == []


@pytest.mark.parametrize("file", ["scores.jsonl", "checkpoints.jsonl"])
def test_a_file_that_is_written_as_a_whole_and_was_cut(store, file):
    """No killed process leaves that: something that counted is lost."""
    path = store.folder / "run" / file
    path.write_bytes(path.read_bytes()[:-5])
    number = len(path.read_text().splitlines())
    advice = "remove it to go on without that row"
    assert damage(store) == [Damage("run", f"{path}:{number}", "damaged line", advice)]
    store.truncate("run", 25)
    assert damage(store) == []


@pytest.mark.parametrize("left", ["stats.jsonl", "scores.jsonl", "checkpoints.jsonl", "checkpoints"])
def test_what_is_left_of_a_run_without_its_record(store, left):
    folder = store.folder / "run"
    (folder / left).rename(store.folder / "kept")
    store.remove_run("run")
    folder.mkdir()
    (store.folder / "kept").rename(folder / left)
    what = "rows or weights of a run without its run.yaml"
    advice = "copy that file from a backup, or remove the folder"
    assert damage(store) == [Damage("run", str(folder), what, advice)]
    assert [found.name for found in store.runs()] == ["other"]


def test_folders_and_files_of_others_are_nobodys_damage(store):
    (store.folder / "images").mkdir()
    (store.folder / "images" / "raw.zarr").mkdir()
    (store.folder / "notes.txt").write_text("the good run is `other`")
    (store.folder / ".hidden").mkdir()
    assert damage(store) == []


@pytest.mark.parametrize("file", ["run.yaml", "stats.jsonl", "scores.jsonl", "checkpoints.jsonl"])
def test_a_file_that_a_killed_process_did_not_finish(store, file):
    path = store.folder / "run" / f".{file}.partial"
    path.write_bytes(b"half")
    what = "a file that a killed process did not finish"
    assert damage(store) == [Damage("run", str(path), what, f"remove it: rm {path}")]
    assert store.run("run") == record()


def test_what_a_living_process_is_just_writing_is_none(store):
    """Such a file is there before the lock is had, and gone once it is."""
    partial = store.folder / "run" / ".scores.jsonl.partial"
    began, end = threading.Event(), threading.Event()

    def write():
        with locked(store.folder / ".run.lock"):
            partial.write_bytes(b"half")
            began.set()
            assert end.wait(60)
            partial.unlink()

    writer = threading.Thread(target=write)
    writer.start()
    assert began.wait(60)
    threading.Timer(0.2, end.set).start()
    assert damage(store) == []
    writer.join()


def test_what_a_killed_process_left_of_a_removed_run(store):
    removed = store.folder / ".run.removed-0123abcd"
    (store.folder / "run").rename(removed)
    what = "what a killed process left of a removed run"
    assert damage(store) == [Damage("run", str(removed), what, f"remove it: rm -r {removed}")]
    assert [found.name for found in store.runs()] == ["other"]


def test_all_damage_of_all_runs_is_found_at_once(store):
    (store.folder / "run" / "run.yaml").write_text("rubbish")
    (store.folder / "run" / "stats.jsonl").write_text("rubbish\n")
    (store.folder / "other" / "scores.jsonl").write_text("rubbish\nrubbish")
    assert [found.where.removeprefix(f"{store.folder}/") for found in damage(store)] == [
        "other/scores.jsonl:1",
        "other/scores.jsonl:2",
        "run/run.yaml",
        "run/stats.jsonl:1",
    ]


def test_a_renaming_that_was_interrupted_reads_as_done_and_is_finished_by_the_next_write(store):
    old, new = store.folder / "run", store.folder / "new"
    before = store.stats("run"), store.scores("run")
    store.rename_run("run", record("new"))
    finished = (new / "run.yaml").read_bytes(), (new / "scores.jsonl").read_bytes()
    # as it was just after the folder was renamed
    (new / "run.yaml").rename(new / ".run.yaml.renamed")
    other = FileStore(store.folder.parent / "before")
    add_run(other)
    for name in ("run.yaml", "scores.jsonl"):
        (other.folder / "run" / name).rename(new / name)
    assert not old.exists()
    assert damage(store) == []
    assert store.run("new") == record("new")
    assert store.stats("new") == before[0]
    assert repr(store.scores("new")) == repr([attrs.evolve(row, run="new") for row in before[1]])
    store.append_stats("new", stats(26, 26))
    assert ((new / "run.yaml").read_bytes(), (new / "scores.jsonl").read_bytes()) == finished
    assert not (new / ".run.yaml.renamed").exists()


def test_a_damaged_score_does_not_stop_a_renaming(store):
    path = store.folder / "run" / "scores.jsonl"
    path.write_text("rubbish\n" + path.read_text())
    store.rename_run("run", record("new"))
    assert [(found.run, found.where) for found in damage(store)] == [("new", f"{store.folder}/new/scores.jsonl:1")]
    store.truncate("new", 20)
    assert repr(store.scores("new")) == repr([*scores(record("new"), 10), *scores(record("new"), 20)])
