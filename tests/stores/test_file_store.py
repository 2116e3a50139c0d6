"""The file store: what goes in comes out, damage is named, and a failure in between leaves the old content."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import zlib
from pathlib import Path

import attrs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_runs import add_run, content, record, stats

from dacapo_hd.errors import UserError
from dacapo_hd.stores import CheckpointRow, FileStore, ScoreRow, StatRow, writing
from dacapo_hd.stores.base import DamageError
from dacapo_hd.stores.jsonl import encode, read_rows, truncated


def score(iteration=10, crop="a", value=0.5, score="dice"):
    return ScoreRow("run", "aaaa", "bbbb", 0, iteration, crop, "{}", "mito", score, value, "abc")


def checkpoint(iteration):
    return CheckpointRow(iteration, "0" * 64, 123, "2026-01-01T00:00:00+00:00")


@pytest.fixture
def store(tmp_path):
    """A store with one run."""
    store = FileStore(tmp_path / "runs")
    store.add_run(record())
    return store


def file(store, name):
    return store.folder / "run" / name


class TestRecord:
    def test_people_can_read_it(self, store):
        lines = file(store, "run.yaml").read_text().splitlines()
        assert lines[:4] == ["schema: 2", "name: run", "config:", "  name: run"]
        assert re.fullmatch("sha256: [0-9a-f]{64}", lines[-1])
        assert yaml.safe_load("\n".join(lines))["config"] == record().config

    @pytest.mark.parametrize(
        ("harm", "what"),
        [
            (lambda text: text.replace("scale_nm: 40", "scale_nm: 41"), "its checksum differs: it was edited"),
            (lambda text: text.replace("schema: 2", "schema: 3"), "its checksum differs: it was edited"),
            (lambda text: text[: text.index("sha256")], "its end with the checksum is missing"),
            (lambda text: text[:-1], "its end with the checksum is missing"),
            (lambda text: text[:40], "its end with the checksum is missing"),
            (lambda text: text.replace("sha256", "sha257"), "its end with the checksum is missing"),
            (lambda text: "", "fields are missing or unknown"),
            (lambda text: "name: run\nconfig: {}\n", "fields are missing or unknown"),
            (lambda text: "[1, 2]", "fields are missing or unknown"),
            (lambda text: "{{{", "is not YAML of plain values"),
            (lambda text: "\x00\x01", "is not YAML of plain values"),
            (lambda text: "[" * 100_000, "is not YAML of plain values"),
            (lambda text: "- " * 5_000, "is not YAML of plain values"),
            (lambda text: "{a: " * 5_000 + "}" * 5_000, "is not YAML of plain values"),
        ],
    )
    def test_a_damaged_one_is_named_and_never_replaced(self, store, harm, what):
        path = file(store, "run.yaml")
        path.write_text(harm(path.read_text()))
        before = path.read_bytes()
        for operation in (lambda: store.run("run"), lambda: store.add_run(record())):
            with pytest.raises(DamageError) as error:
                operation()
            assert str(error.value).startswith(f"{path}: damaged run record ({what}")
            assert str(error.value).endswith("); restore the file from a backup, or remove the folder")
        assert path.read_bytes() == before

    def test_every_flipped_bit_is_seen(self, store):
        path = file(store, "run.yaml")
        sound = path.read_bytes()
        for place in range(0, len(sound), 7):
            harmed = bytearray(sound)
            harmed[place] ^= 1 << place % 8
            path.write_bytes(harmed)
            with pytest.raises(DamageError):
                store.run("run")

    def test_a_damaged_one_does_not_hide_the_others(self, store, caplog):
        store.add_run(record("other"))
        file(store, "run.yaml").write_text("rubbish")
        assert [found.name for found in store.runs()] == ["other"]
        assert [entry.getMessage().partition(":")[0] for entry in caplog.records] == [str(file(store, "run.yaml"))]

    def test_one_under_the_name_of_another_is_named(self, store):
        (store.folder / "run").rename(store.folder / "moved")
        with pytest.raises(DamageError) as error:
            store.run("moved")
        path = store.folder / "moved" / "run.yaml"
        assert str(error.value) == (
            f"{path}: the record of run 'run' lies in a folder of another name; name the folder 'run' again"
        )

    @pytest.mark.parametrize("name", ["../run", "/run", ".", "..", "", "a/b", ".hidden"])
    def test_a_path_is_no_name(self, store, name):
        with pytest.raises(UserError, match="not the name of a folder"):
            store.add_run(record(name))
        with pytest.raises(UserError, match="not the name of a folder"):
            store.rename_run("run", record(name))
        with pytest.raises(UserError, match="no run "):
            store.remove_run(name)
        assert [path.name for path in store.folder.parent.iterdir()] == ["runs"]
        assert store.run("run") == record()


ATTACKS = [
    "!!python/object/apply:os.system ['touch {}']",
    "!!python/object/new:os.system ['touch {}']",
    "!!python/object/apply:subprocess.check_call [[touch, '{}']]",
    '!!python/object/apply:builtins.exec [\'open("{}", "w")\']',
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_malicious_record_does_not_run_code(store, tmp_path, attack):
    path, mark = file(store, "run.yaml"), tmp_path / "attacked"
    lines = path.read_text().splitlines(keepends=True)[1:-1]
    text = "".join(
        ["archived: " + attack.format(mark) + "\n" if line.startswith("archived") else line for line in lines]
    )
    assert str(mark) in text
    for harmful in (
        text,
        attack.format(mark),
        f"{text}sha256: {hashlib.sha256(text.encode()).hexdigest()}\n",
    ):
        path.write_text(harmful)
        with pytest.raises(DamageError, match="is not YAML of plain values"):
            store.run("run")
        assert store.runs() == ()
        assert len(list(store.damage())) == 1
        with pytest.raises(UserError):
            store.scores("run")
    assert not mark.exists()


class TestLines:
    def test_each_has_the_checksum_of_what_is_before_it(self, store):
        store.append_stats("run", [StatRow(1, "loss", 0.25, 0.5)])
        line = file(store, "stats.jsonl").read_text()
        text = '{"iteration": 1, "name": "loss", "value": 0.25, "seconds": 0.5}'
        assert line == f'{text[:-1]}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'
        assert json.loads(line)["iteration"] == 1

    def test_every_flipped_bit_is_seen(self, store):
        rows = [score(10, 'a", "crc": "00000000'), score(20)]
        store.write_scores("run", rows)
        assert store.scores("run") == rows
        path = file(store, "scores.jsonl")
        sound = path.read_bytes()
        for place in range(len(sound)):
            harmed = bytearray(sound)
            harmed[place] ^= 1 << place % 8
            path.write_bytes(harmed)
            with pytest.raises(DamageError):
                store.scores("run")

    def test_every_cut_within_one_is_seen_where_none_is_appended(self, store, caplog):
        store.write_scores("run", [score(10), score(20)])
        path = file(store, "scores.jsonl")
        sound = path.read_bytes()
        first = sound.index(b"\n") + 1
        for end in {*range(1, len(sound) - 1)} - {first - 1, first}:
            path.write_bytes(sound[:end])
            with pytest.raises(DamageError, match=f":{1 + (end > first)}: damaged line"):
                store.scores("run")
        for end in (first - 1, len(sound) - 1):
            # all that counts is there
            path.write_bytes(sound[:end])
            assert store.scores("run") == [score(10), score(20)][: 1 + (end > first)]

    def test_a_half_written_last_one_does_not_count(self, store):
        store.append_stats("run", stats(1, 2))
        whole = file(store, "stats.jsonl").read_bytes()
        before = whole[: whole[:-1].rindex(b"\n") + 1]
        for end in range(len(before), len(whole)):
            file(store, "stats.jsonl").write_bytes(whole[:end])
            assert store.stats("run") == stats(1, 2)[:-1]
            assert store.newest_iteration("run") == 2

    def test_a_half_written_last_one_is_cut_off_by_the_next_append(self, store):
        store.append_stats("run", stats(1, 2))
        path = file(store, "stats.jsonl")
        path.write_bytes(path.read_bytes()[:-10])
        store.append_stats("run", stats(3, 3))
        assert store.stats("run") == [*stats(1, 2)[:-1], *stats(3, 3)]

    def test_a_file_of_a_half_written_line_alone_begins_anew(self, store):
        file(store, "stats.jsonl").write_bytes(b'{"iter' * 100_000)
        assert store.stats("run") == []
        assert store.newest_iteration("run") == 0
        store.append_stats("run", stats(1, 1))
        assert store.stats("run") == stats(1, 1)

    @pytest.mark.parametrize("damaged", ["rubbish", "", "[1]", '{"iteration": 1}', "\x00" * 100, "[" * 100_000])
    def test_a_damaged_one_is_named(self, store, damaged):
        store.append_stats("run", stats(1, 2))
        path = file(store, "stats.jsonl")
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], damaged, *lines[1:], damaged]) + "\n")
        with pytest.raises(DamageError) as error:
            store.stats("run")
        way_out = "damaged line; remove it to go on without that row"
        assert error.value.problems == (f"{path}:2: {way_out}", f"{path}:6: {way_out}")

    def test_of_many_damaged_ones_the_first_are_named(self, store):
        file(store, "stats.jsonl").write_text("rubbish\n" * 1000)
        with pytest.raises(DamageError) as error:
            store.stats("run")
        assert len(error.value.problems) == 10

    def test_a_resumed_run_drops_damaged_ones_with_a_warning(self, store, caplog):
        add_run(store, checkpoints=(10, 20), last=21)
        before = store.stats("run"), store.scores("run"), store.checkpoints("run")
        for name in ("stats.jsonl", "scores.jsonl", "checkpoints.jsonl"):
            path = file(store, name)
            lines = path.read_text().splitlines()
            path.write_text("\n".join([lines[0].replace("0", "1"), *lines[1:]]) + "\n")
        store.truncate("run", 20)
        assert [entry.getMessage() for entry in caplog.records] == [
            f"{file(store, name)}:1: damaged line; it is dropped"
            for name in ("stats.jsonl", "scores.jsonl", "checkpoints.jsonl")
        ]
        assert store.stats("run") == [row for row in before[0][1:] if row.iteration <= 20]
        assert repr(store.scores("run")) == repr(before[1][1:])
        assert store.checkpoints("run") == before[2][1:]
        assert list(store.damage()) == []

    def test_a_damaged_checkpoint_row_leaves_the_others(self, store, caplog):
        for iteration in (10, 20, 30):
            store.add_checkpoint("run", checkpoint(iteration))
        path = file(store, "checkpoints.jsonl")
        path.write_text(path.read_text().replace('"iteration": 30', '"iteration": 31'))
        assert [row.iteration for row in store.checkpoints("run")] == [10, 20]
        assert caplog.messages == [f"{path}:3: damaged line; that checkpoint is not used"]
        store.add_checkpoint("run", checkpoint(40))
        assert [row.iteration for row in store.checkpoints("run")] == [10, 20, 40]

    def test_a_resume_where_nothing_is_later_rewrites_nothing(self, store):
        add_run(store, checkpoints=(10, 20), last=20)
        before = {path.name: path.stat().st_ino for path in file(store, "").iterdir()}
        store.truncate("run", 20)
        assert {path.name: path.stat().st_ino for path in file(store, "").iterdir()} == before

    @settings(deadline=None)
    @given(
        st.lists(
            st.builds(
                StatRow,
                iteration=st.integers(0, 2**70),
                name=st.text(),
                value=st.floats(allow_nan=True),
                seconds=st.floats(0, 1e9),
            )
        )
    )
    def test_any_rows_come_back(self, tmp_path_factory, rows):
        path = tmp_path_factory.getbasetemp() / "any.jsonl"
        path.write_bytes(encode(rows))
        assert repr(read_rows(path, StatRow)) == repr(rows)


def test_the_newest_iteration_is_read_from_the_end_alone(store):
    store.append_stats("run", stats(1, 3))
    path = file(store, "stats.jsonl")
    path.write_text("rubbish\n" + path.read_text())
    assert store.newest_iteration("run") == 3
    path.write_text(path.read_text() + "rubbish\n")
    with pytest.raises(DamageError):
        store.newest_iteration("run")


def test_appending_does_not_read_what_is_there(store):
    path = file(store, "stats.jsonl")
    with path.open("wb") as opened:
        opened.truncate(1 << 40)
        opened.seek(0, os.SEEK_END)
        opened.write(b"\n")
    store.append_stats("run", stats(1, 1))
    assert store.newest_iteration("run") == 1


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


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            ScoreRow,
            iteration=st.integers(0, 20),
            crop=st.text() | st.just('"iteration": 99,') | st.just('\\", "iteration": 99, "'),
            segmenter=st.just('{"iteration": 99}'),
            value=st.floats(),
            **{name: st.just("x") for name in ("run", "config_hash", "group_hash", "class_name", "score", "git_sha")},
            seed=st.integers(),
        )
    )
)
def test_a_truncation_keeps_the_lines_of_earlier_iterations(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "truncated.jsonl"
    path.write_bytes(encode(rows))
    expected = [row for row in rows if row.iteration <= 10]
    assert truncated(path, ScoreRow, 10) == (encode(expected), [])
    # as schema 1 wrote it
    path.write_text("".join(json.dumps(attrs.asdict(row)) + "\n" for row in rows))
    data, damaged = truncated(path, ScoreRow, 10)
    assert data.decode() == "".join(json.dumps(attrs.asdict(row)) + "\n" for row in expected)
    assert damaged == []
