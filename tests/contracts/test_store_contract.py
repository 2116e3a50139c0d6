"""What every store must keep to: each test runs against the file store and a MongoDB server."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import textwrap
import threading

import attrs
import pytest
from store_rows import by_text, checkpoint, record, score, segments, stat

from dacapo_hd.errors import UserError
from dacapo_hd.stores import HeldError, ScoreRow, StatRow, open_store

AWKWARD = ["crop.1", "$crop", "a.b$c", "größe", "脳 1", "with blank", "quote'\"", "", "back\\slash", "line\nbreak"]


@pytest.fixture(params=["files", "mongodb"])
def place(request, tmp_path):
    """What `open_store` takes."""
    if request.param == "files":
        return str(tmp_path / "runs"), None
    return request.getfixturevalue("mongodb"), str(tmp_path / "weights")


@pytest.fixture
def store(place):
    return open_store(*place)


@pytest.fixture
def stored(store):
    """A store with one run."""
    store.add_run(record())
    return store


def start(code, place, *arguments):
    """Start another process with `store` open."""
    script = "import sys; from dacapo_hd.stores import *; store = open_store(sys.argv[1], sys.argv[2] or None)\n"
    given = [place[0], place[1] or "", *map(str, arguments)]
    return subprocess.Popen(
        [sys.executable, "-c", script + textwrap.dedent(code), *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


CROWD = """
    import multiprocessing
    import os
    import sys
    from dacapo_hd.config import canonical_hash
    from dacapo_hd.stores import *
    from dacapo_hd.stores import mongo

    def say(word):
        os.write(1, f"{word}\\n".encode())  # in one piece

    def child(number, barrier):
        store = open_store(sys.argv[1], sys.argv[2] or None)
        barrier.wait()
        work(store, number, barrier)

    if __name__ == "__main__":
        # from a process without threads a fork is safe, and quick
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(int(sys.argv[3]))
        children = [context.Process(target=child, args=(number, barrier)) for number in range(int(sys.argv[3]))]
        for process in children:
            process.start()
        for process in children:
            process.join()
        sys.exit(any(process.exitcode for process in children))
"""


def crowd(work, place, processes):
    """Run `def work(store, number, barrier)` in many processes at once; returns the lines that they printed."""
    script = textwrap.dedent(work) + textwrap.dedent(CROWD)
    command = [sys.executable, "-c", script, place[0], place[1] or "", str(processes)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def finish(process):
    """Wait for a process that `start` started; returns what it printed."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


class TestRuns:
    def test_a_run_comes_back_as_it_was_stored(self, store):
        store.add_run(record())
        assert store.run("run") == record()
        assert store.runs() == (record(),)

    def test_a_store_without_runs_has_none(self, store):
        assert store.runs() == ()

    def test_runs_are_sorted_by_name(self, store):
        for name in ("b", "B", "a-2", "a.10", "a"):
            store.add_run(record(name))
        assert [found.name for found in store.runs()] == sorted(["b", "B", "a-2", "a.10", "a"])

    def test_storing_the_same_run_again_changes_nothing(self, stored):
        stored.append_stats("run", [stat(1)])
        stored.add_run(attrs.evolve(record(), created="2027-01-01T00:00:00+00:00"))
        assert stored.runs() == (record(),)
        assert stored.stats("run") == [stat(1)]

    def test_another_config_is_refused_with_the_difference(self, stored):
        task = {"type": "HotDistance", "classes": ["mito"], "scale_nm": 80.0}
        with pytest.raises(UserError) as error:
            stored.add_run(record(task=task))
        assert error.value.problems == (
            "run 'run' is stored with another config; give this one another `name:`, or archive the stored one with "
            "`--replace`:",
            "  task.scale_nm: 50.0 (stored), 80.0 (given)",
        )
        assert stored.runs() == (record(),)

    def test_configs_keep_types_and_awkward_names(self, store):
        config = {
            "float": 1.0,
            "int": 1,
            "big": 2**70,
            "tiny": 1e-300,
            "true": True,
            "none": None,
            "empty": {"list": [], "dict": {}, "text": ""},
            "nested": [[1, 2.0], [{"a": [None]}]],
            "text of a number": "1e-4",
            "text of a boolean": "no",
            "text of a date": "2026-01-01",
            "names": {name: name for name in [*AWKWARD, "_id", "$set", "a..b", ".", "true", "null", "1"]},
        }
        store.add_run(record(config=config))
        found = store.run("run").config["config"]
        assert found == config
        assert repr(found) == repr(config)

    def test_large_configs_and_seeds_are_stored(self, store):
        crops = [{"name": f"crop {number}", "path": "x" * 100, "roi": [number, 0.5]} for number in range(500)]
        large = record(crops=crops, seed=2**64 - 1)
        store.add_run(large)
        assert store.run("run") == large

    def test_an_unknown_name_suggests_a_near_one(self, store):
        store.add_run(record("mito_hot"))
        with pytest.raises(UserError) as error:
            store.run("mito_hit")
        assert (
            str(error.value) == f"no run 'mito_hit' in {store}; did you mean 'mito_hot'?; `dacapo-hd runs` lists them"
        )

    def test_an_unknown_name_in_an_empty_store_says_how_to_train(self, store):
        with pytest.raises(UserError, match="has no runs; train one with `dacapo-hd train FILE`"):
            store.run("mito")

    def test_an_archived_run_says_since_when(self, store):
        store.add_run(attrs.evolve(record(), archived="2026-02-01T00:00:00+00:00"))
        assert store.run("run").archived == "2026-02-01T00:00:00+00:00"


OPERATIONS = {
    "append_stats": lambda store: store.append_stats("other", [stat(1)]),
    "stats": lambda store: store.stats("other"),
    "write_scores": lambda store: store.write_scores("other", [score(run="other")]),
    "scores": lambda store: store.scores("other"),
    "add_checkpoint": lambda store: store.add_checkpoint("other", checkpoint(1)),
    "remove_checkpoints": lambda store: store.remove_checkpoints("other", [1]),
    "checkpoints": lambda store: store.checkpoints("other"),
    "truncate": lambda store: store.truncate("other", 1),
    "rename_run": lambda store: store.rename_run("other", record("third")),
    "remove_run": lambda store: store.remove_run("other"),
    "lock": lambda store: store.lock("other").__enter__(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_on_an_unknown_run_is_an_error_that_names_it(stored, operation):
    with pytest.raises(UserError, match=r"no run 'other' in .*`dacapo-hd runs` lists them"):
        operation(stored)
    assert [found.name for found in stored.runs()] == ["run"]


class TestStatistics:
    def test_they_keep_their_order_over_appends(self, stored):
        rows = [stat(i, value, name) for i, value in [(1, 0.1), (2, 1e-300), (3, -0.0)] for name in ("loss", "a.b$c")]
        stored.append_stats("run", rows[:1])
        stored.append_stats("run", rows[1:])
        assert stored.stats("run") == rows
        assert repr(stored.stats("run")) == repr(rows)

    def test_undefined_infinite_and_whole_values_come_back_as_they_were(self, stored):
        rows = [stat(1, value) for value in (math.nan, math.inf, -math.inf, 1, 1.0, -0.0, 2**40, 0.1 + 0.2)]
        stored.append_stats("run", rows)
        assert repr(stored.stats("run")) == repr(rows)

    def test_nothing_appended_is_nothing(self, stored):
        stored.append_stats("run", [])
        assert stored.stats("run") == []

    def test_rows_that_cannot_be_stored_leave_none(self, stored):
        stored.append_stats("run", [stat(1)])
        with pytest.raises(Exception):  # noqa: B017
            stored.append_stats("run", [stat(2), attrs.evolve(stat(3), value=object())])
        assert stored.stats("run") == [stat(1)]

    def test_they_belong_to_one_run(self, stored):
        stored.add_run(record("other"))
        stored.append_stats("run", [stat(1)])
        assert stored.stats("other") == []

    def test_a_hundred_thousand_rows(self, stored):
        rows = [StatRow(i // 4, f"loss/{i % 4}", i / 7, i / 11) for i in range(100_000)]
        stored.append_stats("run", rows[:99_990])
        stored.append_stats("run", rows[99_990:])
        assert stored.stats("run") == rows
        stored.truncate("run", 12_345)
        assert stored.stats("run") == [row for row in rows if row.iteration <= 12_345]
        assert list(stored.damage()) == []


class TestScores:
    def test_those_of_the_same_iteration_and_crop_are_replaced(self, stored):
        stored.write_scores(
            "run", [score(10, "a", 0.1), score(10, "a", 0.2, "voi"), score(10, "b", 0.3), score(20, "a")]
        )
        stored.write_scores("run", [score(10, "a", 0.9)])
        assert by_text(stored.scores("run")) == by_text([score(10, "a", 0.9), score(10, "b", 0.3), score(20, "a")])

    def test_several_rows_of_one_place_are_all_kept(self, stored):
        rows = [score(10, "a", float(i), "dice", class_name=name) for i in range(3) for name in ("mito", "er")]
        stored.write_scores("run", rows)
        assert by_text(stored.scores("run")) == by_text(rows)

    def test_they_are_found_by_iteration_crop_and_score(self, stored):
        rows = [score(i, crop, 0.5, name) for i in (10, 20) for crop in AWKWARD for name in ("dice", "v.o$i")]
        stored.write_scores("run", rows)
        assert by_text(stored.scores("run")) == by_text(rows)
        for crop in AWKWARD:
            found = stored.scores("run", iteration=10, crop=crop, score="v.o$i")
            assert found == [score(10, crop, 0.5, "v.o$i")]
        assert by_text(stored.scores("run", iteration=20)) == by_text(row for row in rows if row.iteration == 20)
        assert by_text(stored.scores("run", crop="$crop")) == by_text(row for row in rows if row.crop == "$crop")
        assert by_text(stored.scores("run", score="dice")) == by_text(row for row in rows if row.score == "dice")
        assert (
            stored.scores("run", iteration=11)
            == stored.scores("run", crop="b")
            == stored.scores("run", score="x")
            == []
        )

    def test_their_segments_come_back_and_go_with_them(self, stored):
        first, second, plain = score(10, "a"), score(20, "a"), score(10, "a", score="voi")
        rows = [attrs.evolve(row, segments=segments(3)) for row in (first, second)]
        stored.write_scores("run", [*rows, plain])
        assert by_text(stored.scores("run")) == by_text([*rows, plain])
        assert stored.scores("run", iteration=20) == [rows[1]]
        again = attrs.evolve(first, segments=segments(1))
        stored.write_scores("run", [again])
        assert by_text(stored.scores("run")) == by_text([again, rows[1]])
        stored.truncate("run", 10)
        assert stored.scores("run") == [again]
        stored.write_scores("run", [first])
        assert stored.scores("run") == [first]
        assert list(stored.damage()) == []

    def test_awkward_names_can_be_replaced(self, stored):
        rows = [score(10, crop, 0.1, class_name=crop) for crop in AWKWARD]
        stored.write_scores("run", rows)
        again = [attrs.evolve(row, value=0.2) for row in rows]
        stored.write_scores("run", again)
        assert by_text(stored.scores("run")) == by_text(again)

    def test_undefined_and_infinite_values_and_large_seeds(self, stored):
        rows = [
            attrs.evolve(score(10, crop, value), seed=seed)
            for crop, value, seed in [
                ("a", math.nan, 2**64 - 1),
                ("b", math.inf, -(2**40)),
                ("c", 1, 2**40),
                ("d", 1.0, 0),
            ]
        ]
        stored.write_scores("run", rows)
        assert by_text(stored.scores("run")) == by_text(rows)

    def test_nothing_written_is_nothing(self, stored):
        stored.write_scores("run", [score()])
        stored.write_scores("run", [])
        assert stored.scores("run") == [score()]

    def test_rows_that_cannot_be_stored_leave_those_before(self, stored):
        stored.write_scores("run", [score(10, "a", 0.1)])
        with pytest.raises(Exception):  # noqa: B017
            stored.write_scores("run", [score(10, "a", 0.2), attrs.evolve(score(10, "b"), value=object())])
        assert stored.scores("run") == [score(10, "a", 0.1)]

    def test_they_belong_to_one_run(self, stored):
        stored.add_run(record("other"))
        stored.write_scores("run", [score()])
        stored.write_scores("other", [score(run="other", value=0.7)])
        assert stored.scores("run") == [score()]
        assert stored.scores("other") == [score(run="other", value=0.7)]


class TestCheckpoints:
    def test_they_are_listed_by_iteration(self, stored):
        for iteration in (100, 9, 30):
            stored.add_checkpoint("run", checkpoint(iteration))
        assert stored.checkpoints("run") == [checkpoint(9), checkpoint(30), checkpoint(100)]

    def test_one_of_the_same_iteration_is_replaced(self, stored):
        stored.add_checkpoint("run", checkpoint(10, "0"))
        stored.add_checkpoint("run", attrs.evolve(checkpoint(10, "1"), bytes=2**40))
        found = stored.checkpoints("run")
        assert found == [attrs.evolve(checkpoint(10, "1"), bytes=2**40)]
        assert type(found[0].bytes) is int

    def test_those_of_some_iterations_are_taken_off(self, stored):
        for iteration in (1, 2, 3):
            stored.add_checkpoint("run", checkpoint(iteration))
        stored.remove_checkpoints("run", [1, 3, 7])
        stored.remove_checkpoints("run", ())
        assert stored.checkpoints("run") == [checkpoint(2)]

    def test_weights_of_each_run_lie_in_a_folder_of_their_own(self, stored):
        stored.add_run(record("other"))
        folders = [stored.checkpoint_folder("run"), stored.checkpoint_folder("other")]
        assert folders[0] != folders[1]
        assert folders == [stored.checkpoint_folder("run"), stored.checkpoint_folder("other")]


class TestTruncation:
    def test_what_is_later_is_forgotten(self, stored):
        for iterations in ([1, 2], [3, 4, 5], [6]):
            stored.append_stats("run", [stat(i) for i in iterations])
        stored.write_scores("run", [score(2), score(4), score(6)])
        for iteration in (2, 4, 6):
            stored.add_checkpoint("run", checkpoint(iteration))
        stored.truncate("run", 4)
        assert stored.stats("run") == [stat(i) for i in (1, 2, 3, 4)]
        assert by_text(stored.scores("run")) == by_text([score(2), score(4)])
        assert stored.checkpoints("run") == [checkpoint(2), checkpoint(4)]

    def test_what_follows_is_appended_without_duplicates_and_gaps(self, stored):
        stored.append_stats("run", [stat(i) for i in range(1, 8)])
        stored.write_scores("run", [score(3, value=0.1), score(6, value=0.1)])
        stored.truncate("run", 4)
        stored.append_stats("run", [stat(i) for i in (5, 6, 7, 8)])
        stored.write_scores("run", [score(6, value=0.2)])
        assert stored.stats("run") == [stat(i) for i in range(1, 9)]
        assert by_text(stored.scores("run")) == by_text([score(3, value=0.1), score(6, value=0.2)])

    def test_it_can_begin_anew_and_be_repeated(self, stored):
        stored.append_stats("run", [stat(1)])
        stored.write_scores("run", [score(1)])
        stored.add_checkpoint("run", checkpoint(1))
        for _ in range(2):
            stored.truncate("run", 0)
            assert (stored.stats("run"), stored.scores("run"), stored.checkpoints("run")) == ([], [], [])
        assert stored.runs() == (record(),)

    def test_only_one_run_is_truncated(self, stored):
        stored.add_run(record("other"))
        for name in ("run", "other"):
            stored.append_stats(name, [stat(1)])
            stored.write_scores(name, [score(1, run=name)])
        stored.truncate("run", 0)
        assert stored.stats("other") == [stat(1)]
        assert stored.scores("other") == [score(1, run="other")]


class TestRenaming:
    def test_rows_and_weights_go_along(self, stored):
        stored.append_stats("run", [stat(1)])
        stored.write_scores("run", [score(1)])
        stored.add_checkpoint("run", checkpoint(1))
        folder = stored.checkpoint_folder("run")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "00000001.pt").write_bytes(b"weights")
        archived = attrs.evolve(record("old"), archived="2026-02-01T00:00:00+00:00")
        with stored.lock("run"):
            stored.rename_run("run", archived)
        assert stored.runs() == (archived,)
        assert stored.stats("old") == [stat(1)]
        assert stored.scores("old") == [score(1, run="old")]
        assert stored.checkpoints("old") == [checkpoint(1)]
        assert (stored.checkpoint_folder("old") / "00000001.pt").read_bytes() == b"weights"
        assert list(stored.damage()) == []

    def test_the_name_is_free_for_a_run_that_has_nothing_of_the_old_one(self, stored):
        stored.append_stats("run", [stat(1)])
        folder = stored.checkpoint_folder("run")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "00000001.pt").write_bytes(b"weights")
        with stored.lock("run"):
            stored.rename_run("run", record("old"))
        stored.add_run(record(seed=7))
        assert [found.name for found in stored.runs()] == ["old", "run"]
        assert stored.stats("run") == stored.scores("run") == stored.checkpoints("run") == []
        new = stored.checkpoint_folder("run")
        assert not new.exists() or not any(new.iterdir())
        for name in ("run", "old"):
            with stored.lock(name):
                pass

    def test_a_name_that_is_taken_is_refused(self, stored):
        stored.add_run(record("other", seed=7))
        for name in ("other", "run"):
            with pytest.raises(UserError) as error:
                stored.rename_run("run", record(name))
            assert str(error.value) == f"{stored}: there is a run {name!r} already; give another name"
        assert stored.runs() == (record("other", seed=7), record("run"))


class TestRemoval:
    def test_rows_and_weights_are_removed(self, stored):
        stored.add_run(record("other"))
        for name in ("run", "other"):
            stored.append_stats(name, [stat(1)])
            stored.write_scores(name, [score(run=name)])
            stored.add_checkpoint(name, checkpoint(1))
            stored.checkpoint_folder(name).mkdir(parents=True, exist_ok=True)
            (stored.checkpoint_folder(name) / "00000001.pt").write_bytes(b"weights")
        folder = stored.checkpoint_folder("run")
        with stored.lock("run"):
            stored.remove_run("run")
        assert stored.runs() == (record("other"),)
        assert not folder.exists()
        assert stored.stats("other") == [stat(1)]
        assert (stored.checkpoint_folder("other") / "00000001.pt").exists()
        assert list(stored.damage()) == []

    def test_a_run_of_the_same_name_has_nothing_of_it(self, stored):
        stored.append_stats("run", [stat(1)])
        stored.write_scores("run", [score()])
        stored.remove_run("run")
        stored.add_run(record(seed=7))
        assert stored.stats("run") == stored.scores("run") == stored.checkpoints("run") == []


HOLD = """
    with store.lock("run"):
        print("held", flush=True)
        sys.stdin.read()
"""


class TestLock:
    def test_a_run_is_held_by_one_process(self, stored, place):
        other = start(HOLD, place)
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            HeldError, match=f"run 'run' is being trained by pid {other.pid} on .* since 20.*wait for it"
        ) as error:
            stored.lock("run").__enter__()
        assert error.value.exit_code == 3
        finish(other)
        with stored.lock("run") as lease:
            lease.require_held()

    def test_the_lock_of_a_killed_process_is_taken_over_at_once(self, stored, place):
        other = start(HOLD, place)
        assert other.stdout.readline() == "held\n"
        other.kill()
        other.communicate()
        with stored.lock("run") as lease:
            lease.require_held()

    def test_runs_are_held_one_by_one(self, stored):
        stored.add_run(record("other"))
        with stored.lock("run"), stored.lock("other"):
            pass

    def test_whoever_lost_the_run_is_told(self, stored):
        with stored.lock("run") as lease:
            stored.remove_run("run")
            with pytest.raises(HeldError, match="run 'run' is not held any more"):
                lease.require_held()

    def test_one_of_many_contenders_wins(self, stored, place):
        work = """
            def work(store, number, barrier):
                try:
                    with store.lock("run"):
                        say("won")
                        barrier.wait()
                except HeldError:
                    say("lost")
                    barrier.wait()
        """
        assert sorted(crowd(work, place, 6)) == ["lost"] * 5 + ["won"]


class TestProcesses:
    def test_a_store_is_the_same_from_another_process(self, stored, place):
        code = """
            store.append_stats("run", [StatRow(2, "loss", 0.5, 0.5)])
            print(repr(store.runs()), repr(store.stats("run")), repr(store.scores("run")), sep="\\n")
        """
        stored.append_stats("run", [stat(1)])
        stored.write_scores("run", [score()])
        output = finish(start(code, place)).splitlines()
        assert output == [repr((record(),)), repr([stat(1), stat(2)]), repr([score()])]
        assert stored.stats("run") == [stat(1), stat(2)]

    def test_a_store_goes_to_another_process_by_pickle(self, stored, place):
        again = pickle.loads(pickle.dumps(stored))
        assert again.runs() == (record(),)
        assert str(again) == str(stored)
        assert again.checkpoint_folder("run") == stored.checkpoint_folder("run")

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_a_store_works_in_forked_and_spawned_children(self, stored, place, method, tmp_path):
        script = tmp_path / "children.py"
        script.write_text(
            textwrap.dedent("""
                import multiprocessing, sys
                from dacapo_hd.stores import StatRow, open_store
                def child(store, number):
                    store.append_stats("run", [StatRow(number, "loss", 0.0, 0.0)])
                    assert StatRow(number, "loss", 0.0, 0.0) in store.stats("run")
                if __name__ == "__main__":
                    store = open_store(sys.argv[1], sys.argv[2] or None)
                    store.append_stats("run", [StatRow(0, "loss", 0.0, 0.0)])
                    context = multiprocessing.get_context(sys.argv[3])
                    children = [context.Process(target=child, args=(store, number)) for number in (1, 2)]
                    for process in children:
                        process.start()
                    store.append_stats("run", [StatRow(3, "loss", 0.0, 0.0)])
                    for process in children:
                        process.join()
                    print([process.exitcode for process in children], sorted(r.iteration for r in store.stats("run")))
            """)
        )
        command = [sys.executable, "-W", "error::ResourceWarning", str(script), place[0], place[1] or "", method]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert found.stdout == "[0, 0] [0, 1, 2, 3]\n", found.stderr
        assert found.stderr == ""

    def test_twenty_processes_write_scores_of_different_runs_at_once(self, store, place):
        work = """
            def work(store, number, barrier):
                name = f"run-{number}"
                hashes = [canonical_hash({"name": name}, without=("name",))] * 2
                store.add_run(RunRecord(name, {"name": name}, *hashes, 0, "now", "abc"))
                for round in (1, 2):
                    for iteration in range(1, 6):
                        store.write_scores(name, [
                            ScoreRow(name, "aaaa", "bbbb", 0, iteration, crop, "{}", "mito", score, round / 4, "abc")
                            for crop in ("a", "b") for score in ("dice", "voi")
                        ])
                        store.append_stats(name, [StatRow(iteration, "loss", float(round), 0.0)])
        """
        assert crowd(work, place, 20) == []
        names = [f"run-{number}" for number in range(20)]
        assert sorted(found.name for found in store.runs()) == sorted(names)
        for name in names:
            rows = [
                ScoreRow(name, "aaaa", "bbbb", 0, iteration, crop, "{}", "mito", kind, 0.5, "abc")
                for iteration in range(1, 6)
                for crop in ("a", "b")
                for kind in ("dice", "voi")
            ]
            assert by_text(store.scores(name)) == by_text(rows)
            assert len(store.stats(name)) == 10
        assert list(store.damage()) == []

    def test_many_processes_add_the_same_run_once(self, store, place):
        work = """
            def work(store, number, barrier):
                hashes = [canonical_hash({"name": "run"}, without=("name",))] * 2
                store.add_run(RunRecord("run", {"name": "run"}, *hashes, 0, str(number), "abc"))
                say(store.run("run").created)
        """
        created = crowd(work, place, 8)
        assert set(created) == {store.run("run").created}
        assert len(store.runs()) == 1
        assert list(store.damage()) == []

    def test_several_processes_write_scores_of_one_run(self, stored, place):
        work = """
            def work(store, number, barrier):
                for round in range(10):
                    for iteration in (10, number):
                        cell = ("{}", "mito", "dice", float(number), "abc")
                        rows = [ScoreRow("run", "aaaa", "bbbb", 0, iteration, crop, *cell) for crop in ("a", "b")]
                        store.write_scores("run", rows)
        """
        assert crowd(work, place, 4) == []
        values = {row.value for row in stored.scores("run", iteration=10)}
        assert len(values) == 1
        winner = values.pop()
        expected = [score(10, crop, winner) for crop in "ab"]
        expected += [score(number, crop, float(number)) for number in range(4) for crop in "ab"]
        assert by_text(stored.scores("run")) == by_text(attrs.evolve(row, segmenter="{}") for row in expected)
        assert list(stored.damage()) == []

    def test_readers_see_the_old_or_the_new_rows_of_an_iteration(self, stored, place):
        code = """
            for round in range(40):
                store.write_scores("run", [
                    ScoreRow("run", "aaaa", "bbbb", 0, 10, crop, "{}", name, "dice", float(round), "abc")
                    for crop in ("a", "b") for name in ("mito", "er", "pm")
                ])
        """
        rows = [
            attrs.evolve(score(10, crop, -1.0, class_name=name), segmenter="{}")
            for crop in "ab"
            for name in ("mito", "er", "pm")
        ]
        stored.write_scores("run", rows)
        writer = start(code, place)
        seen = []
        while writer.poll() is None:
            for found in (stored.scores("run"), stored.scores("run", iteration=10, score="dice")):
                assert len(found) == 6
                values = {row.value for row in found}
                assert len(values) == 1
                assert by_text(found) == by_text(attrs.evolve(row, value=found[0].value) for row in rows)
                seen += values
            assert len(stored.scores("run", crop="b")) == 3
        finish(writer)
        assert seen == sorted(seen)
        assert {row.value for row in stored.scores("run")} == {39.0}

    def test_threads_share_a_store(self, stored):
        def work(number):
            for iteration in range(5):
                stored.append_stats("run", [stat(iteration, float(number))])
                stored.write_scores("run", [score(iteration, f"crop {number}")])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(stored.stats("run")) == len(stored.scores("run")) == 20
        for number in range(4):
            mine = [row.iteration for row in stored.stats("run") if row.value == number]
            assert mine == [0, 1, 2, 3, 4]


def test_a_sound_store_has_no_damage(stored):
    assert list(stored.damage()) == []
    stored.append_stats("run", [stat(1)])
    stored.write_scores("run", [score()])
    stored.add_checkpoint("run", checkpoint(1))
    assert list(stored.damage()) == []


def test_a_store_names_itself_by_its_address(store, place):
    assert str(store) == place[0]
    assert json.dumps(str(store))
