"""What segmenters read is known before there is a prediction."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import pytest

from dacapo_hd.config.families import builtin_types
from dacapo_hd.errors import UserError
from dacapo_hd.segmentation import (
    AngularClustering,
    Argmax,
    ConnectedComponents,
    CosineMutexWatershed,
    HdbscanClustering,
    InstanceSegmenter,
    MeanShiftClustering,
    MutexWatershed,
    Prediction,
    Segmentation,
    Segmenter,
    SuperpixelAgglomeration,
    Threshold,
    Watershed,
)
from dacapo_hd.segmentation.reading import misread, problem_with_volume, unreadable

HOT = ("mito/probability", "er/probability", "mito/distance", "er/distance")
VECTORS = ("mito/distance", *(f"mito/embedding_{number}" for number in range(12)))
AFFINITIES = ("mito/affinity(0,-1,0)", "mito/affinity(0,0,-1)")
ALL = [
    AngularClustering(),
    Argmax("distance", 0.0),
    ConnectedComponents("probability", 0.5),
    CosineMutexWatershed(),
    HdbscanClustering(),
    MeanShiftClustering(),
    MutexWatershed("mask_affinity"),
    SuperpixelAgglomeration(),
    Threshold("distance", 0.1),
    Watershed("distance", 0.5),
]


@attrs.frozen
class OfMito(Segmenter):
    """Says nothing of what it reads."""

    what: str = "distance"

    def segment(self, prediction: Prediction) -> Segmentation:
        return Segmentation({"mito": (prediction.channel(f"mito/{self.what}") > 0).astype(np.uint8)})


@attrs.frozen
class Levels(Segmenter):
    """Reads what its field names."""

    quantity: str

    def segment(self, prediction: Prediction) -> Segmentation:
        return Segmentation({})


def test_every_built_in_says_what_it_reads():
    assert [type(segmenter).__name__ for segmenter in ALL] == list(builtin_types(Segmenter))
    for segmenter in ALL:
        assert segmenter.reads in segmenter.readable
    assert {segmenter.reads for segmenter in ALL} == {
        ("distance", "embedding"),
        ("distance",),
        ("probability",),
        ("affinity",),
        ("mask_affinity",),
    }


@pytest.mark.parametrize("segmenter", ALL, ids=lambda segmenter: type(segmenter).__name__)
def test_what_it_says_is_what_it_reads(segmenter):
    offsets = {name: f"{name}(0,0,-1)" for name in ("affinity", "mask_affinity", "latent_affinity")}
    names = tuple(
        f"mito/{'embedding_0' if quantity == 'embedding' else offsets.get(quantity, quantity)}"
        for quantity in segmenter.reads
    )
    assert misread(segmenter, names, "Mine") is None
    voxel = np.zeros((len(names), 1, 1, 1), np.float32)
    assert set(segmenter.segment(Prediction(names, voxel, (8.0, 8.0, 8.0))).labels) == {"mito"}
    for left_out in range(len(names)):
        fewer = names[:left_out] + names[left_out + 1 :]
        assert misread(segmenter, (*fewer, "mito/other"), "Mine") is not None
        with pytest.raises(UserError, match="; choose a segmenter for what the task predicts"):
            segmenter.segment(Prediction((*fewer, "mito/other"), voxel[:1].repeat(len(names), 0), (8.0, 8.0, 8.0)))


@pytest.mark.parametrize(
    ("segmenter", "channels", "problem"),
    [
        (
            AngularClustering(),
            HOT,
            "AngularClustering reads distance and embedding, but Mine predicts probability and distance; choose among "
            "Argmax, ConnectedComponents, Threshold, Watershed",
        ),
        (
            MutexWatershed(),
            VECTORS,
            "MutexWatershed reads affinity, but Mine predicts distance and embedding; choose among AngularClustering, "
            "CosineMutexWatershed, HdbscanClustering, MeanShiftClustering, Argmax, ConnectedComponents, Threshold, "
            "Watershed",
        ),
        (
            CosineMutexWatershed(),
            AFFINITIES,
            "CosineMutexWatershed reads distance and embedding, but Mine predicts affinity; choose among "
            "MutexWatershed, SuperpixelAgglomeration",
        ),
        # the right one, of another quantity
        (
            Threshold("distance", 0.0),
            ("mito/probability",),
            "Threshold reads distance, but Mine predicts probability; set its quantity: probability",
        ),
        (
            MutexWatershed(),
            ("mito/latent_affinity(0,0,-1)", "mito/mask_affinity(0,0,-1)", "mito/mask_variance(0,0,-1)"),
            "MutexWatershed reads affinity, but Mine predicts latent_affinity, mask_affinity and mask_variance; set "
            "its quantity: latent_affinity or mask_affinity",
        ),
        # what is not of ours
        (
            Threshold("distance", 0.0),
            ("mito/levels_1", "mito/levels_2"),
            "Threshold reads distance, but Mine predicts levels; choose a segmenter for what it predicts",
        ),
        (
            Levels("heights"),
            HOT,
            "Levels reads heights, but Mine predicts probability and distance; choose among Argmax, "
            "ConnectedComponents, Threshold, Watershed",
        ),
    ],
)
def test_one_that_reads_what_is_not_predicted_is_told(segmenter, channels, problem):
    assert misread(segmenter, channels, "Mine") == problem
    assert unreadable(segmenter, channels, "Mine") == problem


def test_components_are_read_by_their_number_or_together():
    channels = ("mito/levels_1", "mito/levels_2")
    for quantity in ("levels", "levels_2"):
        assert misread(Levels(quantity), channels, "Mine") is None
    assert misread(Levels("levels_3"), channels, "Mine") == (
        "Levels reads levels_3, but Mine predicts levels; choose a segmenter for what it predicts"
    )


def test_one_that_says_nothing_is_tried():
    assert OfMito().reads == ()
    assert misread(OfMito("heights"), HOT, "Mine") is None
    assert unreadable(OfMito(), HOT, "Mine") is None
    assert unreadable(OfMito("heights"), ("mito/distance",), "Mine") == (
        "OfMito does not suit Mine: the prediction has no channel 'mito/heights', only mito/distance; choose a "
        "segmenter for what the task predicts"
    )


def test_one_that_needs_more_than_a_voxel_is_not_refused():
    @attrs.frozen
    class Gradients(Segmenter):
        def segment(self, prediction: Prediction) -> Segmentation:
            np.gradient(prediction.data[0])
            raise AssertionError

    assert unreadable(Gradients(), HOT, "Mine") is None

    @attrs.frozen
    class Stacks(Segmenter):
        def segment(self, prediction: Prediction) -> Segmentation:
            raise UserError("give more sections")

    assert unreadable(Stacks(), HOT, "Mine") is None


@pytest.mark.parametrize(
    ("segmenter", "channels", "problem"),
    [
        (
            MutexWatershed(),
            AFFINITIES,
            "mutex_watershed(affinity > 0.5, long range 0.1, size >= 200): no offset leaves the section, but there are "
            "4 sections, whose objects would fall apart; add an offset along z such as (-1,0,0) to the task",
        ),
        (
            SuperpixelAgglomeration(),
            ("mito/affinity(0,-12,0)nm",),
            "the offset (0,-12,0) nm is no whole number of voxels of 8, 8, 8 nm; choose multiples of the voxel size, "
            "or offsets in voxels",
        ),
        (Threshold("distance", 0.1), HOT, None),
        (OfMito(), HOT, None),
        (AngularClustering(), VECTORS, None),
        (MutexWatershed(), (*AFFINITIES, "mito/affinity(-1,0,0)"), None),
    ],
)
def test_a_volume_that_it_cannot_segment_is_told(segmenter, channels, problem):
    found = problem_with_volume(segmenter, channels, (8.0, 8.0, 8.0), (4, 10_000, 10_000))
    assert found == problem


def test_sections_that_the_offsets_do_not_join_are_told():
    flat = CosineMutexWatershed(((0, -1, 0), (0, 0, -1), (0, -4, 0)))
    assert problem_with_volume(flat, VECTORS, (8.0, 8.0, 8.0), (4, 32, 32)) == flat.problem_with_sections(4)
    assert problem_with_volume(flat, VECTORS, (8.0, 8.0, 8.0), (1, 32, 32)) is None


def test_an_instance_segmenter_from_outside_can_refuse_a_volume():
    @attrs.frozen
    class Sections(InstanceSegmenter):
        def pieces(self, prediction: Prediction) -> Mapping[str, np.ndarray]:
            return {}

        def reach_vx(self, prediction: Prediction) -> tuple[int, ...]:
            if prediction.data.shape[1] > 1:
                raise UserError(f"one section at a time, not {prediction.data.shape[1]}")
            return (0, 0, 0)

    assert problem_with_volume(Sections(), HOT, (8.0, 8.0, 8.0), (7, 9, 9)) == "one section at a time, not 7"
    assert problem_with_volume(Sections(), HOT, (8.0, 8.0, 8.0), (1, 9, 9)) is None
