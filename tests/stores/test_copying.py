"""Copying runs between stores: nothing is lost, and nothing is moved twice."""

import attrs
import pytest
from copies import copy, problems
from store_rows import segments
from stored_runs import add_checkpoint, add_run, content, record, scores, stats, weights

from dacapo_hd.errors import UserError
from dacapo_hd.stores import FileStore
from dacapo_hd.stores.copying import Moved, copy_runs
from dacapo_hd.stores.weights import checkpoint_file


def test_everything_of_a_run_arrives(source, target):
    add_run(source)
    moved = copy(source, target)
    assert moved == {"run": Moved(50, 4, 2, 2 * len(weights(10)))}
    assert content(target) == content(source)


def test_segments_arrive_with_their_score(source, target):
    add_run(source)
    row = attrs.evolve(scores(source.run("run"), 20)[0], segments=segments())
    source.write_scores("run", [row])
    copy(source, target)
    assert [found for found in target.scores("run") if found.segments] == [row]
    assert copy(source, target) == {"run": Moved()}


def test_a_second_copy_moves_nothing(source, target):
    add_run(source)
    copy(source, target)
    before = content(target)
    assert copy(source, target) == {"run": Moved()}
    assert content(target) == before


def test_all_runs_are_copied_or_those_that_are_named(source, target):
    for name in ("a", "b", "c"):
        add_run(source, name)
    assert list(copy(source, target, "b")) == ["b"]
    assert [found.name for found in target.runs()] == ["b"]
    assert copy(source, target) == {"a": Moved(50, 4, 2, 19200), "b": Moved(), "c": Moved(50, 4, 2, 19200)}


def test_an_archived_run_stays_archived(source, target):
    of = add_run(source, "run.archived-20260101T000000", archived="2026-01-01T00:00:00+00:00")
    copy(source, target)
    assert target.run(of.name) == of


def test_an_unknown_name_is_refused_before_anything_is_copied(source, target):
    add_run(source)
    with pytest.raises(UserError, match=r"no run 'rin' in .*; did you mean 'run'"):
        list(copy_runs(source, target, ["run", "rin"]))
    assert target.runs() == ()


def test_an_empty_store_has_nothing_to_copy(source, target):
    with pytest.raises(UserError, match="has no runs to copy"):
        list(copy_runs(source, target))


def test_what_was_added_since_is_copied_and_nothing_else(source, target):
    of = add_run(source, last=20)
    copy(source, target)
    source.append_stats("run", stats(21, 30))
    source.write_scores("run", scores(of, 30, 0.75))
    add_checkpoint(source, "run", 30)
    assert copy(source, target) == {"run": Moved(20, 2, 1, len(weights(30)))}
    assert content(target) == content(source)


def test_what_a_resumed_run_made_again_replaces_what_was_copied_before(source, target):
    add_run(source, last=25)
    copy(source, target)
    source.truncate("run", 20)
    source.append_stats("run", stats(21, 30, seconds=0.75))
    add_checkpoint(source, "run", 30)
    assert copy(source, target) == {"run": Moved(20, 0, 1, len(weights(30)))}
    assert content(target) == content(source)


def test_a_validation_that_was_repeated_replaces_the_scores(source, target):
    of = add_run(source)
    copy(source, target)
    source.write_scores("run", scores(of, 20, value=0.25))
    assert copy(source, target) == {"run": Moved(0, 2, 0, 0)}
    assert content(target) == content(source)


def test_checkpoints_that_the_source_has_pruned_stay_in_the_target(source, target):
    add_run(source)
    copy(source, target)
    source.remove_checkpoints("run", [10])
    checkpoint_file(source.checkpoint_folder("run"), 10).unlink()
    assert copy(source, target) == {"run": Moved()}
    assert [row.iteration for row in target.checkpoints("run")] == [10, 20]


def test_another_config_is_refused_with_the_differences(source, target):
    add_run(source)
    add_run(target, scale=80)
    before = content(target)
    assert problems(source, target) == [
        f"{target}: run 'run' is there with another config; remove it there with `dacapo-hd runs rm run --store "
        f"{target}` to copy this one:",
        "  task.scale_nm: 80 -> 40",
    ]
    assert content(target) == before


@pytest.mark.parametrize(
    ("further", "what"),
    [
        (lambda store, of: store.append_stats("run", stats(26, 28)), "20 and statistics up to 28, here 20 and 25"),
        (lambda store, of: add_checkpoint(store, "run", 24), "24 and statistics up to 25, here 20 and 25"),
    ],
)
def test_a_target_that_is_ahead_is_refused(source, target, further, what):
    of = add_run(source)
    copy(source, target)
    further(target, of)
    before = content(target)
    assert problems(source, target) == [
        f"{target}: run 'run' is further there than in {source} (checkpoint {what}); copy the other way, or remove it "
        f"there with `dacapo-hd runs rm run --store {target}` to copy this one"
    ]
    assert content(target) == before
    copy(target, source)
    assert content(source) == before


def test_scores_that_only_the_target_has_are_not_thrown_away(source, target):
    of = add_run(source)
    copy(source, target)
    target.write_scores("run", scores(of, 20, crop="another"))
    assert "(scores of crop 'another' at iteration 20); copy the other way" in problems(source, target)[0]
    assert len(target.scores("run")) == 6


@pytest.mark.parametrize("difference", ["statistics", "checkpoint"])
def test_a_run_that_was_trained_in_both_stores_is_refused(source, target, difference):
    of = add_run(source)
    other = difference == "checkpoint"
    target.add_run(of)
    target.append_stats("run", stats(1, 22, seconds=0.5 if other else 0.25))
    target.write_scores("run", scores(of, 10))
    add_checkpoint(target, "run", 10, b"trained again" if other else None)
    before = content(target)
    what = "checkpoint 10 differs" if other else "statistics up to iteration 10 differ"
    assert problems(source, target) == [
        f"{target}: run 'run' was trained there on its own ({what}); keep it, or remove it there with "
        f"`dacapo-hd runs rm run --store {target}` to copy this one"
    ]
    assert content(target) == before


def test_a_run_that_is_trained_in_the_target_is_refused(source, target):
    add_run(source)
    copy(source, target)
    with target.lock("run"):
        outcome = next(copy_runs(source, target))
    assert outcome.held
    assert outcome.problems[0].startswith("run 'run' is being trained by ")


def test_a_store_is_not_copied_to_itself(source):
    add_run(source)
    assert problems(source, source)[0].endswith("give another store, or another folder with --to-weights")


def test_the_progress_counts_all_bytes_of_weights(source, target):
    add_run(source)
    seen = []

    def begin(name, total_bytes):
        seen.append((name, total_bytes))
        return seen.append

    list(copy_runs(source, target, begin=begin))
    assert seen[0] == ("run", 19200) and sum(seen[1:]) == 19200


def test_weights_of_schema_1_are_listed_in_the_target(tmp_path):
    source, target = FileStore(tmp_path / "from"), FileStore(tmp_path / "to")
    add_run(source)
    for row in source.checkpoints("run"):
        checkpoint_file(source.checkpoint_folder("run"), row.iteration).with_suffix(".sha256").write_text(row.sha256)
    (source.folder / "run" / "checkpoints.jsonl").unlink()
    assert copy(source, target)["run"].checkpoints == 2
    assert [row.iteration for row in target.checkpoints("run")] == [10, 20]
    assert source.checkpoints("run") == []
    assert copy(source, target) == {"run": Moved()}


def test_the_same_content_of_another_record_time_counts_as_the_same(source, target):
    of = add_run(source)
    target.add_run(attrs.evolve(record(), created="2027-01-01T00:00:00+00:00"))
    assert copy(source, target)["run"].statistics == 50
    assert target.run("run").config_hash == of.config_hash
