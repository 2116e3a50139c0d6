"""What every store must keep to: each test runs against the file store and a MongoDB server."""

from __future__ import annotations

import json
import math

import attrs
import pytest
from store_rows import by_text, checkpoint, record, score, segments, stat

from dacapo_hd.errors import UserError
from dacapo_hd.stores import StatRow

AWKWARD = ["crop.1", "$crop", "a.b$c", "größe", "脳 1", "with blank", "quote'\"", "", "back\\slash", "line\nbreak"]


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


def test_a_sound_store_has_no_damage(stored):
    assert list(stored.damage()) == []
    stored.append_stats("run", [stat(1)])
    stored.write_scores("run", [score()])
    stored.add_checkpoint("run", checkpoint(1))
    assert list(stored.damage()) == []


def test_a_store_names_itself_by_its_address(store, place):
    assert str(store) == place[0]
    assert json.dumps(str(store))
