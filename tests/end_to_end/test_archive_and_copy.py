"""Archiving, copying and checking stored runs, with real stores of both kinds."""

import os

from kept_runs import REFUSED

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.stores import FileStore
from dacapo_hd.stores.weights import checkpoint_file

# so that something is segmented, however little was learnt
WHOLE = ("--parameters", "{type: Threshold, quantity: distance, threshold: -0.99}")


def archived(kept):
    return next(name for name in kept.names() if ".archived-" in name)


def test_replacing_archives_the_stored_run_which_stays_whole(tiny, config, write, dataset, dacapo_hd):
    config["trainer"] |= {"checkpoint_interval": 1, "retention": {"last": 6}, "learning_rate": 0.02}
    before = tiny.open()
    stats, checkpoints = before.stats("tiny"), before.checkpoints("tiny")

    code, _, err = dacapo_hd("train", write(config), "--quiet", *tiny.options)
    assert code == 1
    assert err == (
        "error: run 'tiny' is stored with another config; give this one another `name:`, or archive the stored one "
        "with `--replace`:\n  trainer.learning_rate: 0.01 (stored), 0.02 (given)\n"
    )
    assert tiny.names() == ["tiny"]

    code, _, err = dacapo_hd("train", write(config), "--replace", "--quiet", *tiny.options)
    old = archived(tiny)
    assert (code, err) == (0, f"tiny: the stored run has another config and is now {old!r}\n")
    assert sorted(tiny.names()) == ["tiny", old]
    store = tiny.open()
    assert store.run("tiny").config["trainer"]["learning_rate"] == 0.02
    record = store.run(old)
    assert record.archived and record.config["name"] == old and record.config["trainer"]["learning_rate"] == 0.01
    assert store.stats(old) == stats and store.checkpoints(old) == checkpoints
    assert {row.run for row in store.scores(old)} == {old}

    out = dacapo_hd("runs", *tiny.options)[1]
    assert "archived" in out and "1 archived run at the end" in out
    assert old not in dacapo_hd("compare", *tiny.options)[1]
    assert "0.01" in dacapo_hd("compare", "tiny", old, *tiny.options)[1]
    code, out, err = dacapo_hd("validate", old, "--iteration", "3", "--quiet", *tiny.options)
    assert (code, err) == (0, "") and "mito" in out
    raw = dataset / "validate" / "crop_0" / "raw"
    code, _, err = dacapo_hd("apply", old, raw, "out.zarr", *WHOLE, "--quiet", *tiny.options)
    assert (code, err) == (0, "")
    code, _, err = dacapo_hd("train", old, "--quiet", *tiny.options)
    assert (code, err) == (0, "")
    assert dacapo_hd("store", "check", *tiny.options)[0] == 0
    assert dacapo_hd("runs", "rm", old, "--yes", *tiny.options)[0] == 0
    assert tiny.names() == ["tiny"]


def test_replacing_by_an_equal_config_changes_nothing(tiny, config, write, dacapo_hd):
    config["trainer"] |= {"checkpoint_interval": 1, "retention": {"last": 6}}
    before = tiny.open().stats("tiny")
    code, _, err = dacapo_hd("train", write(config), "--replace", "--quiet", *tiny.options)
    assert (code, err) == (0, "")
    assert tiny.names() == ["tiny"] and tiny.open().stats("tiny") == before


def test_a_run_that_is_being_trained_is_not_archived(tiny, config, write, dacapo_hd):
    with tiny.open().lock("tiny"):
        code, _, err = dacapo_hd("train", write(config), "--replace", "--quiet", *tiny.options)
    assert code == 3 and err.startswith(f"error: {REFUSED}")
    assert tiny.names() == ["tiny"]


def test_nothing_is_archived_if_the_new_run_cannot_start(tiny, config, write, dacapo_hd):
    config["task"]["classes"] = ["mitto"]
    assert dacapo_hd("train", write(config), "--replace", "--quiet", *tiny.options)[0] == 1
    assert tiny.names() == ["tiny"]


def test_replacing_a_sweep_archives_the_runs_that_changed(kept, config, write, dacapo_hd):
    sweep = {
        "name": "study",
        "tasks": [config["task"]],
        "architectures": [config["architecture"]],
        "datasplits": [config["datasplit"]],
        "trainers": [{**config["trainer"], "iterations": 1}],
        "seeds": [0, 1],
    }
    assert dacapo_hd("train", write(sweep), "--quiet", *kept.options)[0] == 0
    changes = ["--set", "trainer.iterations=2", "--replace", "--quiet"]
    code, _, err = dacapo_hd("train", write(sweep), *changes, *kept.options)
    assert code == 0 and len(err.splitlines()) == 2
    names = kept.names()
    assert len(names) == 4 and sum(".archived-" in name for name in names) == 2
    # a second time within the same second as well
    changes[1] = "trainer.iterations=1"
    assert dacapo_hd("train", write(sweep), *changes, *kept.options)[0] == 0
    assert len(kept.names()) == 6


def test_a_copied_run_goes_on_and_predicts_as_the_original(tiny, dataset, dacapo_hd, trained_folder, here):
    raw = dataset / "validate" / "crop_0" / "raw"
    for number, options in enumerate((tiny.options, ["--store", trained_folder])):
        code, _, err = dacapo_hd("apply", "tiny", raw, f"{number}.zarr", *WHOLE, "--quiet", *options)
        assert (code, err) == (0, "")
    assert (ArrayRef(path="0.zarr/prediction").open().read() == ArrayRef(path="1.zarr/prediction").open().read()).all()
    store = tiny.open()
    for iteration in (5, 6):
        checkpoint_file(store.checkpoint_folder("tiny"), iteration).unlink()
    store.truncate("tiny", 4)
    code, _, err = dacapo_hd("train", "tiny", "--quiet", *tiny.options)
    assert (code, err) == (0, "")
    original = FileStore(trained_folder)
    values = [[(row.iteration, row.name, row.value) for row in one.stats("tiny")] for one in (tiny.open(), original)]
    assert values[0] == values[1]


def test_copying_back_to_where_it_came_from_moves_nothing(tiny, dacapo_hd, trained_folder):
    weights = ["--from-weights", tiny.weights] if tiny.weights else []
    code, out, err = dacapo_hd("store", "copy", tiny.address, trained_folder, *weights)
    assert (code, err) == (0, "")
    assert out == (
        f"tiny: nothing to copy, {trained_folder} has all of it\n"
        f"0 runs copied (0 bytes of weights), 1 complete in {trained_folder} before\n"
    )


def test_copying_says_what_it_copied(kept, dacapo_hd, trained_folder):
    weights = ["--to-weights", kept.weights] if kept.weights else []
    code, out, err = dacapo_hd("store", "copy", trained_folder, kept.address, "tiny", *weights)
    assert (code, err) == (0, "")
    original = FileStore(trained_folder)
    statistics, scores = len(original.stats("tiny")), len(original.scores("tiny"))
    first, last = out.splitlines()
    assert first.startswith(f"tiny: copied {statistics} statistics, {scores} scores, 6 checkpoints (")
    assert last.startswith("1 run copied (") and last.endswith(f"0 complete in {kept.open()} before")


def test_a_copy_to_a_run_that_is_being_trained_exits_with_3(tiny, dacapo_hd, trained_folder):
    weights = ["--to-weights", tiny.weights] if tiny.weights else []
    with tiny.open().lock("tiny"):
        code, _, err = dacapo_hd("store", "copy", trained_folder, tiny.address, *weights)
    assert code == 3 and err.startswith(f"error: {REFUSED}")


def test_a_damaged_checkpoint_is_found_by_check_and_by_copy(tiny, dacapo_hd, here):
    path = checkpoint_file(tiny.open().checkpoint_folder("tiny"), 6)
    data = bytearray(path.read_bytes())
    data[1000] ^= 4
    path.write_bytes(data)
    code, out, err = dacapo_hd("store", "check", *tiny.options)
    assert code == 1
    first, checked = out.splitlines()
    assert first == (
        f"tiny: {path}: damaged checkpoint: its SHA-256 differs; copy the file from a backup; otherwise `train` goes "
        "on from the checkpoint before"
    )
    assert checked.startswith(f"checked in {tiny.open()}: 1 run, ") and ", 5 sound checkpoints (" in checked
    assert err == f"error: {tiny.open()}: 1 problem found\n"
    weights = ["--from-weights", tiny.weights] if tiny.weights else []
    code, _, err = dacapo_hd("store", "copy", tiny.address, "third", *weights)
    assert (code, err) == (
        1,
        f"error: run 'tiny': {path}: damaged checkpoint (its SHA-256 differs); it was not copied, all else of the run "
        "was\n",
    )
    assert [row.iteration for row in FileStore(here / "third").checkpoints("tiny")] == [1, 2, 3, 4, 5]


def test_a_sound_store_is_said_to_be_sound_with_what_was_read(tiny, dacapo_hd):
    code, out, err = dacapo_hd("store", "check", *tiny.options)
    assert (code, err) == (0, "")
    checked, last = out.splitlines()
    assert ": 1 run, 18 statistics, " in checked and ", 6 sound checkpoints (" in checked
    assert last == "no damage found"


def test_a_damaged_checkpoint_that_is_passed_over_is_a_warning_on_stderr(tiny, dataset, dacapo_hd):
    path = checkpoint_file(tiny.open().checkpoint_folder("tiny"), 6)
    os.truncate(path, 100)
    raw = dataset / "validate" / "crop_0" / "raw"
    code, _, err = dacapo_hd(
        "apply", "tiny", raw, "out.zarr", "--iteration", "latest", *WHOLE, "--quiet", *tiny.options
    )
    assert code == 0
    assert err.startswith(f"warning: {path}: ") and "iteration 5 is used instead" in err
    assert len(err.splitlines()) == 1
