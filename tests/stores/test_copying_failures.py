"""Copying what is damaged or changes meanwhile, and copies that end early: nothing unverified counts as copied."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
from copies import copy, problems
from stored_runs import add_checkpoint, add_run, content, scores, stats, weights

from dacapo_hd.stores import FileStore
from dacapo_hd.stores.copying import Moved, copy_runs
from dacapo_hd.stores.weights import checkpoint_file, partial_file


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "its SHA-256 differs": flip_a_bit,
    "it has 100 bytes instead of 9600": lambda path: os.truncate(path, 100),
    "the file is missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_everything_else_is_copied(source, target, what):
    add_run(source)
    add_run(source, "other")
    path = checkpoint_file(source.checkpoint_folder("run"), 20)
    DAMAGE[what](path)
    message = f"run 'run': {path}: damaged checkpoint ({what}); it was not copied, all else of the run was"
    assert problems(source, target) == [message]
    assert [row.iteration for row in target.checkpoints("run")] == [10]
    assert target.stats("run") == source.stats("run")
    assert [path.name for path in target.checkpoint_folder("run").iterdir()] == ["00000010.pt"]
    assert content(target, "other") == content(source, "other")


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_in_the_target_is_copied_again(source, target, what):
    add_run(source)
    copy(source, target)
    DAMAGE[what](checkpoint_file(target.checkpoint_folder("run"), 10))
    assert copy(source, target) == {"run": Moved(0, 0, 1, len(weights(10)))}
    assert content(target) == content(source)


def test_damaged_rows_of_one_run_do_not_stop_the_others(tmp_path):
    source, target = FileStore(tmp_path / "from"), FileStore(tmp_path / "to")
    add_run(source)
    add_run(source, "sound")
    path = source.folder / "run" / "stats.jsonl"
    path.write_bytes(path.read_bytes().replace(b"loss", b"l\x00ss", 1))
    found = problems(source, target)
    assert len(found) == 1 and found[0].startswith(f"run 'run': {path}:1: damaged line")
    assert content(target, "sound") == content(source, "sound")


def test_a_damaged_record_of_one_run_does_not_stop_the_others(tmp_path):
    source, target = FileStore(tmp_path / "from"), FileStore(tmp_path / "to")
    add_run(source)
    add_run(source, "sound")
    path = source.folder / "run" / "run.yaml"
    path.write_text(path.read_text().replace("mito", "mitu"))
    found = problems(source, target)
    assert len(found) == 1 and found[0].startswith(f"run 'run': {path}: ")
    assert content(target, "sound") == content(source, "sound")
    assert target.names() == ("sound",)


def test_a_checkpoint_that_was_being_renamed_is_copied_from_where_it_is(source, target):
    add_run(source)
    folder = source.checkpoint_folder("run")
    checkpoint_file(folder, 20).rename(partial_file(folder, 20))
    copy(source, target)
    assert checkpoint_file(target.checkpoint_folder("run"), 20).read_bytes() == weights(20)


def test_a_run_that_changes_meanwhile_is_reported_and_finished_by_another_copy(source, target):
    of = add_run(source, checkpoints=(10, 20))

    def train(name, total_bytes):
        def further(count):
            if not source.scores("run", iteration=30):
                source.append_stats("run", stats(26, 30))
                source.write_scores("run", scores(of, 30))
                add_checkpoint(source, "run", 30)
                source.remove_checkpoints("run", [20])
                checkpoint_file(source.checkpoint_folder("run"), 20).unlink()

        return further

    found = [problem for outcome in copy_runs(source, target, begin=train) for problem in outcome.problems]
    assert found == [
        f"run 'run' changed in {source} while it was copied; what was there at the beginning is copied: run the same "
        "command again"
    ]
    copy(source, target)
    assert content(target)[:3] == content(source)[:3]
    assert [row.iteration for row in target.checkpoints("run")] == [10, 30]


FULL = """
    import resource, signal, sys
    from dacapo_hd.stores import FileStore
    from dacapo_hd.stores.copying import copy_runs
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
    for outcome in copy_runs(FileStore(sys.argv[1]), FileStore(sys.argv[2])):
        print(*outcome.problems)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_a_full_disk_leaves_no_half_checkpoint(tmp_path):
    source, target = FileStore(tmp_path / "from"), FileStore(tmp_path / "to")
    add_run(source)
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(source.folder), str(target.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    partial = partial_file(target.checkpoint_folder("run"), 10)
    assert done.stdout == (
        f"run 'run': cannot write {partial}: File too large; free space or give another folder with --store\n"
    )
    assert target.checkpoints("run") == [] and list(target.checkpoint_folder("run").iterdir()) == []
    copy(source, target)
    assert content(target) == content(source)


KILLED = """
    import os, signal, sys
    from dacapo_hd.stores import FileStore
    from dacapo_hd.stores.copying import copy_runs
    calls = 0
    def killed_at(place):
        def trace(frame, event, argument):
            global calls
            if event == "call" and frame.f_code.co_filename.endswith(("writing.py", "weights.py", "files.py")):
                calls += 1
                if calls == place:
                    os.kill(os.getpid(), signal.SIGKILL)
        return trace
    source, target = FileStore(sys.argv[1]), FileStore(sys.argv[2])
    sys.setprofile(killed_at(int(sys.argv[3])))
    list(copy_runs(source, target))
    sys.setprofile(None)
    print(calls)
"""


def test_a_copy_that_was_killed_anywhere_is_finished_by_another(tmp_path):
    source = FileStore(tmp_path / "from")
    add_run(source)

    def killed(target, place):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(source.folder), str(target), str(place)]
        return subprocess.run(command, capture_output=True, text=True)

    calls = int(killed(tmp_path / "whole", 0).stdout)
    for number in range(12):
        folder = tmp_path / f"to_{number}"
        assert killed(folder, 1 + number * calls // 12).returncode == -signal.SIGKILL
        folder.mkdir(exist_ok=True)
        target = FileStore(folder)
        copy(source, target)
        assert content(target) == content(source)
        assert sorted(path.name for path in target.checkpoint_folder("run").iterdir()) == ["00000010.pt", "00000020.pt"]
        shutil.rmtree(folder)
