"""A run truncated, renamed or removed, of the file store and a MongoDB server each."""

from __future__ import annotations

import attrs
import pytest
from store_rows import by_text, checkpoint, record, score, stat

from dacapo_hd.errors import UserError


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
