"""TensorBoard reads what the store has, each step once, also after a training was killed and went on."""

import resource

import attrs
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dacapo_hd.errors import UserError
from dacapo_hd.stores import ScoreRow, StatRow
from dacapo_hd.training.tensorboard import TensorBoardLog


def scalars(folder):
    """What TensorBoard shows: for each tag the pairs of step and value."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)] for tag in tags}


def stat(iteration, factor=1.0):
    return [StatRow(iteration, "loss/one_hot", factor / iteration, 0.1), StatRow(iteration, "learning_rate", 0.01, 0.1)]


def score(iteration, value, segmenter="a", class_name="mito", part="validate", name="dice"):
    row = ScoreRow("run", "aaaa", "bbbb", 0, iteration, f"{part}_0", segmenter, class_name, name, value, "abc")
    return attrs.evolve(row, part=part)


@pytest.fixture
def resume(store, tmp_path):
    def resumed(iteration):
        return TensorBoardLog.resume(tmp_path / "tb" / "run", store, "run", "dice", iteration)

    return resumed


@pytest.fixture
def train(store):
    """Store and log iterations as a training does."""

    def trained(log, iterations, factor=1.0):
        for iteration in iterations:
            store.append_stats("run", stat(iteration, factor))
            log.add_stats(stat(iteration, factor))

    return trained


def test_losses_and_the_learning_rate_are_scalars(resume, train, tmp_path):
    log = resume(0)
    train(log, range(1, 4))
    log.close()
    assert scalars(tmp_path / "tb/run") == {
        "loss/one_hot": [(1, 1.0), (2, 0.5), (3, 1 / 3)],
        "learning_rate": [(1, 0.01), (2, 0.01), (3, 0.01)],
    }


def test_scores_are_those_of_the_best_segmenter_of_the_iteration(resume, tmp_path):
    log = resume(0)
    log.add_scores(
        [
            score(10, 0.5, "a"),
            score(10, 0.75, "a", "er"),
            score(10, 0.25, "b"),
            score(10, 0.25, "b", "er"),
            score(10, 2.0, "a", name="voi"),
            score(10, float("nan"), "a", name="recall"),
        ]
    )
    log.add_scores([score(20, 0.5, "b")])
    log.close()
    assert scalars(tmp_path / "tb/run") == {
        "validate/dice": [(10, 0.625), (20, 0.5)],
        "validate/dice/mito": [(10, 0.5), (20, 0.5)],
        "validate/dice/er": [(10, 0.75)],
        "validate/voi": [(10, 2.0)],
        "validate/voi/mito": [(10, 2.0)],
    }


def test_test_crops_take_the_segmenter_that_the_validation_has_chosen(resume, tmp_path):
    log = resume(0)
    known = [score(10, 0.5, "a"), score(10, 0.25, "b"), score(20, 0.9, "b")]
    log.add_scores([score(10, 0.375, "a", part="test"), score(10, 0.75, "b", part="test")], known)
    log.close()
    assert scalars(tmp_path / "tb/run") == {"test/dice": [(10, 0.375)], "test/dice/mito": [(10, 0.375)]}


def test_a_training_that_was_killed_and_goes_on_has_each_step_once(resume, train, store, tmp_path):
    killed = resume(0)
    train(killed, range(1, 7))
    store.write_scores("run", [score(4, 0.5), score(6, 0.75)])
    killed.add_scores([score(6, 0.75)])
    # the checkpoint was that of iteration 4; the scores of 4 were stored, but not logged any more
    store.truncate("run", 4)
    log = resume(4)
    train(log, range(5, 8), factor=2.0)
    log.close()
    found = scalars(tmp_path / "tb/run")
    assert found["loss/one_hot"] == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4), (5, 2 / 5), (6, 2 / 6), (7, 2 / 7)]
    assert found["validate/dice"] == [(4, 0.5)]


def test_switched_on_later_it_gets_what_is_stored(resume, store, train, tmp_path):
    for iteration in (1, 2, 3):
        store.append_stats("run", stat(iteration))
    store.write_scores("run", [score(2, 0.5)])
    log = resume(3)
    train(log, [4])
    log.close()
    found = scalars(tmp_path / "tb/run")
    assert [step for step, _ in found["loss/one_hot"]] == [1, 2, 3, 4]
    assert found["validate/dice"] == [(2, 0.5)]


def test_a_folder_that_cannot_be_is_an_error(resume, tmp_path):
    (tmp_path / "tb").write_text("a file")
    with pytest.raises(UserError, match=r"^--tensorboard: cannot write in .*/tb/run: Not a directory$"):
        resume(0)


# the thread of TensorBoard's writer does not catch its own errors
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_writing_fails_the_training_goes_on(resume, train, tmp_path, caplog):
    log = resume(0)
    train(log, [1])
    (file,) = (tmp_path / "tb/run").iterdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # no file can grow beyond that, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
    try:
        for iteration in range(2, 5):
            log.add_stats(stat(iteration))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.close()
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}/tb/run: cannot be written (File too large); no more events of this training"
    ]
    assert [step for step, _ in scalars(tmp_path / "tb/run")["loss/one_hot"]] == [1]
