"""Distances, sizes and sizes after flips against their definitions; the gradient against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.operations.chebyshev import chessboard_distance, eroded_distance, object_sizes
from dacapo_hd.operations.size_flips import flipped_sizes, flipped_sizes_anywhere
from dacapo_hd.operations.size_kernels import scaled_distances
from dacapo_hd.operations.size_loss import expected_size_error, mean_probability, total_variation

CAP = 99.0
WAYS = [flipped_sizes, flipped_sizes_anywhere]
checked = settings(max_examples=80, deadline=None, derandomize=True)


def distance(states: np.ndarray, edges=1.0) -> np.ndarray:
    """The definition: for each voxel the least, over the background, of the largest difference along an axis."""
    everywhere, background = np.argwhere(states >= 0) * edges, np.argwhere(states == 0) * edges
    found = np.abs(everywhere[:, None] - background).max(axis=-1).min(axis=1, initial=np.inf)
    return found.reshape(states.shape)


def size(states: np.ndarray) -> float:
    """The definition of the size; states are 0 background, 1 object, 2 neither."""
    if not (states == 0).any():
        return CAP
    return 2 * distance(states)[states == 1].max(initial=0)


def flips(states: np.ndarray) -> np.ndarray:
    found = np.zeros(states.shape)
    for place in np.argwhere(states < 2):
        changed = states.copy()
        changed[tuple(place)] ^= 1
        found[tuple(place)] = size(changed)
    return found


shapes = st.one_of(st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 5)] * 3))


@st.composite
def images(draw):
    """Random masks of any density; full and empty ones, with a single voxel of the rarer kind; parts may be outside."""
    shape, rng = draw(shapes), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["random", "full", "empty", "one hole", "one voxel", "box", "holes in a box"]))
    states = np.zeros(shape, np.uint8)
    if kind == "random":
        states = (rng.random(shape) < rng.random()).astype(np.uint8)
    elif kind in ("full", "one hole"):
        states[:] = 1
    if kind in ("one hole", "one voxel"):
        states.flat[rng.integers(states.size)] ^= 1
    if "box" in kind:
        begin = [int(rng.integers(n)) for n in shape]
        states[tuple(slice(b, b + int(rng.integers(1, n + 1))) for b, n in zip(begin, shape, strict=True))] = 1
    if kind == "holes in a box":
        states[rng.random(shape) < 0.1] ^= 1
    if draw(st.booleans()):
        states[rng.random(shape) < 0.3] = 2
    return states


def tensors(*states: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    batch = np.stack(states)
    return torch.from_numpy(batch == 1), torch.from_numpy(batch < 2), torch.full((len(batch),), CAP)


@checked
@given(images())
@pytest.mark.parametrize("way", WAYS)
def test_sizes_after_every_flip_are_those_of_the_definition(way, states):
    # beside it, the same with object and background exchanged
    objects, inside, caps = tensors(states, np.where(states < 2, 1 - states, 2).astype(np.uint8))
    sizes, flipped = way(objects, inside, caps)
    for index in range(2):
        own = np.where(inside[index], objects[index].int(), 2).astype(np.uint8)
        assert sizes[index] == size(own)
        np.testing.assert_array_equal(np.where(own < 2, flipped[index], 0), flips(own))


@checked
@given(images())
def test_sizes_and_distances_are_those_of_the_definition(states):
    objects, inside, caps = tensors(states)
    assert object_sizes(objects, inside, caps).tolist() == [size(states)]
    mask = np.where(states == 1, 1, 0)
    expected = np.minimum(distance(mask), max(mask.shape))
    for found in (chessboard_distance(objects == 0), eroded_distance(objects == 0)):
        np.testing.assert_array_equal(found[0].clamp(max=max(mask.shape)), expected)


@checked
@given(images(), st.tuples(*[st.sampled_from([1.0, 2.5, 4.6, 40.0])] * 3))
def test_scaled_distances_are_those_of_the_definition(states, edges):
    states = states.reshape((1,) * (3 - states.ndim) + states.shape)
    np.testing.assert_allclose(scaled_distances(states == 0, edges), distance(states, edges), rtol=1e-6)


def test_what_lies_beyond_the_border_is_not_background():
    states = np.ones((1, 5, 7), np.uint8)
    states[0, 0, 0] = 0
    objects, inside, caps = tensors(states)
    assert object_sizes(objects, inside, caps).tolist() == [12]


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 2, 5), (2, 2, 2), (3, 2, 2)], ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_the_mean_gradient_is_the_derivative_of_the_expectation(shape, samples):
    torch.manual_seed(0)
    logits = torch.randn(1, 1, *shape, dtype=torch.float64)
    wanted, cap = 2.0, 2.0 * max(shape)
    masks = torch.tensor(list(itertools.product((False, True), repeat=logits.numel()))).view(-1, *shape)
    exact = logits.clone().requires_grad_()
    chances = torch.where(masks, exact.sigmoid()[0], 1 - exact.sigmoid()[0]).flatten(1).prod(1)
    sizes = object_sizes(masks, None, torch.full((len(masks),), cap))
    expectation = (chances * (wanted - sizes.double()) ** 2).sum()
    expectation.backward()

    copies, rounds = 2000, 10
    estimates, errors = [], []
    for _ in range(rounds):
        many = logits.float().expand(copies, -1, -1, -1, -1).clone().requires_grad_()
        sized = torch.full_like(many, wanted)
        error = expected_size_error(many, sized, torch.ones_like(many), samples)
        error.backward()
        # the loss is a mean over the copies
        estimates.append(many.grad * copies)
        errors.append(error.item())
    found = torch.cat(estimates).double()
    standard_error = found.std(0) / (copies * rounds) ** 0.5
    assert ((found.mean(0) - exact.grad[0]).abs() <= 4.5 * standard_error + 1e-7).all()
    spread = float((chances * ((wanted - sizes.double()) ** 2 - expectation) ** 2).sum().detach()) ** 0.5
    assert abs(np.mean(errors) - expectation.item()) <= 4.5 * spread / (copies * rounds * samples) ** 0.5


def test_more_samples_have_less_spread():
    torch.manual_seed(0)
    spreads = []
    for samples in (1, 8):
        logits = torch.zeros(500, 1, 1, 4, 4, requires_grad=True)
        expected_size_error(logits, torch.full_like(logits, 2), torch.ones_like(logits), samples).backward()
        spreads.append(float(logits.grad.var(0).mean()))
    assert spreads[1] < spreads[0] / 4


def test_regions_of_one_image_are_images_of_their_own():
    logits = torch.full((1, 1, 1, 6, 12), -20.0)
    logits[..., 1:4, 1:4] = 20
    logits[..., 2:3, 8:9] = 20
    regions, sizes = torch.zeros_like(logits), torch.zeros_like(logits)
    regions[..., :6], regions[..., 7:] = 1, 2
    sizes[regions == 1], sizes[regions == 2] = 4, 6
    # the first measures 4, the second 2 instead of 6
    assert expected_size_error(logits, sizes, regions).item() == pytest.approx((0 + 16) / 2)
    alone = expected_size_error(logits[..., 7:], sizes[..., 7:], regions[..., 7:])
    assert alone.item() == pytest.approx(16)


def test_voxels_outside_of_regions_have_no_gradient():
    torch.manual_seed(0)
    logits = torch.zeros(1, 2, 1, 6, 6, requires_grad=True)
    regions = torch.zeros_like(logits)
    regions[0, 1, :, :, :3] = 5
    expected_size_error(logits, torch.full_like(logits, 4), regions, 8).backward()
    assert (logits.grad[regions == 0] == 0).all()
    assert (logits.grad[regions > 0] != 0).any()


def test_without_regions_the_loss_and_its_gradient_are_zero():
    logits = torch.randn(2, 1, 1, 4, 4, requires_grad=True)
    nothing = torch.zeros_like(logits)
    loss = expected_size_error(logits, nothing, nothing) + mean_probability(logits, nothing)
    loss = loss + total_variation(logits, nothing)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_the_cap_is_the_size_of_a_mask_without_background():
    logits = torch.full((1, 1, 1, 4, 6), 30.0)
    sized, regions = torch.full_like(logits, 5), torch.ones_like(logits)
    assert expected_size_error(logits, sized, regions).item() == (12 - 5) ** 2
    assert expected_size_error(logits, sized, regions, cap_vx=7).item() == (7 - 5) ** 2


def test_regularisers_are_means_inside_of_regions():
    logits = torch.tensor([20.0, 20, -20, -20, 20]).view(1, 1, 1, 1, 5)
    regions = torch.tensor([1.0, 1, 1, 2, 0]).view(1, 1, 1, 1, 5)
    assert mean_probability(logits, regions).item() == pytest.approx(2 / 4)
    # pairs of one region: 0-1 and 1-2
    assert total_variation(logits, regions).item() == pytest.approx(1 / 2)
