"""The commands that list, remove and prune stored runs, with real stores of both kinds."""

import os
import pty
import subprocess
import sys

import pytest
from kept_runs import REFUSED

from dacapo_hd.evaluation.selection import best
from dacapo_hd.stores import FileStore
from dacapo_hd.stores.weights import checkpoint_file


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
