"""The commands on stored runs, with real stores of both kinds."""

import os
import pty
import subprocess
import sys

import pytest

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.evaluation.selection import best
from dacapo_hd.stores import FileStore, open_store
from dacapo_hd.stores.weights import checkpoint_file

REFUSED = "run 'tiny' is being trained by "


class Kept:
    """One store and how the command line names it."""

    def __init__(self, address, weights=None):
        self.address, self.weights = str(address), weights

    @property
    def options(self):
        return ["--store", self.address, *(["--weights", str(self.weights)] if self.weights else [])]

    def open(self):
        return open_store(self.address, self.weights)

    def names(self):
        return [record.name for record in self.open().runs()]

    def iterations(self, name="tiny"):
        return [row.iteration for row in self.open().checkpoints(name)]

    def files(self, name="tiny"):
        return sorted(path.name for path in self.open().checkpoint_folder(name).iterdir())


@pytest.fixture(params=["files", "mongodb"])
def kept(request, here):
    """An empty store."""
    if request.param == "files":
        return Kept(here / "kept")
    return Kept(request.getfixturevalue("mongodb"), here / "weights")


@pytest.fixture
def tiny(kept, trained_folder, dacapo_hd):
    """A store that holds the trained run `tiny`."""
    weights = ["--to-weights", kept.weights] if kept.weights else []
    code, _, err = dacapo_hd("store", "copy", trained_folder, kept.address, *weights, "--quiet")
    assert (code, err) == (0, "")
    return kept


def on_a_terminal(answer, *arguments):
    """Run a command on a terminal of its own, answer its question, and return its exit code and what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dacapo_hd", *arguments], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while True:
            part = os.read(ours, 1000)
            shown += part
            if b"[y/N]:" in shown and answer:
                os.write(ours, answer)
                answer = b""
    except OSError:
        # the terminal is gone with the process
        pass
    finally:
        os.close(ours)
    return process.wait(), shown.decode()


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", []), (b"n\n", ["tiny"]), (b"\n", ["tiny"])])
def test_removing_asks_and_says_what_will_be_lost(tiny, answer, left):
    scores = len(tiny.open().scores("tiny"))
    code, shown = on_a_terminal(answer, "runs", "rm", "tiny", *tiny.options)
    assert code == 0
    assert "tiny: 6 iterations, 6 checkpoints (" in shown
    assert f"{scores:,} scores" in shown
    assert shown.rstrip().endswith("removed tiny" if not left else "nothing was removed")
    assert tiny.names() == left


def test_removing_without_a_terminal_needs_yes(tiny, dacapo_hd):
    code, _, err = dacapo_hd("runs", "rm", "tiny", *tiny.options)
    message = "error: runs rm asks before it removes, and there is no terminal to ask on; give --yes\n"
    assert (code, err) == (1, message)
    assert tiny.names() == ["tiny"]
    folder = tiny.open().checkpoint_folder("tiny")
    assert dacapo_hd("runs", "rm", "tiny", "--yes", *tiny.options)[0] == 0
    assert tiny.names() == [] and not folder.exists()
    assert dacapo_hd("store", "check", *tiny.options)[0] == 0


def test_nothing_is_removed_if_a_name_is_unknown(tiny, dacapo_hd):
    code, _, err = dacapo_hd("runs", "rm", "tiny", "tini", "--yes", *tiny.options)
    assert code == 1 and "no run 'tini' in " in err and "did you mean 'tiny'?" in err
    assert tiny.names() == ["tiny"]


def test_a_run_that_is_being_trained_is_not_removed(tiny, dacapo_hd):
    with tiny.open().lock("tiny"):
        code, _, err = dacapo_hd("runs", "rm", "tiny", "--yes", *tiny.options)
    assert code == 3 and err.startswith(f"error: {REFUSED}pid {os.getpid()} on ")
    assert tiny.names() == ["tiny"]


def test_a_store_that_is_given_before_the_subcommand_is_the_one_that_counts(
    tiny, dacapo_hd, monkeypatch, trained_folder
):
    monkeypatch.setenv("DACAPO_HD_STORE", str(trained_folder))
    assert dacapo_hd("runs", *tiny.options, "rm", "tiny", "--yes")[0] == 0
    assert tiny.names() == []
    assert [record.name for record in FileStore(trained_folder).runs()] == ["tiny"]


def test_a_run_with_damaged_rows_can_be_removed(here, trained_folder, dacapo_hd):
    assert dacapo_hd("store", "copy", trained_folder, "kept")[0] == 0
    (here / "kept" / "tiny" / "stats.jsonl").write_text("nonsense\n")
    code, out, err = dacapo_hd("runs", "rm", "tiny", "--yes", "--store", "kept")
    assert (code, err) == (0, "")
    assert "  kept/tiny/stats.jsonl:1: " in out
    assert not (here / "kept" / "tiny").exists()


def best_iterations(kept, scores=None):
    rows = kept.open().scores("tiny")
    found = [best(rows, score) for score in scores or {row.score for row in rows}]
    return {one.iteration for one in found if one is not None}


@pytest.mark.parametrize(
    ("options", "newest_and_every", "scores"),
    [
        (["--last", "2"], {5, 6}, None),
        (["--last", "1", "--every", "2"], {2, 4, 6}, None),
        (["--last", "1", "--best", "dice", "--best", "voi"], {6}, ["dice", "voi"]),
    ],
)
def test_pruning_keeps_what_the_options_say(tiny, dacapo_hd, options, newest_and_every, scores):
    left = sorted(newest_and_every | best_iterations(tiny, scores))
    code, out, err = dacapo_hd("runs", "prune", *options, *tiny.options)
    assert (code, err) == (0, "")
    assert tiny.iterations() == left
    assert tiny.files() == [f"{iteration:08d}.pt" for iteration in left]
    gone = ", ".join(str(n) for n in range(1, 7) if n not in left)
    assert out.startswith(f"tiny: removed the checkpoints {gone} (") and "\nfreed " in out
    assert dacapo_hd("runs", "prune", "tiny", *options, *tiny.options)[1] == "nothing to remove\n"


def test_pruning_goes_by_the_runs_own_retention(tiny, dacapo_hd):
    assert dacapo_hd("runs", "prune", *tiny.options)[1] == "nothing to remove\n"
    assert tiny.iterations() == [1, 2, 3, 4, 5, 6]


def test_a_dry_run_removes_nothing(tiny, dacapo_hd):
    code, out, _ = dacapo_hd("runs", "prune", "--last", "1", "--dry-run", *tiny.options)
    assert code == 0 and out.startswith("tiny: would remove the checkpoints 1, 2, ") and "\nwould free " in out
    assert tiny.iterations() == [1, 2, 3, 4, 5, 6]


def test_pruning_removes_what_crashes_left_behind(tiny, dacapo_hd):
    folder = tiny.open().checkpoint_folder("tiny")
    for name in (".00000007.pt.partial", "00000004.pt.damaged"):
        (folder / name).write_bytes(bytes(1000))
    (folder / "notes.txt").write_text("mine")
    assert dacapo_hd("store", "check", *tiny.options)[0] == 1
    code, out, _ = dacapo_hd("runs", "prune", "tiny", *tiny.options)
    files = ".00000007.pt.partial, 00000004.pt.damaged"
    assert (code, out) == (
        0,
        f"tiny: removed the files {files}, which no checkpoint needs (2.0 kB)\nfreed 2.0 kB\n",
    )
    assert tiny.files() == [*(f"{iteration:08d}.pt" for iteration in range(1, 7)), "notes.txt"]
    assert dacapo_hd("store", "check", *tiny.options)[0] == 0


def test_weights_that_the_list_has_lost_are_not_pruned(tiny, dacapo_hd):
    store = tiny.open()
    store.remove_checkpoints("tiny", [5, 6])
    path = checkpoint_file(store.checkpoint_folder("tiny"), 6)
    code, _, err = dacapo_hd("runs", "prune", "--last", "1", *tiny.options)
    assert (code, err) == (
        1,
        f"error: run 'tiny': the store does not list {path}, so nothing was removed; see `dacapo-hd store check`\n",
    )
    assert len(tiny.files()) == 6


def test_pruning_never_removes_the_last_sound_checkpoints(tiny, dacapo_hd):
    folder = tiny.open().checkpoint_folder("tiny")
    for iteration in (5, 6):
        os.truncate(checkpoint_file(folder, iteration), 10)
    assert dacapo_hd("runs", "prune", "--last", "1", "--best", "voi", *tiny.options)[0] == 0
    assert {4, 5, 6} <= set(tiny.iterations())


def test_a_run_that_is_being_trained_is_not_pruned_but_the_others_are(tiny, dacapo_hd):
    store = tiny.open()
    with store.lock("tiny"):
        code, out, err = dacapo_hd("runs", "prune", "--last", "1", *tiny.options)
    assert code == 3 and err.startswith(f"error: {REFUSED}") and out == ""
    assert tiny.iterations() == [1, 2, 3, 4, 5, 6]


def test_an_unknown_score_is_refused_before_anything_is_removed(tiny, dacapo_hd):
    code, out, err = dacapo_hd("runs", "prune", "--last", "1", "--best", "dise", *tiny.options)
    assert (code, out, err) == (1, "", "error: unknown score 'dise'; did you mean 'dice'?\n")
    assert len(tiny.files()) == 6


def test_the_list_of_runs_reads_no_statistics(here, trained_folder, dacapo_hd):
    assert dacapo_hd("store", "copy", trained_folder, "kept")[0] == 0
    path = here / "kept" / "tiny" / "stats.jsonl"
    path.write_text("nonsense that nobody may read\n" + path.read_text())
    (here / "kept" / "tiny" / "scores.jsonl").write_text("nonsense that nobody may read\n")
    code, out, err = dacapo_hd("runs", "--store", "kept")
    assert (code, err) == (0, "")
    assert "tiny" in out and "HotDistance" in out and "6/6" in out and "6 (" in out


def test_the_list_of_runs_names_damage_and_goes_on(here, trained_folder, dacapo_hd):
    assert dacapo_hd("store", "copy", trained_folder, "kept")[0] == 0
    (here / "kept" / "tiny" / "stats.jsonl").write_text("nonsense\n")
    code, out, err = dacapo_hd("runs", "--store", "kept")
    assert code == 0 and "?/6" in out
    assert err.startswith("warning: kept/tiny/stats.jsonl:1: damaged line") and len(err.splitlines()) == 1


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
    code, _, err = dacapo_hd("apply", old, raw, "out.zarr", "--quiet", *tiny.options)
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
        code, _, err = dacapo_hd("apply", "tiny", raw, f"{number}.zarr", "--quiet", *options)
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
    code, _, err = dacapo_hd("apply", "tiny", raw, "out.zarr", "--iteration", "latest", "--quiet", *tiny.options)
    assert code == 0
    assert err.startswith(f"warning: {path}: ") and "iteration 5 is used instead" in err
    assert len(err.splitlines()) == 1
