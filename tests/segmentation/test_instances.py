"""Instances from decoded quantities, against scipy and constructed objects."""

from __future__ import annotations

import subprocess
import sys

import attrs
import numpy as np
import pytest
import scipy.ndimage
import skimage.segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dacapo_hd.segmentation import ConnectedComponents, Prediction, Segmentation, Segmenter, Threshold, Watershed

checked = settings(max_examples=40, deadline=None, derandomize=True)
volumes = hnp.arrays(np.float32, (4, 5, 6), elements=st.floats(-1, 1, width=16))


def of(distance: np.ndarray) -> Prediction:
    return Prediction(("mito/distance",), distance[None].astype(np.float32), (8.0, 8.0, 8.0))


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = set(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


def two_touching_balls() -> tuple[np.ndarray, np.ndarray]:
    """Return (tanh of the signed distance to their union, which ball each voxel belongs to)."""
    z, y, x = np.mgrid[:15, :15, :26]
    balls = [6 - np.sqrt((z - 7) ** 2 + (y - 7) ** 2 + (x - centre) ** 2) for centre in (7, 18)]
    depth = np.maximum(*balls)
    owner = np.where(depth > 0, 1 + np.argmax(balls, axis=0), 0)
    return np.tanh(depth / 4), owner


@checked
@given(volumes, st.floats(-1, 0.9), st.sampled_from([(6, 1), (18, 2), (26, 3)]))
def test_components_equal_those_of_scipy(distance, threshold, connectivity):
    found = ConnectedComponents("distance", threshold, connectivity[0]).segment(of(distance))
    structure = scipy.ndimage.generate_binary_structure(3, connectivity[1])
    expected, number = scipy.ndimage.label(distance > threshold, structure)
    assert found.instances
    assert found.labels["mito"].dtype == np.uint32
    assert found.labels["mito"].max(initial=0) == number
    assert same_partition(found.labels["mito"], expected)


def test_watershed_separates_touching_objects_where_components_do_not():
    distance, owner = two_touching_balls()
    components = ConnectedComponents("distance", 0.0, 6).segment(of(distance)).labels["mito"]
    watershed = Watershed("distance", seed_threshold=0.7).segment(of(distance)).labels["mito"]
    assert components.max() == 1
    assert watershed.max() == 2
    assert watershed.dtype == np.uint32
    np.testing.assert_array_equal(watershed > 0, distance > 0)
    # the plane between the balls is equally deep in both
    clear = np.arange(26) != 12
    assert same_partition(watershed[..., clear], owner[..., clear])


def test_objects_meet_at_the_neck_and_not_halfway():
    distance = np.array([0.9, 0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9]).reshape(1, 1, 9)
    found = Watershed("distance", seed_threshold=0.8).segment(of(distance)).labels["mito"].ravel()
    assert found[:2].tolist() == [1, 1]
    assert found[3:].tolist() == [2] * 6


@checked
@given(volumes, st.floats(-1, 0.5), st.floats(0, 0.4))
def test_watershed_keeps_seeds_whole_and_stays_inside_the_mask(distance, threshold, above):
    seed_threshold = threshold + above
    found = Watershed("distance", seed_threshold, threshold).segment(of(distance)).labels["mito"]
    seeds, number = scipy.ndimage.label(distance > seed_threshold)
    parts, _ = scipy.ndimage.label(distance > threshold)
    assert found.max(initial=0) == number
    assert same_partition(found[seeds > 0], seeds[seeds > 0])
    # exactly the components that hold a seed are filled
    np.testing.assert_array_equal(found > 0, np.isin(parts, np.unique(parts[seeds > 0])))


@checked
@given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 2**32), st.integers(0, 200))
def test_watershed_is_that_of_scikit_image_where_all_voxels_differ_in_height(shape, seed, threshold):
    number = int(np.prod(shape))
    levels = np.random.default_rng(seed).permutation(np.linspace(1, 255, number).astype(int)).reshape(shape)
    distance = (levels / 127.5 - 1).clip(-1, 1)
    segmenter = Watershed("distance", 0.5, threshold / 127.5 - 1 if threshold < 190 else 0.5)
    seeds, _ = scipy.ndimage.label(distance > segmenter.seed_threshold)
    expected = skimage.segmentation.watershed(-levels, seeds, mask=distance > segmenter.threshold, connectivity=1)
    assert same_partition(segmenter.segment(of(distance)).labels["mito"], expected)


def test_min_size_applies_after_growth():
    distance, owner = two_touching_balls()
    distance[0, 0, 0] = 0.9
    size = int((owner == 1).sum())
    assert Watershed("distance", 0.7).segment(of(distance)).labels["mito"].max() == 3
    assert Watershed("distance", 0.7, min_size_vx=2).segment(of(distance)).labels["mito"].max() == 2
    assert Watershed("distance", 0.7, min_size_vx=2 * size).segment(of(distance)).labels["mito"].max() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConnectedComponents("distance", 0.0, 8), "must be one of 6, 18, 26, got 8"),
        (lambda: ConnectedComponents("distance", 0.0, min_size_vx=-1), "must be >= 0, got -1"),
        (lambda: Watershed("distance", 0.1, 0.2), "must be at most seed_threshold (0.1), got 0.2"),
        (lambda: Watershed("distance", 2.0), "must be from -1 to below 1 for the quantity 'distance', got 2.0"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message


def test_labels_for_tables():
    assert ConnectedComponents("distance", 0.1, 6, 50).label == "components(distance > 0.1, 6 neighbours, size >= 50)"
    assert Watershed("distance", 0.5).label == "watershed(distance > 0, seeds > 0.5)"


def test_a_segmenter_from_outside_has_a_label_without_writing_one():
    @attrs.frozen
    class Everything(Segmenter):
        value: int = 3

        def segment(self, prediction: Prediction) -> Segmentation:
            return Segmentation({})

    assert Everything().label.endswith("Everything(value=3)")


def test_configs_import_nothing_heavy():
    code = (
        "import sys, dacapo_hd.segmentation, dacapo_hd.evaluation\n"
        "heavy = ('torch', 'gunpowder', 'matplotlib', 'skimage', 'numba', 'scipy', 'cc3d')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_segmenters_are_comparable_values():
    assert Threshold("distance", 0.1) == Threshold("distance", 0.1)
    assert len({Threshold("distance", 0.1), Threshold("distance", 0.1), Threshold("distance", 0.2)}) == 2
