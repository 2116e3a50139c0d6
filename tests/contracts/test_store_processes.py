"""Several processes and threads at one store, of the file store and a MongoDB server each."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import threading

import attrs
import pytest
from store_processes import HOLD, crowd, finish, start
from store_rows import by_text, record, score, stat

from dacapo_hd.stores import HeldError, ScoreRow


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
