"""Optimiser and schedule."""

import pytest
import torch

from dacapo_hd.errors import UserError
from dacapo_hd.training.device import choose_device, use_bfloat16
from dacapo_hd.training.optimization import learning_rate_factor, make_optimizer, make_schedule
from dacapo_hd.training.trainer import Trainer


@pytest.mark.parametrize("optimizer", ["adamw", "radam"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_every_optimiser_and_schedule_reduces_a_quadratic(optimizer, schedule):
    trainer = Trainer(iterations=400, optimizer=optimizer, schedule=schedule, learning_rate=0.05, warmup_iterations=10)
    parameter = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimiser = make_optimizer(trainer, [parameter])
    scheduler = make_schedule(trainer, optimiser)
    for _ in range(trainer.iterations):
        optimiser.zero_grad()
        (parameter**2).sum().backward()
        optimiser.step()
        scheduler.step()
    assert float((parameter.detach() ** 2).sum()) < 1.0


def test_the_learning_rate_warms_up_and_falls_to_its_final_fraction():
    trainer = Trainer(iterations=110, warmup_iterations=10, final_learning_rate_fraction=0.1)
    factors = [learning_rate_factor(trainer, i) for i in range(111)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert factors[10] == pytest.approx(1.0)
    assert factors[60] == pytest.approx(0.55)
    assert factors[110] == pytest.approx(0.1)


def test_a_line_and_a_constant():
    assert learning_rate_factor(Trainer(iterations=100, schedule="constant"), 99) == 1.0
    line = Trainer(iterations=100, schedule="linear", final_learning_rate_fraction=0.0)
    assert learning_rate_factor(line, 25) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("iterations", 0, "must be > 0, got 0"),
        ("optimizer", "sgd", "must be one of 'adamw', 'radam', got 'sgd'"),
        ("schedule", "step", "must be one of 'constant', 'cosine', 'linear', got 'step'"),
        ("clip_gradient_norm", -1.0, "must be > 0, got -1.0"),
        ("final_learning_rate_fraction", 2.0, "must be between 0 and 1, got 2.0"),
    ],
)
def test_impossible_values_are_refused(field, value, message):
    with pytest.raises(ValueError, match="must be") as error:
        Trainer(**{field: value})
    assert str(error.value) == message


def test_an_unknown_device_is_an_error_that_says_what_there_is():
    with pytest.raises(UserError) as error:
        choose_device("gpu0")
    assert str(error.value) == "trainer.device: unknown device 'gpu0'; give auto, cpu, cuda, cuda:N or mps"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_the_machine_lacks_is_an_error_not_a_fallback():
    with pytest.raises(UserError, match="'cuda' asked for, but torch sees 0 CUDA devices; give auto or cpu"):
        choose_device("cuda")


def test_auto_precision_is_float32_on_the_cpu():
    assert not use_bfloat16("auto", torch.device("cpu"))
    assert use_bfloat16("bfloat16", torch.device("cpu"))
