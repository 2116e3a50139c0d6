from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dacapo_hd.operations.mask_aggregation import Branch, Window, _finished, add_torch, aggregate

SHAPE = (5, 9, 8)
OFFSETS = ((-1, 0, 0), (0, 0, -1), (0, 2, -2), (0, -4, 0), (2, 1, 1))
WINDOWS = (Window((3, 5, 5)), Window((3, 3, 5), (1, 2, 2)), Window((5, 1, 3), (1, 1, 3)))


def random_branch(window, seed, shape=SHAPE):
    """Return masks that are their own latents."""
    values = torch.rand((int(np.prod(window.size)), *shape), generator=torch.Generator().manual_seed(seed))
    # some masks are empty, as those of centres at a boundary are
    empty = torch.rand((1, *shape), generator=torch.Generator().manual_seed(seed + 1)) < 0.3
    return Branch(window, torch.where(empty, 0, values), lambda latents: latents)


def literally(branches, offset, u, shape=SHAPE):
    """Algorithm 1 for one edge, with Welford's update: (mean, variance, evidence)."""
    v = tuple(a + b for a, b in zip(u, offset, strict=True))
    mean = square = total = 0.0
    for branch in branches:
        window = branch.window
        grid = [range(-(n // 2), n // 2 + 1) for n in window.size]
        index = {n: i for i, n in enumerate(itertools.product(*grid))}
        for c in np.ndindex(shape):
            places = []
            for end in (u, v):
                steps = [(e - m) / d for e, m, d in zip(end, c, window.dilation, strict=True)]
                places.append(index.get(tuple(int(s) if s == int(s) else None for s in steps)))
            if None in places:
                continue
            x, y = (branch.latents[(place, *c)].double().item() for place in places)
            affinity, weight = min(x, y), max(x, y)
            if weight == 0:
                continue
            total += weight
            change = affinity - mean
            mean += weight / total * change
            square += weight * change * (affinity - mean)
    return (mean, square / total, total) if total else (0.0, 0.25, 0.0)


@pytest.mark.parametrize("windows", [WINDOWS[:1], WINDOWS[1:2], WINDOWS])
@pytest.mark.parametrize("tile", [(16, 64, 64), (2, 4, 3)])
def test_it_is_the_literal_algorithm(windows, tile):
    branches = [random_branch(window, seed) for seed, window in enumerate(windows)]
    mean, variance = aggregate(branches, OFFSETS, tile)
    assert mean.shape == variance.shape == (len(OFFSETS), *SHAPE)
    rng = np.random.default_rng(0)
    for number, offset in enumerate(OFFSETS):
        for u in rng.permutation(list(np.ndindex(SHAPE)))[:25]:
            if all(0 <= a + b < n for a, b, n in zip(u, offset, SHAPE, strict=True)):
                expected = literally(branches, offset, tuple(map(int, u)))
                found = mean[(number, *u)].item(), variance[(number, *u)].item()
                assert found == pytest.approx(expected[:2], abs=1e-5)


def test_the_torch_form_is_the_same():
    branch = random_branch(WINDOWS[1], 3)
    sums = torch.zeros(3, len(OFFSETS), 3, 5, 4)
    add_torch(branch.latents, branch.window, OFFSETS, (1, 2, 3), sums)
    mean, variance = aggregate([branch], OFFSETS)
    inner = (slice(None), slice(1, 4), slice(2, 7), slice(3, 7))
    torch.testing.assert_close(_finished(sums)[0], mean[inner], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(_finished(sums)[1], variance[inner], atol=1e-6, rtol=1e-5)


def test_masks_without_evidence_leave_the_affinity_open():
    branch = Branch(WINDOWS[0], torch.zeros(75, *SHAPE), lambda latents: latents)
    mean, variance = aggregate([branch], OFFSETS)
    assert (mean == 0).all()
    assert (variance == 0.25).all()
    # an offset that fits no window has no evidence either
    assert aggregate([random_branch(WINDOWS[0], 0)], ((0, 0, 9),))[1].min() == 0.25


def test_sure_and_equal_masks_have_no_variance():
    branch = Branch(WINDOWS[0], torch.ones(75, *SHAPE), lambda latents: latents)
    mean, variance = aggregate([branch], OFFSETS[:3])
    torch.testing.assert_close(mean, torch.ones_like(mean))
    assert variance.max() < 1e-6


def test_which_offsets_fit_a_window():
    assert Window((5, 7, 7)).fits((-4, 6, 0))
    assert not Window((5, 7, 7)).fits((0, 0, 7))
    assert Window((5, 7, 7), (1, 4, 4)).fits((1, -24, 12))
    assert not Window((5, 7, 7), (1, 4, 4)).fits((0, 0, 6))
    assert all(bool(w.pairs(o)) == w.fits(o) for w in WINDOWS for o in itertools.product(range(-4, 5), repeat=3))
    assert Window((3, 5, 7), (2, 1, 4)).reach == (2, 2, 12)


def test_memory_beside_the_results_does_not_grow_with_the_volume():
    window = Window((3, 5, 5))
    decoded = []

    def decode(latents):
        decoded.append(latents[0].numel())
        return latents.expand(75, -1, -1, -1)

    for depth in (32, 64):
        decoded.clear()
        latents = torch.rand(1, depth, 40, 40)
        aggregate([Branch(window, latents, decode)], OFFSETS, (8, 16, 16))
        # the tile and its halo
        assert max(decoded) == 10 * 20 * 20
