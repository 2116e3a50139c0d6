"""What is said of the losses while a network trains."""

import pytest

from dacapo_hd.training.progress import TrainingProgress


def losses_after(values):
    progress = TrainingProgress("run", len(values), 0, visible=False)
    with progress:
        for iteration, value in enumerate(values, start=1):
            progress.update(iteration, {"loss": value})
    return progress.losses["loss"]


def test_at_first_losses_are_a_plain_mean():
    values = [8.0, 4.0, 2.0, 1.0, 0.5]
    assert losses_after(values) == pytest.approx(sum(values) / 5)


def test_later_what_was_long_ago_is_forgotten():
    assert losses_after([100.0] * 50 + [1.0] * 400) == pytest.approx(1 + 99 * 0.98**400, abs=1e-6)
