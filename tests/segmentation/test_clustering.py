"""Objects from embeddings, against literal loops and constructed cells."""

from __future__ import annotations

import itertools
import math

import attrs
import numpy as np
import pytest
from embedding_parts import cells, of
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.segmentation import (
    AngularClustering,
    CosineMutexWatershed,
    HdbscanClustering,
    MeanShiftClustering,
    Prediction,
)

checked = settings(max_examples=40, deadline=None, derandomize=True)
SEGMENTERS = [AngularClustering(), MeanShiftClustering(), HdbscanClustering(), CosineMutexWatershed()]


def best_dice(a: np.ndarray, b: np.ndarray) -> float:
    found = []
    for own in np.unique(a[a > 0]):
        mask = a == own
        found.append(max(2 * (mask & (b == other)).sum() / (mask.sum() + (b == other).sum()) for other in np.unique(b)))
    return float(np.mean(found))


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: type(segmenter).__name__)
def test_cells_are_told_apart(segmenter):
    prediction, ids = cells(dims=6)
    found = segmenter.segment(prediction)
    labels = found.labels["mito"]
    assert found.instances
    assert labels.dtype == np.uint32
    assert not labels[prediction.data[0] <= segmenter.threshold].any()
    if isinstance(segmenter, AngularClustering | CosineMutexWatershed):
        assert min(best_dice(ids, labels), best_dice(labels, ids)) > 0.85
    else:
        large = np.bincount(labels.ravel())[labels] >= 10
        assert best_dice(ids, np.where(large, labels, 0)) > 0.75


def seeds_of(distance, vectors, segmenter):
    """Flood voxel by voxel, over faces across which vectors agree."""
    seeds, number = np.zeros(distance.shape, int), 0
    for first in map(tuple, np.argwhere(distance > segmenter.seed_threshold)):
        if seeds[first]:
            continue
        number += 1
        seeds[first], stack = number, [first]
        while stack:
            here = stack.pop()
            for axis, side in itertools.product(range(3), (-1, 1)):
                near = tuple(p + side * (a == axis) for a, p in enumerate(here))
                inside = all(0 <= p < n for p, n in zip(near, seeds.shape, strict=True))
                if not inside or seeds[near] or distance[near] <= segmenter.seed_threshold:
                    continue
                if float(vectors[here] @ vectors[near]) >= math.cos(math.radians(segmenter.degrees)):
                    seeds[near] = number
                    stack.append(near)
    return seeds, number


def layers(distance, vectors, segmenter):
    """Grow clusters layer by layer as the docstring says, voxel by voxel."""
    vectors = np.moveaxis(vectors, 0, -1)
    seeds, number = seeds_of(distance, vectors, segmenter)
    mean = [vectors[seeds == i].sum(axis=0) * (i > 0) for i in range(number + 1)]
    mean = [m / max(np.linalg.norm(m), 1e-12) for m in mean]
    labels = seeds.copy()
    while True:
        claims: dict[tuple[int, ...], tuple[float, int]] = {}
        for voxel in np.argwhere(labels > 0):
            own = labels[tuple(voxel)]
            for axis in range(3):
                for side in (-1, 1):
                    near = voxel.copy()
                    near[axis] += side
                    place = tuple(near)
                    if not all(0 <= p < n for p, n in zip(place, labels.shape, strict=True)):
                        continue
                    if labels[place] or distance[place] <= segmenter.threshold:
                        continue
                    cosine = float(vectors[place] @ mean[own])
                    if cosine >= math.cos(math.radians(segmenter.degrees)):
                        claims[place] = max(claims.get(place, (-2.0, 0)), (cosine, -own))
        if not claims:
            return labels
        for place, (_, own) in claims.items():
            labels[place] = -own


@given(st.integers(0, 2**32), st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)), st.floats(20, 85))
@checked
def test_growth_is_that_of_a_literal_loop(seed, shape, degrees):
    rng = np.random.default_rng(seed)
    distance = rng.choice([0.0, 0.3, 0.5, 0.9], shape, p=[0.1, 0.4, 0.3, 0.2])
    vectors = rng.standard_normal((3, *shape)) + np.reshape([1.0, 0.5, 0.0], (3, 1, 1, 1))
    vectors /= np.linalg.norm(vectors, axis=0)
    segmenter = AngularClustering(degrees=degrees, merge=False)
    found = segmenter.segment(of(distance, vectors)).labels["mito"]
    expected = layers(distance, vectors, segmenter)
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(expected)) == len(np.unique(found))


def stacked(dims=2):
    """Make two boxes that touch across sections of 40 nm, as deep at the face between as in their middle."""
    distance = np.zeros((6, 16, 16))
    distance[:, 1:-1, 1:-1] = 1
    vectors = np.zeros((dims, 6, 16, 16))
    vectors[0, :3] = vectors[1, 3:] = 1
    return of(distance, vectors)


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: type(segmenter).__name__)
def test_objects_that_touch_where_they_are_deep_are_told_apart(segmenter):
    labels = segmenter.segment(stacked()).labels["mito"]
    assert [np.unique(part[:, 1:-1, 1:-1]).tolist() for part in (labels[:3], labels[3:])] == [[1], [2]]


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: type(segmenter).__name__)
def test_sections_can_be_segmented_by_themselves(segmenter):
    labels = attrs.evolve(segmenter, axes="yx").segment(stacked()).labels["mito"]
    assert [np.unique(section[1:-1, 1:-1]).tolist() for section in labels] == [[n] for n in range(1, 7)]
    assert not labels[:, 0].any()


def two_seeds(angle: float) -> Prediction:
    """Make one row with two seeds whose vectors include an angle (degrees)."""
    distance = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.9]).reshape(1, 1, 6)
    turned = [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
    vectors = np.repeat([[1.0, 0.0], turned], 3, axis=0).T.reshape(2, 1, 1, 6)
    return of(distance, vectors)


@pytest.mark.parametrize(("angle", "merge", "objects"), [(40, True, 1), (40, False, 2), (50, True, 2), (90, True, 2)])
def test_touching_clusters_merge_if_their_seeds_agree(angle, merge, objects):
    labels = AngularClustering(merge=merge).segment(two_seeds(angle)).labels["mito"]
    assert labels.max() == objects
    assert (labels > 0).all()
    if objects == 2:
        assert labels.ravel().tolist() == [1, 1, 1, 2, 2, 2]


def test_a_chain_of_touching_clusters_becomes_one_object():
    distance = np.tile([0.9, 0.5], 20).reshape(1, 1, 40)
    vectors = np.zeros((2, 1, 1, 40))
    vectors[0] = 1
    assert AngularClustering().segment(of(distance, vectors)).labels["mito"].max() == 1
    assert AngularClustering(merge=False).segment(of(distance, vectors)).labels["mito"].max() == 20


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: type(segmenter).__name__)
def test_objects_of_the_same_vector_are_separate_where_they_do_not_touch(segmenter):
    distance = np.zeros((1, 20, 30))
    distance[:, 5:15, 2:12] = distance[:, 5:15, 18:28] = 0.9
    vectors = np.zeros((4, 1, 20, 30))
    vectors[1] = 1
    labels = segmenter.segment(of(distance, vectors)).labels["mito"]
    assert set(np.unique(labels[:, 5:15, 2:12])) == {1}
    assert set(np.unique(labels[:, 5:15, 18:28])) == {2}


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: type(segmenter).__name__)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 6)])
def test_nothing_is_found_in_nothing(segmenter, shape):
    labels = segmenter.segment(of(np.zeros(shape), np.zeros((4, *shape)))).labels["mito"]
    assert labels.shape == shape
    assert not labels.any()


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: type(segmenter).__name__)
def test_a_few_voxels_are_no_problem(segmenter):
    distance = np.zeros((1, 3, 3))
    distance[0, 1, 1] = 0.9
    labels = segmenter.segment(of(distance, np.ones((2, 1, 3, 3)))).labels["mito"]
    assert labels.sum() == labels[0, 1, 1] == 1


def test_only_directions_count():
    prediction, _ = cells(dims=6)
    scaled = Prediction(prediction.channels, prediction.data.copy(), prediction.voxel_size_nm)
    scaled.data[1:] *= 0.3
    for segmenter in SEGMENTERS:
        first, second = (segmenter.segment(p).labels["mito"] for p in (prediction, scaled))
        assert (first == second).mean() > 0.999


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: type(segmenter).__name__)
def test_small_objects_can_be_left_out(segmenter):
    prediction, _ = cells(dims=6)
    labels = attrs.evolve(segmenter, min_size_vx=100).segment(prediction).labels["mito"]
    sizes = np.bincount(labels.ravel())[1:]
    assert len(sizes) > 0
    assert sizes.min() >= 100


def test_a_prediction_without_embedding_is_refused():
    prediction = Prediction(("mito/distance",), np.zeros((1, 1, 2, 2), np.float32), (8.0, 8.0, 8.0))
    with pytest.raises(UserError) as raised:
        AngularClustering().segment(prediction)
    assert str(raised.value) == (
        "angular(45 degrees, seeds > 0.7, distance > 0.1, merged): the prediction has no embedding of 'mito', only "
        "mito/distance; choose a segmenter for what the task predicts"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AngularClustering(degrees=90), "must be between 0 and 90, got 90"),
        (lambda: AngularClustering(0.3, threshold=0.5), "must be at least threshold (0.5), got 0.3"),
        (lambda: AngularClustering(threshold=-1), "must be at least 0 and less than 1, got -1"),
        (lambda: MeanShiftClustering(threshold=1), "must be at least 0 and less than 1, got 1"),
        (lambda: AngularClustering(1), "must be at least 0 and less than 1, got 1"),
        (lambda: CosineMutexWatershed(cut=1), "must be at least 0 and less than 1, got 1"),
        (lambda: MeanShiftClustering(axes="xy"), "must be one of 'zyx', 'yx', got 'xy'"),
        (lambda: MeanShiftClustering(0), "must be > 0, got 0"),
        (lambda: MeanShiftClustering(samples=0), "must be > 0, got 0"),
        (lambda: HdbscanClustering(1), "must be >= 2, got 1"),
        (lambda: HdbscanClustering(20, samples=10), "must be at most samples (10), got 20"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("dims", [8, 16])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_mean_shift_starts_within_reach_of_vectors_of_many_dimensions(dims, noise):
    """The middle of a bin of 16 dimensions may be twice the bandwidth away from all vectors in it."""
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(6), 8)[None, None].repeat(12, axis=1)
    for _ in range(5):
        axes = np.linalg.qr(rng.standard_normal((dims, dims)))[0][:6]
        vectors = np.moveaxis(axes[ids] + noise * rng.standard_normal((*ids.shape, dims)), -1, 0)
        labels = MeanShiftClustering().segment(of(np.ones(ids.shape), vectors)).labels["mito"]
        np.testing.assert_array_equal(labels, ids + 1)


def test_labels_for_tables():
    assert MeanShiftClustering(min_size_vx=5).label == "mean_shift(bandwidth 0.5, distance > 0.1, size >= 5)"
    assert MeanShiftClustering(axes="yx").label == "mean_shift(bandwidth 0.5, distance > 0.1, in sections)"
    assert HdbscanClustering(fill_holes=True).label == "hdbscan(clusters >= 20, distance > 0.1, holes filled)"
