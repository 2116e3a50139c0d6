"""The embedding loss against a literal loop over objects, and the search for neighbours against all distances."""

from __future__ import annotations

import itertools
import math
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dacapo_hd.operations import embeddings
from dacapo_hd.operations.embeddings import Objects, half_ball, inter_loss, intra_loss, unit

checked = settings(max_examples=40, deadline=None, derandomize=True)
ids = hnp.arrays(np.int64, st.tuples(st.integers(1, 3), *[st.integers(1, 5)] * 3), elements=st.integers(-1, 4))


def literal(vectors, ids, pairs_of, background=True, absolute=True, by_voxels=False):
    """Compute equation 1 of the paper image by image, object by object, voxel by voxel: (intra, inter)."""
    intras, inters = [], []
    for image, labels in zip(vectors, ids, strict=True):
        here = [int(i) for i in labels.unique() if i >= (0 if background else 1)]
        if not here:
            continue
        members = {i: image[:, labels == i].T for i in here}
        members = {i: [e / e.norm() for e in those] for i, those in members.items()}
        mean = {i: sum(those) / len(those) for i, those in members.items()}
        off = {i: [1 - torch.cosine_similarity(e, mean[i], dim=0) for e in those] for i, those in members.items()}
        if by_voxels:
            intras.append(sum(sum(those) for those in off.values()) / sum(len(those) for those in off.values()))
        else:
            intras.append(sum(sum(those) / len(those) for those in off.values()) / len(here))
        of_objects = []
        for i in here:
            cosines = [torch.cosine_similarity(mean[i], mean[j], dim=0) for j in here if pairs_of(labels, i, j)]
            if cosines:
                terms = [c.abs() if absolute else 1 + c for c in cosines]
                of_objects.append(sum(terms) / len(terms))
        if of_objects:
            inters.append(sum(of_objects) / len(of_objects))
    zero = vectors.sum() * 0
    return sum(intras) / len(intras) if intras else zero, sum(inters) / len(inters) if inters else zero


def every_pair(labels, i, j):
    return i != j


def near(radius_nm, voxel_size_nm):
    def is_near(labels, i, j):
        a, b = (torch.nonzero(labels == k).double() * torch.tensor(voxel_size_nm).double() for k in (i, j))
        return i != j and torch.cdist(a, b).min().item() <= radius_nm * (1 + 1e-9)

    return is_near


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("by_voxels", [True, False])
@pytest.mark.parametrize("local", [True, False])
def test_losses_and_gradients_equal_a_literal_loop(background, absolute, by_voxels, local):
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(-1, 5, (3, 2, 3, 3), generator=generator)
    labels = blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    vectors = torch.randn(3, 4, *labels.shape[1:], generator=generator)
    rule = near(9.0, (10.0, 4.0, 4.0)) if local else every_pair
    results = []
    for ours in (True, False):
        own = vectors.clone().requires_grad_(True)
        if ours:
            objects = Objects.of(labels, background)
            pairs = objects.near_pairs(9.0, (10.0, 4.0, 4.0)) if local else objects.all_pairs()
            means = objects.means(unit(own))
            losses = intra_loss(means, objects, by_voxels), inter_loss(means, objects, pairs, absolute)
        else:
            losses = literal(own, labels, rule, background, absolute, by_voxels)
        gradients = [torch.autograd.grad(loss, own, retain_graph=True)[0] for loss in losses]
        results.append((*losses, *gradients))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    assert all(gradient.abs().max() > 1e-4 for gradient in results[0][2:])


@pytest.mark.parametrize("most_steps", [0, 10**9], ids=["distances", "steps"])
@given(ids, st.sampled_from([(1.0, 1.0, 1.0), (4.0, 1.0, 1.5)]), st.one_of(st.floats(0.5, 6), st.integers(1, 6)))
@checked
def test_neighbours_are_those_at_most_the_radius_apart(most_steps, labels, voxel_size_nm, radius_nm):
    objects = Objects.of(torch.from_numpy(labels), background=True)
    with mock.patch.object(embeddings, "MOST_STEPS", most_steps):
        found = {tuple(pair) for pair in objects.near_pairs(radius_nm, voxel_size_nm).tolist()}
    expected = set()
    for image, numbers in zip(torch.from_numpy(labels), objects.labels, strict=True):
        number = {int(i): int(numbers[image == i][0]) for i in image.unique() if i >= 0}
        rule = near(radius_nm, voxel_size_nm)
        expected |= {(number[i], number[j]) for i, j in itertools.permutations(number, 2) if rule(image, i, j)}
    assert found == expected


@pytest.mark.parametrize(("radius_nm", "edge"), [(0.3, 0.1), (29.4, 9.8), (12.6, 4.2), (90.0, 30.0)])
def test_a_voxel_at_exactly_the_radius_is_near(radius_nm, edge):
    # as floats, 0.3 / 0.1 and 29.4 / 9.8 are less than 3, and 3 * 4.2 is more than 12.6
    assert [0, 0, 3] in half_ball(radius_nm, (edge,) * 3, (1, 9, 9)).tolist()
    assert [0, 0, 3] not in half_ball(0.999 * radius_nm, (edge,) * 3, (1, 9, 9)).tolist()


def test_without_a_radius_all_objects_are_neighbours():
    labels = torch.arange(6).view(1, 1, 2, 3)
    objects = Objects.of(labels, background=True)
    assert torch.equal(objects.near_pairs(math.inf, (1.0, 1.0, 1.0)), objects.all_pairs())


def test_means_of_millions_of_voxels_are_exact():
    objects = Objects.of(torch.zeros(1, 1, 1, 1 << 21, dtype=torch.long), background=True)
    vectors = torch.tensor([0.6, 0.8]).view(1, 2, 1, 1, 1).expand(-1, -1, 1, 1, 1 << 21)
    torch.testing.assert_close(objects.means(vectors), torch.tensor([[0.6, 0.8]]), atol=1e-4, rtol=0)


@given(st.tuples(*[st.integers(1, 6)] * 3), st.floats(0.5, 5))
@checked
def test_steps_are_half_of_the_ball(shape, radius_nm):
    steps = {tuple(step) for step in half_ball(radius_nm, (2.0, 1.0, 1.0), shape).tolist()}
    every = itertools.product(*(range(1 - n, n) for n in shape))
    ball = {s for s in every if any(s) and (2 * s[0]) ** 2 + s[1] ** 2 + s[2] ** 2 <= radius_nm**2 * (1 + 1e-6) ** 2}
    assert steps | {tuple(-n for n in step) for step in steps} == ball
    assert 2 * len(steps) == len(ball)


@given(ids)
@checked
def test_background_next_to_all_adds_each_pair_once(labels):
    objects = Objects.of(torch.from_numpy(labels), background=True)
    pairs = [tuple(pair) for pair in objects.with_background(objects.near_pairs(1.0, (1.0,) * 3)).tolist()]
    assert len(set(pairs)) == len(pairs)
    every = {tuple(pair) for pair in objects.all_pairs().tolist()}
    with_background = {pair for pair in every if objects.background[list(pair)].any()}
    assert with_background <= set(pairs) <= every
    assert set(pairs) - with_background <= {tuple(p) for p in objects.near_pairs(1.0, (1.0,) * 3).tolist()}


def losses(labels, vectors, background=True):
    own = vectors.clone().requires_grad_(True)
    objects = Objects.of(labels, background)
    means = objects.means(unit(own))
    intra, inter = intra_loss(means, objects), inter_loss(means, objects, objects.all_pairs(), absolute=True)
    (intra + inter).backward()
    return intra.item(), inter.item(), own.grad


def test_without_any_object_both_losses_and_gradients_are_zero():
    vectors = torch.randn(2, 3, 1, 4, 4)
    for labels, background in ((torch.full((2, 1, 4, 4), -1), True), (torch.zeros(2, 1, 4, 4).long(), False)):
        intra, inter, gradient = losses(labels, vectors, background)
        assert (intra, inter) == (0, 0)
        assert (gradient == 0).all()


def test_a_single_object_is_drawn_together_and_pushed_from_nothing():
    intra, inter, gradient = losses(torch.ones(1, 1, 4, 4).long(), torch.randn(1, 3, 1, 4, 4), background=False)
    assert intra > 0
    assert inter == 0
    assert gradient.abs().max() > 0


def test_an_object_without_neighbours_has_no_say_between_objects():
    labels = torch.zeros(1, 1, 1, 30).long()
    labels[..., :3], labels[..., 3:6], labels[..., 20:] = 1, 2, 3
    vectors = torch.randn(1, 3, 1, 1, 30)
    objects = Objects.of(labels, background=False)
    means = objects.means(unit(vectors))
    found = inter_loss(means, objects, objects.near_pairs(2.0, (1.0,) * 3), absolute=True)
    torch.testing.assert_close(found, torch.cosine_similarity(means[0], means[1], dim=0).abs())


def test_an_image_without_objects_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (1, 1, 4, 4), generator=generator)
    vectors = torch.randn(2, 3, 1, 4, 4, generator=generator)
    alone = losses(labels, vectors[:1])
    beside = losses(torch.cat([labels, torch.full_like(labels, -1)]), vectors)
    assert alone[:2] == pytest.approx(beside[:2])
    torch.testing.assert_close(alone[2], beside[2][:1])


def test_unknown_voxels_have_no_influence():
    labels = torch.tensor([[[[0, 0, 1, 1, -1, -1]]]])
    vectors = torch.randn(1, 3, 1, 1, 6)
    changed = vectors.clone()
    changed[..., 4:] = 100
    assert losses(labels, vectors)[:2] == losses(labels, changed)[:2]
    assert (losses(labels, vectors)[2][..., 4:] == 0).all()


def test_opposite_and_orthogonal_vectors():
    labels = torch.tensor([[[[1, 1, 2, 2]]]])
    objects = Objects.of(labels, background=False)
    east, north = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for other, absolute, expected in (
        (north, True, 0.0),
        (north, False, 1.0),
        (-east, True, 1.0),
        (-east, False, 0.0),
        (east, True, 1.0),
        (east, False, 2.0),
    ):
        found = inter_loss(torch.cat([east, other]), objects, objects.all_pairs(), absolute)
        assert found.item() == pytest.approx(expected)
