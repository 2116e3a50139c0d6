"""The file store: what goes in comes out, and a failure in between leaves the old content."""

import subprocess
import sys
import textwrap
from pathlib import Path

import attrs
import pytest

from dacapo_hd.errors import UserError
from dacapo_hd.stores import FileStore, RunRecord, ScoreRow, StatRow


def record(name="run", scale=50.0, config_hash="aaaa"):
    config = {"task": {"type": "HotDistance", "classes": ["mito"], "scale_nm": scale}}
    return RunRecord(name, config, config_hash, "bbbb", 0, "2026-01-01T00:00:00", "abc")


def score(iteration=10, crop="a", value=0.5, score="dice"):
    return ScoreRow("run", "aaaa", "bbbb", 0, iteration, crop, "{}", "mito", score, value, "abc")


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "runs")


def test_a_run_comes_back_as_it_was_stored(store):
    store.add_run(record())
    assert store.run("run") == record()
    assert store.runs() == (record(),)


def test_storing_the_same_run_again_changes_nothing(store):
    store.add_run(record())
    store.add_run(attrs.evolve(record(), created="2027-01-01T00:00:00"))
    assert store.run("run").created == "2026-01-01T00:00:00"


def test_another_config_under_the_same_name_is_refused_with_the_difference(store):
    store.add_run(record())
    with pytest.raises(UserError) as error:
        store.add_run(record(scale=80.0, config_hash="cccc"))
    assert str(error.value) == (
        "run 'run' is stored with another config (task.scale_nm: 50.0 -> 80.0); give this one another `name:`"
    )


def test_an_unknown_name_suggests_a_near_one(store):
    store.add_run(record("mito_hot"))
    with pytest.raises(UserError) as error:
        store.run("mito_hit")
    assert str(error.value) == (
        f"no run 'mito_hit' in {store.folder}; did you mean 'mito_hot'?; `dacapo-hd runs` lists them"
    )


def test_an_unknown_name_in_an_empty_store(store):
    with pytest.raises(UserError, match="has no runs; train one with `dacapo-hd train FILE`"):
        store.run("mito")


def test_statistics_keep_their_order_and_nan(store):
    rows = [StatRow(1, "loss", 0.1, 0.5), StatRow(2, "loss", 1e-30, 1.0)]
    store.append_stats("run", rows[:1])
    store.append_stats("run", rows[1:])
    assert store.stats("run") == rows


def test_scores_of_the_same_iteration_and_crop_are_replaced(store):
    store.write_scores("run", [score(10, "a", 0.1), score(10, "b", 0.2), score(20, "a", 0.3)])
    store.write_scores("run", [score(10, "a", 0.9)])
    assert sorted((row.iteration, row.crop, row.value) for row in store.scores("run")) == [
        (10, "a", 0.9),
        (10, "b", 0.2),
        (20, "a", 0.3),
    ]


def test_truncation_forgets_what_is_later(store):
    store.append_stats("run", [StatRow(i, "loss", 0.0, 0.0) for i in (1, 2, 3)])
    store.write_scores("run", [score(1), score(3)])
    store.truncate("run", 2)
    assert [row.iteration for row in store.stats("run")] == [1, 2]
    assert [row.iteration for row in store.scores("run")] == [1]


def test_a_half_written_last_line_does_not_count(store):
    store.append_stats("run", [StatRow(1, "loss", 0.0, 0.0)])
    path = store.folder / "run" / "stats.jsonl"
    path.write_bytes(path.read_bytes() + b'{"iteration": 2, "na')
    assert store.stats("run") == [StatRow(1, "loss", 0.0, 0.0)]


def test_a_damaged_line_in_the_middle_is_named(store):
    store.append_stats("run", [StatRow(1, "loss", 0.0, 0.0), StatRow(2, "loss", 0.0, 0.0)])
    path = store.folder / "run" / "stats.jsonl"
    path.write_text("rubbish\n" + path.read_text())
    with pytest.raises(UserError) as error:
        store.stats("run")
    assert str(error.value) == f"{path}:1: damaged line; remove it to go on without that row"


def test_a_folder_that_cannot_be_made_is_an_error_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as error:
        FileStore(tmp_path / "file" / "runs").add_run(record())
    path = tmp_path / "file" / "runs" / "run" / "run.yaml"
    assert str(error.value) == (f"cannot write {path}: Not a directory; free space or give another folder with --store")


FULL_DISK = """
    import resource, signal, sys
    from dacapo_hd.errors import UserError
    from dacapo_hd.stores import FileStore, ScoreRow, StatRow
    store = FileStore(sys.argv[1])
    row = ScoreRow("run", "a", "b", 0, 10, "a", "{}", "mito", "dice", 0.5, "abc")
    stat = StatRow(1, "loss", 0.0, 0.0)
    store.write_scores("run", [row])
    store.append_stats("run", [stat])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for write in (
        lambda: store.write_scores("run", [row] * 100),
        lambda: store.append_stats("run", [stat] * 100),
    ):
        try:
            write()
        except UserError as error:
            print(error)
    assert store.scores("run") == [row], store.scores("run")
    assert store.stats("run") == [stat], store.stats("run")
    print(sorted(p.name for p in (store.folder / "run").iterdir()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_a_write_that_runs_out_of_space_leaves_the_previous_state(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    scores, stats, files = found.stdout.splitlines()
    assert scores.startswith(f"cannot write {tmp_path}/run/scores.jsonl: File too large; free space")
    assert stats.startswith(f"cannot write {tmp_path}/run/stats.jsonl: File too large; free space")
    assert files == "['.scores.lock', 'scores.jsonl', 'stats.jsonl']"


HOLD = """
    import sys, time
    from dacapo_hd.stores import FileStore
    with FileStore(sys.argv[1]).lock("run"):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_run_is_trained_by_one_process_at_a_time(store):
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(store.folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="run 'run' is being trained by another process"), store.lock("run"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with store.lock("run"):
        assert Path(store.folder, "run").is_dir()
