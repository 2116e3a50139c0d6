from __future__ import annotations

import pytest
import torch

from dacapo_hd.operations.losses import affinity_loss, balanced, dice_loss, interval_loss, one_hot_loss, weighted_mean

SHAPE = (2, 3, 4, 5, 6)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_weights_enter_once():
    loss, weight = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 1.0])
    assert weighted_mean(loss, weight).item() == pytest.approx((3 * 1 + 1 * 4) / (3 + 1))


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("loss", [one_hot_loss, interval_loss])
def test_nothing_known_gives_exactly_zero_and_zero_gradient(loss, balance, generator):
    prediction = torch.randn(SHAPE, generator=generator, requires_grad=True)
    target = torch.zeros(2, 6, 4, 5, 6) if loss is interval_loss else torch.zeros(SHAPE)
    value = loss(prediction, target, torch.zeros(SHAPE), balance)
    value.backward()
    assert value.item() == 0
    assert (prediction.grad == 0).all()


@pytest.mark.parametrize("balance", [False, True])
def test_unknown_voxels_change_neither_loss_nor_its_scale(balance, generator):
    logits = torch.randn(SHAPE, generator=generator)
    target = (torch.rand(SHAPE, generator=generator) < 0.3).float()
    known = torch.zeros(SHAPE)
    known[..., 0] = 1
    part = one_hot_loss(logits[..., :1], target[..., :1], torch.ones(2, 3, 4, 5, 1), balance)
    whole = one_hot_loss(logits, target, known, balance)
    elsewhere = one_hot_loss(torch.where(known > 0, logits, 50.0), torch.where(known > 0, target, 0.0), known, balance)
    torch.testing.assert_close(whole, part)
    torch.testing.assert_close(elsewhere, part)


def test_one_hot_loss_is_the_cross_entropy(generator):
    logits = torch.randn(SHAPE, generator=generator)
    target = (torch.rand(SHAPE, generator=generator) < 0.3).float()
    p = torch.sigmoid(logits)
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(one_hot_loss(logits, target, torch.ones(SHAPE), False), expected)


def test_interval_loss_is_the_squared_error_where_the_bounds_meet(generator):
    prediction = torch.randn(SHAPE, generator=generator).tanh()
    target = torch.randn(SHAPE, generator=generator).tanh()
    found = interval_loss(prediction, torch.cat([target, target], dim=1), torch.ones(SHAPE), False)
    torch.testing.assert_close(found, ((prediction - target) ** 2).mean())


@pytest.mark.parametrize(("prediction", "expected"), [(-0.5, 0.09), (-0.2, 0), (0.3, 0), (0.4, 0), (0.9, 0.25)])
def test_interval_loss_punishes_only_what_is_outside(prediction, expected):
    bounds = torch.tensor([-0.2, 0.4]).reshape(1, 2, 1, 1, 1)
    one = torch.ones(1, 1, 1, 1, 1)
    assert interval_loss(one * prediction, bounds, one, True).item() == pytest.approx(expected, abs=1e-6)


def test_balance_gives_both_sides_of_each_channel_the_same_say():
    present = torch.zeros(SHAPE, dtype=torch.bool)
    present[:, 0, 0] = True
    present[:, 1, :3] = True
    present[:, 2, :, :2] = True
    known = torch.ones(SHAPE)
    known[:, :, :, 4] = 0
    weight = balanced(known, present, ~present)
    sides = [(weight * side).sum((0, 2, 3, 4)) for side in (present, ~present)]
    torch.testing.assert_close(sides[0], sides[1])
    torch.testing.assert_close(sides[0] + sides[1], known.sum((0, 2, 3, 4)))
    assert (weight[known == 0] == 0).all()


def test_a_rare_voxel_weighs_at_most_ten_and_a_missing_side_changes_no_loss():
    present = torch.zeros(1, 1, 10, 10, 10, dtype=torch.bool)
    ones = torch.ones(present.shape)
    loss = torch.full(present.shape, 0.7)
    assert weighted_mean(loss, balanced(ones, present, ~present)).item() == pytest.approx(0.7)
    present[0, 0, 0, 0, 0] = True
    assert balanced(ones, present, ~present).max().item() == pytest.approx(10)


def test_balance_leaves_voxels_of_unknown_sign():
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5]).reshape(1, 1, 1, 1, 5)
    present, absent = (torch.tensor(side).reshape(1, 1, 1, 1, 5) for side in ([1, 0, 0, 0, 0], [0, 1, 1, 1, 0]))
    found = balanced(weight, present.bool(), absent.bool()).ravel().tolist()
    assert found == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3, 0.5])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_half_precision_predictions_are_float32_and_finite(dtype, generator):
    shape = (1, 1, 48, 48, 48)
    prediction = (100 * torch.randn(shape, generator=generator)).to(dtype)
    target = (torch.rand(shape, generator=generator) < 1e-4).float()
    for found in (
        one_hot_loss(prediction, target, torch.ones(shape), True),
        interval_loss(prediction.tanh(), torch.cat([2 * target - 1] * 2, dim=1), torch.ones(shape), True),
    ):
        assert found.dtype == torch.float32
        assert found.isfinite()


def test_dice_loss_is_that_of_fuzzy_sets():
    p, t = torch.tensor([0.2, 0.9, 0.5, 0.7]), torch.tensor([0.0, 1.0, 1.0, 1.0])
    weight = torch.tensor([1.0, 1.0, 2.0, 0.0])
    shared, sizes = 0.9 + 2 * 0.5, 0.04 + 0.81 + 2 * 0.25 + 1 + 2
    assert dice_loss(p, t, weight, (0,)).item() == pytest.approx(1 - 2 * shared / sizes)


def test_dice_loss_of_an_empty_target_is_that_of_the_complement():
    p, t = torch.tensor([0.2, 0.9], requires_grad=True), torch.zeros(2)
    loss = dice_loss(p, t, torch.ones(2), (0,))
    assert loss.item() == pytest.approx(1 - 2 * (0.8 + 0.1) / (0.64 + 0.01 + 2), rel=1e-5)
    loss.backward()
    # less is better
    assert (p.grad > 0).all()
    assert dice_loss(torch.zeros(2), t, torch.ones(2), (0,)).item() == 0


def test_dice_loss_where_nothing_is_known_is_zero_with_zero_gradient():
    p = torch.tensor([[0.2, 0.9], [0.3, 0.4]], requires_grad=True)
    loss = dice_loss(p, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), (1,))
    loss.sum().backward()
    assert loss[0].item() == 0
    assert (p.grad[0] == 0).all()
    assert (p.grad[1] != 0).all()


def test_affinity_loss_adds_dice_of_the_cuts_and_cross_entropy(generator):
    logits = torch.randn(SHAPE, generator=generator)
    target = (torch.rand(SHAPE, generator=generator) < 0.7).float()
    weight = torch.ones(SHAPE)
    weight[:, 1] = 0
    cross_entropy = one_hot_loss(logits, target, weight, True)
    cuts = 1 - torch.sigmoid(logits)
    dice = [dice_loss(cuts[:, c], 1 - target[:, c], weight[:, c], (0, 1, 2, 3)) for c in (0, 2)]
    expected = 0.5 * sum(dice) / 2 + 3 * cross_entropy
    torch.testing.assert_close(affinity_loss(logits, target, weight, 0.5, 3.0, True), expected)
    torch.testing.assert_close(affinity_loss(logits, target, weight, 0.0, 1.0, True), cross_entropy)
    assert affinity_loss(logits, target, 0 * weight, 0.5, 3.0, True).item() == 0
