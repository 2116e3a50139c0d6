"""A file store that cannot be read or written: a failure in between leaves the old content."""

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from stored_runs import add_run, content, file, record, stats

from dacapo_hd.errors import UserError
from dacapo_hd.stores import FileStore, writing


class TestFailures:
    def test_a_folder_that_cannot_be_made_is_an_error_with_the_way_out(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(UserError) as error:
            FileStore(tmp_path / "file" / "runs").add_run(record())
        assert str(error.value) == (
            f"cannot write {tmp_path}/file/runs: Not a directory; free space or give another folder with --store"
        )

    def test_a_process_that_never_ends_its_write_is_not_waited_for_forever(self, store, monkeypatch):
        monkeypatch.setattr(writing, "LOCK_SECONDS", 0.05)
        lock = store.folder / ".run.lock"
        with writing.locked(lock), pytest.raises(UserError) as error:
            store.append_stats("run", stats(1, 1))
        assert str(error.value) == f"another process has held {lock} for 0.05 s; end that process"
        assert store.stats("run") == []

    @pytest.mark.parametrize("name", ["stats.jsonl", "scores.jsonl", "checkpoints.jsonl"])
    def test_a_file_that_cannot_be_read_is_named(self, store, name):
        file(store, name).mkdir()
        read = {"stats.jsonl": store.stats, "scores.jsonl": store.scores, "checkpoints.jsonl": store.checkpoints}[name]
        with pytest.raises(UserError) as error:
            read("run")
        path = file(store, name)
        assert str(error.value) == f"cannot read {path}: Is a directory; make it readable, or copy it from a backup"
        assert [found.what for found in store.damage()] == [f"cannot read {path}: Is a directory"]


FULL_DISK = """
    import resource, signal, sys
    import attrs
    sys.path.insert(0, sys.argv[2])
    from stored_runs import record, scores, stats
    from dacapo_hd.errors import UserError
    from dacapo_hd.stores import CheckpointRow, FileStore
    store = FileStore(sys.argv[1])
    of = record()
    store.add_run(of)
    store.write_scores("run", scores(of, 10))
    store.append_stats("run", stats(1, 1))
    store.add_checkpoint("run", CheckpointRow(10, "0" * 64, 1, "now"))
    before = repr([store.run("run"), store.scores("run"), store.stats("run"), store.checkpoints("run")])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    large = attrs.evolve(record("large"), config={"crops": ["x" * 100] * 100})
    for write in (
        lambda: store.write_scores("run", scores(of, 10) * 100),
        lambda: store.append_stats("run", stats(2, 100)),
        lambda: store.add_run(large),
        lambda: store.rename_run("run", large),
        lambda: [store.add_checkpoint("run", CheckpointRow(n, "0" * 64, 1, "now")) for n in range(100)],
    ):
        try:
            write()
        except UserError as error:
            print(error)
    store.truncate("run", 10)
    store.remove_checkpoints("run", range(10))
    assert repr([store.run("run"), store.scores("run"), store.stats("run"), store.checkpoints("run")]) == before
    print([path.name for path in sorted(store.folder.rglob("*")) if path.is_file()])
    print(list(store.damage()), [record.name for record in store.runs()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_a_write_that_runs_out_of_space_leaves_the_previous_state(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    *errors, files, damage = found.stdout.splitlines()
    paths = ["run/scores.jsonl", "run/stats.jsonl", "large/run.yaml", "run/.run.yaml.renamed", "run/checkpoints.jsonl"]
    assert errors == [
        f"cannot write {tmp_path}/{path}: File too large; free space or give another folder with --store"
        for path in paths
    ]
    assert files == "['.large.lock', '.run.lock', 'checkpoints.jsonl', 'run.yaml', 'scores.jsonl', 'stats.jsonl']"
    assert damage == "[] ['run']"


READ_ONLY = """
    import os, sys
    sys.path.insert(0, sys.argv[2])
    from stored_runs import record, scores, stats
    from dacapo_hd.errors import UserError
    from dacapo_hd.stores import CheckpointRow, FileStore
    if os.getuid() == 0:
        # nothing is forbidden to root; this is "nobody"
        os.setgid(65534)
        os.setuid(65534)
    store = FileStore(sys.argv[1])
    of = record()
    print(len(store.runs()), len(store.stats("run")), len(store.scores("run")), len(store.checkpoints("run")))
    print(list(store.damage()))
    for write in (
        lambda: store.add_run(record("new")),
        lambda: store.write_scores("run", scores(of, 10)),
        lambda: store.append_stats("run", stats(2, 100)),
        lambda: store.add_checkpoint("run", CheckpointRow(10, "0" * 64, 1, "now")),
        lambda: store.truncate("run", 0),
        lambda: store.rename_run("run", record("new")),
        lambda: store.remove_run("run"),
        lambda: store.lock("run").__enter__(),
    ):
        try:
            write()
            print("written")
        except UserError as error:
            print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of folders")
@pytest.mark.parametrize("locks", ["there", "missing"])
def test_a_read_only_store_can_be_read_and_what_cannot_be_written_is_named(tmp_path, locks):
    # other users may not enter the folder of pytest
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs"
        store = FileStore(folder)
        add_run(store)
        with store.lock("run"):
            pass
        before = content(store)
        if locks == "missing":
            (folder / ".run.lock").unlink()
        else:
            (folder / ".new.lock").touch()
            for path in folder.glob(".*.lock"):
                path.chmod(0o666)
        folders = [Path(place), folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".lock":
                path.chmod(0o444)
        found = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(READ_ONLY), str(folder), str(Path(__file__).parent)],
            capture_output=True,
            text=True,
            check=False,
        )
        for path in folders:
            path.chmod(0o755)
        assert found.returncode == 0, found.stderr
        assert content(store) == before
        counts, damage, *errors = found.stdout.splitlines()
    assert (counts, damage) == ("1 50 4 2", "[]")
    if locks == "missing":
        paths = [".new.lock", *[".run.lock"] * 4, ".new.lock", ".run.lock"]
        expected = [f"cannot write {folder}/{path}: Permission denied" for path in paths]
    else:
        files = ["new/run.yaml", "run/scores.jsonl", "run/stats.jsonl", "run/checkpoints.jsonl", "run/stats.jsonl"]
        paths = [folder / file for file in (*files, "run/.run.yaml.renamed")]
        expected = [f"cannot write {path}: Permission denied" for path in paths]
        expected.append(f"cannot remove {folder}/run: Permission denied")
    expected.append(f"cannot write {folder}/run/.lease/3: Permission denied")
    assert len(errors) == len(expected)
    for error, beginning in zip(errors, expected, strict=True):
        assert error in (f"{beginning}; get the right to do so or give another folder with --store", beginning)
