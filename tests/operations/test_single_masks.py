from __future__ import annotations

import itertools

import numpy as np
import pytest

from dacapo_hd.operations.single_masks import consecutive, near_transition, whole_windows

SHAPE = (4, 7, 8)


WINDOWS = [((3, 3, 3), (1, 1, 1)), ((1, 5, 3), (1, 1, 2)), ((9, 3, 3), (1, 4, 3))]


@pytest.mark.parametrize(("window", "dilation"), WINDOWS)
def test_windows_are_known_where_all_their_places_are(window, dilation):
    known = np.random.default_rng(0).random(SHAPE) < 0.97
    found = whole_windows(known, window, dilation)
    axes = zip(window, dilation, strict=True)
    places = list(itertools.product(*(range(-(n // 2) * d, n // 2 * d + 1, d) for n, d in axes)))
    for c in np.ndindex(SHAPE):
        inside = [tuple(a + b for a, b in zip(c, place, strict=True)) for place in places]
        expected = all(all(0 <= i < n for i, n in zip(u, SHAPE, strict=True)) and known[u] for u in inside)
        assert found[c] == expected


@pytest.mark.parametrize("axes", ["zyx", "yx"])
@pytest.mark.parametrize("distance", [0, 1, 1.1, 2, 2.5])
def test_transitions_are_near_where_another_label_is(axes, distance):
    labels = np.random.default_rng(1).choice([-2, -1, 0, 3, 9], (2, 3, 2))
    labels = np.repeat(np.repeat(np.repeat(labels, 2, 0), 3, 1), 4, 2)
    found = near_transition(labels, distance, axes)
    voxels = list(np.ndindex(labels.shape))
    for u in voxels:
        other = [v for v in voxels if labels[v] != labels[u] and (axes == "zyx" or u[0] == v[0])]
        others = [np.linalg.norm(np.subtract(u, v)) for v in other]
        assert found[u] == (min(others, default=np.inf) < distance)


def test_ids_are_numbered_without_gaps():
    labels = np.array([[[-2, 0, 7, 7, 4_000_000_000, -1]]])
    found = consecutive(labels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[[0, 0, 1, 1, 2, 0]]])
    np.testing.assert_array_equal(consecutive(labels[..., 2:5]), [[[1, 1, 2]]])
