"""Which checkpoints are kept, against a definition that tries every iteration."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dacapo_hd.evaluation.selection import best
from dacapo_hd.stores import ScoreRow
from dacapo_hd.training.retention import Retention


def row(iteration, score="dice", value=0.5, crop="a", segmenter="{}"):
    return ScoreRow("run", "aaaa", "bbbb", 0, iteration, crop, segmenter, "mito", score, value, "abc")


iterations = st.sets(st.integers(1, 60), max_size=12)
values = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]), st.floats(0, 1))
rows = st.lists(
    st.builds(
        row,
        iteration=st.integers(1, 60),
        score=st.sampled_from(["dice", "jaccard", "voi", "mean_boundary_distance"]),
        value=values,
        crop=st.sampled_from(["a", "b"]),
        segmenter=st.sampled_from(["{}", '{"threshold": 0}']),
    ),
    max_size=20,
    unique_by=lambda row: (row.iteration, row.score, row.crop, row.segmenter),
)
retentions = st.builds(
    Retention, last=st.integers(1, 4), every=st.one_of(st.none(), st.integers(1, 20)), best=st.booleans()
)


@given(retentions, iterations, st.data())
def test_what_is_kept_is_what_the_words_say(retention, iterations, data):
    sound = data.draw(st.sets(st.sampled_from(sorted(iterations)))) if iterations else set()
    chosen = data.draw(st.sets(st.integers(1, 60), max_size=3))
    kept = retention.kept(sorted(iterations), sound, chosen)
    for iteration in iterations:
        sound_and_newer = sum(other > iteration for other in sound)
        expected = (
            sound_and_newer < retention.last
            or iteration in chosen
            or (retention.every is not None and iteration % retention.every == 0)
        )
        assert (iteration in kept) == expected, iteration
    assert kept <= iterations


@given(retentions, iterations, rows)
def test_the_best_by_every_score_can_still_be_used(retention, iterations, rows):
    found = retention.best_iterations(rows, "dice", iterations)
    scores = {"dice"} | ({row.score for row in rows} if retention.best else set())
    assert {row.iteration for row in rows} >= found
    for score in scores:
        usable = best([row for row in rows if row.iteration in iterations], score)
        overall = best(rows, score)
        assert {candidate.iteration for candidate in (usable, overall) if candidate} <= found
    assert len(found) <= 2 * len(scores)


@given(rows)
def test_the_best_of_all_is_never_lost_while_scores_arrive(rows):
    """What `apply --iteration best` wants is there after any number of checkpoints and validations."""
    retention, there, seen = Retention(last=1, best=False), set(), []
    for iteration in sorted({row.iteration for row in rows}):
        there.add(iteration)
        there = set(retention.kept(there, there, retention.best_iterations(seen, "dice", there)))
        seen += [row for row in rows if row.iteration == iteration]
        there = set(retention.kept(there, there, retention.best_iterations(seen, "dice", there)))
        wanted = best(seen, "dice")
        assert wanted is None or wanted.iteration in there


def test_an_example():
    rows = [row(100, value=0.9), row(200, value=0.5), row(200, "voi", 0.1), row(100, "voi", 0.2), row(300, value=0.4)]
    iterations = (100, 200, 250, 300, 350, 400)
    retention = Retention(every=50)
    assert retention.best_iterations(rows, "dice", iterations) == {100, 200}
    assert Retention(best=False).best_iterations(rows, "dice", iterations) == {100}
    assert sorted(Retention().kept(iterations, iterations, {100, 200})) == [100, 200, 350, 400]
    assert sorted(Retention(every=250, last=1).kept(iterations, iterations, ())) == [250, 400]


def test_a_damaged_checkpoint_and_all_before_it_that_are_needed_stay():
    assert sorted(Retention(last=2).kept([10, 20, 30, 40], sound=[10, 20, 40], best=())) == [20, 30, 40]
    assert sorted(Retention(last=2).kept([10, 20, 30, 40], sound=[10], best=())) == [10, 20, 30, 40]


def test_scores_that_this_version_does_not_know_are_left_out():
    assert Retention().best_iterations([row(10, "from_the_future"), row(20)], "dice", [10, 20]) == {20}


@pytest.mark.parametrize("field", ["last", "every"])
def test_nothing_kept_is_refused(field):
    with pytest.raises(ValueError, match="must be > 0, got 0"):
        Retention(**{field: 0})
