"""Grids of segmenters that cannot score a task are refused with it, or at the latest before training."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from dacapo_hd.architectures import UNet
from dacapo_hd.config import ConfigError, structure
from dacapo_hd.geometry import Grid
from dacapo_hd.segmentation import (
    AngularClustering,
    CosineMutexWatershed,
    MutexWatershed,
    Prediction,
    Segmentation,
    Segmenter,
)
from dacapo_hd.segmentation.reading import misread
from dacapo_hd.tasks import Affinities, Distance, Embeddings, HotDistance, LatentMasks, ObjectSize, OneHot, Task
from dacapo_hd.tasks.base import OutputChannel
from dacapo_hd.tasks.instance import AffinityBranch
from dacapo_hd.tasks.scoring import problems_with_segmenters, problems_with_volume

NETWORK = UNet(input_shape_vx=(8, 32, 32), padding="same", downsample_factors=((1, 2, 2),))
WITHIN = ((0, -1, 0), (0, 0, -1))
SPARSE = (AffinityBranch(0, ((0, -1, 0), (0, 0, -1))),)
TASKS = [
    OneHot(("mito", "er")),
    ObjectSize(("mito",)),
    Distance(("mito",)),
    Distance(("mito",), boundaries="instance"),
    HotDistance(("mito", "er")),
    HotDistance(("mito",), boundaries="instance"),
    Embeddings(("mito",), embedding_dims=12),
    Affinities(("mito",)),
    Affinities(("mito",), offsets=((-40, 0, 0), (0, -8, 0)), offset_unit="nm"),
    LatentMasks(("mito",)),
    LatentMasks(
        ("mito",), predict=("latent_affinity", "affinity", "mask_affinity", "mask_variance"), affinities=SPARSE
    ),
]
HOT = "HotDistance predicts probability and distance; choose among Argmax, ConnectedComponents, Threshold, Watershed"


@attrs.frozen
class OfHeight(Segmenter):
    """Reads what no task predicts."""

    quantity: str = "height"

    def segment(self, prediction: Prediction) -> Segmentation:
        return Segmentation({})


def volume(*shape_vx: int, voxel_size_nm: tuple[float, ...] = (8.0, 8.0, 8.0)) -> Grid:
    return Grid.from_nm(shape_vx, voxel_size_nm)


def problems_in(task: Task, grid: Grid) -> list[str]:
    return problems_with_volume(task, task.segmenters(), NETWORK, grid)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_default_grids_suit_their_tasks(task):
    channels = [channel.name for channel in task.output_channels()]
    assert task.segmenters()
    assert [misread(segmenter, channels, "it") for segmenter in task.segmenters()] == [None] * len(task.segmenters())
    assert attrs.evolve(task, grid=task.segmenters()).segmenters() == task.segmenters()
    assert problems_with_segmenters(task) == []
    assert problems_in(task, volume(1, 30, 30)) == []
    advised = str(misread(OfHeight(), channels, "it")).partition("choose among ")[2].split(", ")
    assert {type(segmenter).__name__ for segmenter in task.segmenters()} <= set(advised)


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        (
            {"type": "HotDistance", "grid": [{"type": "AngularClustering"}]},
            [f"grid.0: AngularClustering reads distance and embedding, but {HOT}"],
        ),
        (
            {
                "type": "HotDistance",
                "scale_nm": 0,
                "grid": [
                    {"type": "MutexWatershed"},
                    {"type": "Threshold", "quantity": "distance", "threshold": 0},
                    {"type": "CosineMutexWatershed"},
                ],
            },
            [
                "scale_nm: must be > 0, got 0.0",
                f"grid.0: MutexWatershed reads affinity, but {HOT}",
                f"grid.2: CosineMutexWatershed reads distance and embedding, but {HOT}",
            ],
        ),
        (
            {"type": "OneHot", "grid": [{"type": "AngularClustering"}]},
            [
                "grid.0: AngularClustering reads distance and embedding, but OneHot predicts probability; choose among "
                "Argmax, ConnectedComponents, Threshold, Watershed"
            ],
        ),
        (
            {"type": "Distance", "grid": [{"type": "HdbscanClustering"}, {"type": "Argmax"}]},
            [
                "grid.0: HdbscanClustering reads distance and embedding, but Distance predicts distance; choose among "
                "Argmax, ConnectedComponents, Threshold, Watershed",
                "grid.1: Argmax reads probability, but Distance predicts distance; set its quantity: distance",
            ],
        ),
        (
            {"type": "Affinities", "grid": [{"type": "CosineMutexWatershed"}]},
            [
                "grid.0: CosineMutexWatershed reads distance and embedding, but Affinities predicts affinity and "
                "probability; choose among Argmax, ConnectedComponents, MutexWatershed, SuperpixelAgglomeration, "
                "Threshold, Watershed"
            ],
        ),
        (
            {"type": "LatentMasks", "grid": [{"type": "SuperpixelAgglomeration"}]},
            [
                "grid.0: SuperpixelAgglomeration reads affinity, but LatentMasks predicts mask_affinity and "
                "probability; set its quantity: mask_affinity"
            ],
        ),
        (
            {"type": "Embeddings", "grid": [{"type": "MutexWatershed"}]},
            [
                "grid.0: MutexWatershed reads affinity, but Embeddings predicts distance and embedding; choose among "
                "AngularClustering, CosineMutexWatershed, HdbscanClustering, MeanShiftClustering, Argmax, "
                "ConnectedComponents, Threshold, Watershed"
            ],
        ),
        (
            {"type": "Embeddings", "grid": [{"type": "Threshold", "quantity": "probability", "threshold": 0.5}]},
            [
                "grid.0: Threshold reads probability, but Embeddings predicts distance and embedding; set its "
                "quantity: distance"
            ],
        ),
        # nothing is predicted of no class
        (
            {"type": "OneHot", "classes": [], "grid": [{"type": "AngularClustering"}]},
            ["classes: must be a list with at least one entry, got ()"],
        ),
    ],
)
def test_a_grid_that_reads_what_is_not_predicted(config, problems):
    with pytest.raises(ConfigError) as error:
        structure({"classes": ["mito"], **config}, Task)
    assert sorted(error.value.problems) == sorted(problems)


@attrs.frozen
class OfMito(Segmenter):
    """Says nothing of what it reads."""

    what: str

    def segment(self, prediction: Prediction) -> Segmentation:
        return Segmentation({"mito": (prediction.channel(f"mito/{self.what}") > 0).astype(np.uint8)})


def test_a_segmenter_that_says_nothing_is_tried_before_training():
    suits, not_ = OfMito("distance"), OfMito("heights")
    task = Distance(("mito",), grid=(suits, not_, not_))
    assert problems_with_segmenters(attrs.evolve(task, grid=(suits,))) == []
    assert problems_with_segmenters(task) == [
        "task: OfMito does not suit Distance: the prediction has no channel 'mito/heights', only mito/distance; choose "
        "a segmenter for what the task predicts"
    ]


def test_a_task_that_has_no_grid_is_asked_for_its_segmenters():
    class Plain(OneHot):
        def output_channels(self) -> tuple[OutputChannel, ...]:
            return tuple(OutputChannel(f"{name}/height", 0.0, 1.0) for name in self.classes)

    assert problems_with_segmenters(Plain(("mito",))) == [
        "task: Threshold reads probability, but Plain predicts height; choose a segmenter for what it predicts"
    ]


def test_affinities_that_are_predicted_must_join_sections_not_only_those_of_branches():
    task = Affinities(
        ("mito",), offsets=WITHIN, branches=(AffinityBranch(1, ((-1, 0, 0),)),), grid=(MutexWatershed(min_size_vx=0),)
    )
    assert problems_in(task, volume(1, 30, 30)) == []
    assert problems_in(task, volume(6, 30, 30)) == [
        "task: mutex_watershed(affinity > 0.5, long range 0.1): no offset leaves the section, but there are 6 "
        "sections, whose objects would fall apart; add an offset along z such as (-1,0,0) to the task"
    ]


def test_of_several_affinities_those_count_that_are_read():
    task = LatentMasks(("mito",), predict=("mask_affinity", "affinity"), affinities=SPARSE)
    read = attrs.evolve(task, grid=(MutexWatershed("mask_affinity"),))
    assert problems_in(read, volume(6, 30, 30)) == []
    both = attrs.evolve(task, grid=(MutexWatershed("affinity", min_size_vx=0), MutexWatershed("mask_affinity")))
    assert problems_in(both, volume(6, 30, 30)) == [
        "task: mutex_watershed(affinity > 0.5, long range 0.1): no offset leaves the section, but there are 6 "
        "sections, whose objects would fall apart; add an offset along z such as (-1,0,0) to the task"
    ]


def test_what_the_task_says_itself_is_not_said_twice():
    flat = Affinities(("mito",), offsets=WITHIN)
    assert problems_in(flat, volume(6, 30, 30)) == [
        "task: no offset leaves the section, but the volume has 6 sections, whose objects would fall apart; add an "
        "offset along z such as (-1,0,0)"
    ]


def test_offsets_of_vectors_must_join_the_sections_of_what_is_segmented_but_not_of_training():
    cosine = CosineMutexWatershed(((0, -1, 0), (0, 0, -1), (0, -4, 0)))
    task = Embeddings(("mito",), grid=(AngularClustering(), cosine))
    assert problems_in(task, volume(6, 30, 30)) == [f"task: {cosine.problem_with_sections(6)}"]
    assert problems_in(task, volume(1, 30, 30)) == []
    assert task.problems_with(NETWORK, (8.0, 8.0, 8.0), (6, 30, 30)) == []
