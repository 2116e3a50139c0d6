"""The mutex watershed of embeddings, against edges one by one and constructed vectors."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from embedding_parts import cells, of
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.segmentation import CosineMutexWatershed
from dacapo_hd.segmentation.cosine import cosine_affinities

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, 1), (0, -1, 1), (0, 0, -3), (-2, 1, 0))
SIMILARITIES = pytest.mark.parametrize("similarity", ["absolute", "signed"])
ROW = ((0, 0, -1), (0, 0, -2))


def unit_vectors(rng, shape, dims):
    vectors = rng.standard_normal((dims, *shape))
    return vectors / np.linalg.norm(vectors, axis=0)


def affinity_of(a, b, similarity):
    cosine = float(a @ b)
    return max(cosine, 0) if similarity == "absolute" else (1 + cosine) / 2


def edge_by_edge(distance, vectors, segmenter):
    """Let near edges of the foreground join and far ones forbid, the strongest first, with sets of voxels."""
    inside = {tuple(u) for u in np.argwhere(distance > segmenter.threshold)}
    edges = []
    for offset in segmenter.offsets_vx:
        for u in inside:
            v = tuple(a + b for a, b in zip(u, offset, strict=True))
            if v not in inside:
                continue
            affinity = affinity_of(vectors[(slice(None), *u)], vectors[(slice(None), *v)], segmenter.similarity)
            attracts = max(map(abs, offset)) == 1
            if (attracts and affinity > segmenter.cut) or (not attracts and affinity < segmenter.cut):
                edges.append((abs(affinity - segmenter.cut), attracts, u, v))
    part = {u: {u} for u in inside}
    forbidden = set()
    for _, attracts, u, v in sorted(edges, reverse=True):
        a, b = part[u], part[v]
        if a is b or any((x, y) in forbidden for x in a for y in b):
            continue
        if attracts:
            merged = a | b
            part.update((w, merged) for w in merged)
        else:
            forbidden |= {(u, v), (v, u)}
    number: dict[int, int] = {}
    labels = np.zeros(distance.shape, int)
    for u in sorted(inside):
        labels[u] = number.setdefault(id(part[u]), len(number) + 1)
    return labels


@SIMILARITIES
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    cut=st.floats(0.2, 0.8),
)
def test_it_is_the_literal_algorithm_within_the_foreground(similarity, seed, shape, cut):
    rng = np.random.default_rng(seed)
    distance = rng.choice([0.0, 0.9], shape, p=[0.2, 0.8])
    vectors = unit_vectors(rng, shape, 3)
    segmenter = CosineMutexWatershed(OFFSETS, cut, similarity, long_range_fraction=1)
    found = segmenter.segment(of(distance, vectors)).labels["mito"]
    np.testing.assert_array_equal(found, edge_by_edge(distance, vectors, segmenter))


@SIMILARITIES
def test_affinities_are_those_of_each_pair(similarity):
    vectors = unit_vectors(np.random.default_rng(0), (3, 4, 5), 4).astype(np.float32)
    found = cosine_affinities(np.moveaxis(vectors, 0, -1), OFFSETS, similarity)
    assert found.dtype == np.float32
    expected = np.zeros(found.shape)
    for (number, *u), _ in np.ndenumerate(expected):
        v = [a + b for a, b in zip(u, OFFSETS[number], strict=True)]
        if all(0 <= a < n for a, n in zip(v, (3, 4, 5), strict=True)):
            ends = vectors[(slice(None), *u)], vectors[(slice(None), *v)]
            expected[(number, *u)] = affinity_of(*ends, similarity)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("similarity", "degrees", "affinity"),
    [
        ("absolute", 0, 1),
        ("absolute", 60, 0.5),
        ("absolute", 90, 0),
        ("absolute", 180, 0),
        ("signed", 0, 1),
        ("signed", 90, 0.5),
        ("signed", 120, 0.25),
        ("signed", 180, 0),
    ],
)
def test_what_the_loss_drives_apart_has_affinity_0(similarity, degrees, affinity):
    angle = np.radians(degrees)
    vectors = np.array([[1, 0], [np.cos(angle), np.sin(angle)]], np.float32).reshape(1, 1, 2, 2)
    assert cosine_affinities(vectors, ((0, 0, 1),), similarity)[0, 0, 0, 0] == pytest.approx(affinity, abs=1e-6)


def row(*degrees):
    """Make one row of voxels whose vectors point in these directions."""
    angles = np.radians(degrees)
    vectors = np.stack([np.cos(angles), np.sin(angles)]).reshape(2, 1, 1, -1)
    return of(np.full((1, 1, len(degrees)), 0.9), vectors)


def test_long_edges_forbid_what_short_ones_would_join():
    # each step turns by 55 degrees, which attracts a little; two steps are opposed
    turning = row(0, 0, 55, 110, 110)
    far, near = (CosineMutexWatershed(((0, 0, -1), (0, 0, -n)), long_range_fraction=1) for n in (9, 2))
    assert far.segment(turning).labels["mito"].max() == 1
    assert near.segment(turning).labels["mito"].max() == 2


def test_long_edges_do_not_join():
    # the first and the last three agree, but what lies between is like neither
    labels = CosineMutexWatershed(((0, 0, -1), (0, 0, -4)), long_range_fraction=1).segment(row(0, 0, 0, 90, 0, 0, 0))
    assert labels.labels["mito"].ravel().tolist() == [1, 1, 1, 2, 3, 3, 3]


def test_the_share_of_long_edges_is_kept():
    prediction, _ = cells(dims=6, noise=0.25)
    objects = [
        CosineMutexWatershed(long_range_fraction=share).segment(prediction).labels["mito"].max()
        for share in (0.001, 0.1, 1)
    ]
    # of single noisy pairs, any may forbid
    assert objects == sorted(objects)
    assert objects[0] < objects[2] / 2


def test_sections_need_an_offset_that_joins_them():
    prediction, _ = cells((3, 20, 20), 4, dims=6)
    segmenter = CosineMutexWatershed(((0, -1, 0), (0, 0, -1), (0, -4, 0), (-2, 0, 0)))
    with pytest.raises(UserError) as raised:
        segmenter.segment(prediction)
    assert raised.value.problems == (
        "cosine_mutex_watershed(absolute cosine > 0.5, long range 0.1 of 2 offsets up to 4, distance > 0.1): no offset "
        "to a neighbour leaves the section, but there are several, whose objects would fall apart; add one along z "
        "such as (-1,0,0) to offsets_vx, or give axes: yx",
    )
    assert attrs.evolve(segmenter, axes="yx").segment(prediction).labels["mito"][2].max() > 0
    one = attrs.evolve(prediction, data=prediction.data[:, :1])
    assert segmenter.segment(one).labels["mito"].max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"offsets_vx": ((0, -1), (0, -4))},
            "must be three numbers each (z, y, x), 0 along z within a section; got (0,-1) (0,-4)",
        ),
        ({"offsets_vx": (*ROW, (0, 0, 0))}, "must lead to another voxel, got (0,0,0)"),
        ({"offsets_vx": (*ROW, (0, 0, -2))}, "must differ from each other, got (0,0,-1) (0,0,-2) (0,0,-2)"),
        ({"offsets_vx": ((0, 0, -2),)}, "must have one to a neighbour, which attracts, such as (0,0,-1); got (0,0,-2)"),
        ({"offsets_vx": ()}, "must have one to a neighbour, which attracts, such as (0,0,-1); got none"),
        (
            {"offsets_vx": ((0, 0, -1), (0, -1, 1))},
            "must have one of 2 voxels at least, which repels, such as (0,0,-4); got (0,0,-1) (0,-1,1)",
        ),
        ({"cut": 1.5}, "must be at least 0 and less than 1, got 1.5"),
        ({"similarity": "cosine"}, "must be one of 'absolute', 'signed', got 'cosine'"),
        ({"long_range_fraction": 0}, "must be > 0: without repulsion all that touches would be one object"),
        ({"threshold": 2}, "must be at least 0 and less than 1, got 2"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(ValueError) as caught:
        CosineMutexWatershed(**options)
    assert str(caught.value) == message
