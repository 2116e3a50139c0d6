"""Watersheds of many blocks next to those of one, and segmenters that are united by overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stitching_parts import in_one_block, noise, prediction_of, smooth, stitched

from dacapo_hd.evaluation.marks import mark_truth
from dacapo_hd.evaluation.overlap import Overlap
from dacapo_hd.labels.block import ABSENT, PRESENT
from dacapo_hd.segmentation import InstanceSegmenter, Prediction, SeededSegmenter, Watershed
from dacapo_hd.segmentation.base import UnitedBy
from dacapo_hd.segmentation.components import components

checked = settings(max_examples=100, deadline=None, derandomize=True)
shapes = st.tuples(*[st.integers(1, 9)] * 3)


@st.composite
def volumes(draw: st.DrawFn) -> np.ndarray:
    shape, seed = draw(shapes), draw(st.integers(0, 2**32))
    return draw(st.sampled_from([noise(shape, seed), smooth(shape, seed, 1.0)]))


@checked
@given(volumes(), shapes, st.integers(0, 12), st.booleans())
def test_with_a_halo_as_wide_as_the_volume_the_blocks_do_not_matter(distance, block_shape, size, fill):
    prediction = prediction_of(distance)
    segmenter = Watershed("distance", 0.3, -0.2, size, fill, halo_vx=9)
    found, _ = stitched(prediction, segmenter, block_shape)
    np.testing.assert_array_equal(found, in_one_block(prediction, segmenter))


@checked
@given(volumes(), shapes, st.integers(0, 3))
def test_with_any_halo_the_seeds_are_whole_and_the_same_voxels_are_in_objects(distance, block_shape, halo):
    prediction = prediction_of(distance)
    segmenter = Watershed("distance", 0.3, -0.2, halo_vx=halo)
    found, _ = stitched(prediction, segmenter, block_shape)
    expected = in_one_block(prediction, segmenter)
    np.testing.assert_array_equal(found > 0, expected > 0)
    seeds = components(prediction.data[0] / 127.5 - 1 > 0.3, 6)
    inside = seeds > 0
    pairs = set(zip(seeds[inside].tolist(), found[inside].tolist(), strict=True))
    assert len(pairs) == seeds.max(initial=0) == found.max(initial=0)


@pytest.mark.parametrize("halo", [0, 3])
def test_a_process_that_leads_away_from_its_seed_stays_whole(halo):
    distance = np.full((5, 5, 60), -1.0)
    distance[2, 2, :] = 0.1
    distance[2, 2, :3] = 0.9
    found, objects = stitched(prediction_of(distance), Watershed("distance", 0.5, halo_vx=halo), (5, 5, 4))
    assert objects.voxels.tolist() == [60]
    assert (found > 0).sum() == 60


def test_what_no_seed_reaches_goes_to_the_neighbour_with_the_largest_contact():
    distance = np.full((1, 9, 12), -1.0)
    distance[0, 0:6, 4:8] = 0.1
    distance[0, 0:4, 0:4] = 0.9
    distance[0, 5:6, 8:12] = 0.9
    found, _ = stitched(prediction_of(distance), Watershed("distance", 0.5, halo_vx=0), (1, 9, 4))
    assert set(found[0, 0:6, 4:8].ravel().tolist()) == {1}


def test_foreground_without_any_seed_is_background_and_part_of_the_gap():
    distance = np.full((9, 9, 9), -1.0)
    distance[1:8, 1:8, 1:8] = 0.9
    distance[2:7, 2:7, 2:7] = -1.0
    distance[3:6, 3:6, 3:6] = 0.1
    prediction = prediction_of(distance)
    for fill, voxels in ((False, 7**3 - 5**3), (True, 7**3)):
        segmenter = Watershed("distance", 0.5, fill_holes=fill, halo_vx=1)
        found, objects = stitched(prediction, segmenter, (3, 4, 2))
        assert objects.voxels.tolist() == [voxels]
        np.testing.assert_array_equal(found, in_one_block(prediction, segmenter))


@attrs.frozen
class OwnSeeds(InstanceSegmenter):
    """The watershed as somebody would write it for one block: its seeds are those that it sees."""

    united_by: ClassVar[UnitedBy] = "overlap"

    watershed: SeededSegmenter
    halo_vx: int
    min_size_vx: int = 0
    fill_holes: bool = False

    def pieces(self, prediction: Prediction) -> Mapping[str, np.ndarray]:
        return self.watershed.pieces(prediction)


@pytest.mark.parametrize("fill", [False, True])
def test_objects_cut_by_overlap_are_nearly_those_of_one_block(fill):
    prediction = prediction_of(smooth((40, 40, 40), 3, 3.0))
    segmenter = OwnSeeds(Watershed("distance", 0.5, 0.1), 8, 0, fill)
    found, _ = stitched(prediction, segmenter, (20, 20, 20))
    expected = in_one_block(prediction, segmenter)
    np.testing.assert_array_equal(found > 0, expected > 0)
    marks = mark_truth(np.where(expected > 0, PRESENT, ABSENT).astype(np.uint8))
    assert Overlap.count(marks, expected, found, expected.size).scores()["adapted_rand_error"] < 0.01
    alone, _ = stitched(prediction, segmenter, (40, 40, 40))
    np.testing.assert_array_equal(alone, expected)


def test_blocks_that_share_nothing_are_all_united_by_overlap():
    distance = np.full((6, 6, 40), -1.0)
    distance[1:5, 1:5, :] = 0.9
    distance[0, 0, ::3] = 0.9
    prediction = prediction_of(distance)
    segmenter = OwnSeeds(Watershed("distance", 0.5), 2)
    found, objects = stitched(prediction, segmenter, (6, 3, 7))
    np.testing.assert_array_equal(found, in_one_block(prediction, segmenter))
    assert sorted(objects.voxels.tolist())[-1] == 4 * 4 * 40
