from __future__ import annotations

import numpy as np
import pytest

from dacapo_hd.operations.shape_descriptors import DESCRIPTORS, TRUNCATE, shape_descriptors, unknown_share

VOXEL_SIZE = (8.0, 4.0, 4.0)
SIGMA = 8.0
SHAPE = (5, 9, 10)


def weights_around(voxel):
    """Return the Gaussian of a voxel over the volume, as scipy cuts it off and normalises it per axis."""
    found = np.ones(SHAPE)
    for axis, (size, edge) in enumerate(zip(SHAPE, VOXEL_SIZE, strict=True)):
        sigma = SIGMA / edge
        radius = int(TRUNCATE * sigma + 0.5)
        steps = np.arange(-radius, radius + 1)
        kernel = np.exp(-(steps**2) / (2 * sigma**2))
        kernel /= kernel.sum()
        line = np.zeros(size)
        for step, weight in zip(steps, kernel, strict=True):
            if 0 <= voxel[axis] + step < size:
                line[voxel[axis] + step] = weight
        found *= line.reshape([-1 if a == axis else 1 for a in range(3)])
    return found


def voxel_by_voxel(labels):
    """Sum over the voxels of each voxel's own object."""
    found = np.zeros((len(DESCRIPTORS), *SHAPE))
    positions = np.indices(SHAPE) * np.reshape(VOXEL_SIZE, (3, 1, 1, 1))
    for voxel in np.ndindex(SHAPE):
        if labels[voxel] <= 0:
            continue
        weight = weights_around(voxel) * (labels == labels[voxel])
        total = weight.sum()
        mean = [(weight * p).sum() / total for p in positions]
        variance = [max((weight * (p - m) ** 2).sum() / total, 1e-3) for p, m in zip(positions, mean, strict=True)]
        offset = [(m - p[voxel]) / SIGMA for m, p in zip(mean, positions, strict=True)]
        correlation = [
            (weight * (positions[a] - mean[a]) * (positions[b] - mean[b])).sum()
            / total
            / np.sqrt(variance[a] * variance[b])
            for a, b in ((0, 1), (0, 2), (1, 2))
        ]
        found[:, *voxel] = np.clip(
            [
                *(0.5 + o / 2 for o in offset),
                *(v / SIGMA**2 for v in variance),
                *(0.5 + c / 2 for c in correlation),
                total,
            ],
            0,
            1,
        )
    return found


@pytest.mark.parametrize("seed", range(3))
def test_descriptors_are_the_moments_of_each_voxels_object(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-2, 4, (2, 3, 4))
    labels = np.repeat(np.repeat(np.repeat(coarse, 3, 0), 3, 1), 3, 2)[:5, :9, :10]
    found = shape_descriptors(labels, SIGMA, VOXEL_SIZE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, voxel_by_voxel(labels), atol=2e-3)
    assert (found[:, labels <= 0] == 0).all()


def test_the_middle_of_a_large_object_is_symmetric():
    labels = np.ones((25, 49, 49), int)
    found = shape_descriptors(labels, SIGMA, VOXEL_SIZE)[:, 12, 24, 24]
    np.testing.assert_allclose(found[:3], 0.5, atol=1e-4)
    np.testing.assert_allclose(found[3:6], 1, atol=0.07)
    np.testing.assert_allclose(found[6:9], 0.5, atol=1e-4)
    assert found[9] == pytest.approx(1, abs=1e-4)


def test_what_lies_beyond_the_array_is_unknown():
    share = unknown_share(np.zeros((25, 49, 49), bool), SIGMA, VOXEL_SIZE)
    assert share[12, 24, 24] == pytest.approx(0, abs=1e-5)
    assert 0.3 < share[0, 24, 24] < 0.5
    assert unknown_share(np.ones((3, 3, 3), bool), SIGMA, VOXEL_SIZE).min() == 1
