"""What of Embeddings cannot be learnt or segmented is said before training."""

import pytest

from dacapo_hd.architectures import UNet, WNet
from dacapo_hd.segmentation import AngularClustering, HdbscanClustering
from dacapo_hd.tasks import Embeddings

FLAT = UNet(dims=2, num_fmaps=4, padding="same", input_shape_vx=(1, 24, 24))
DEEP = UNet(num_fmaps=4, padding="same", input_shape_vx=(16, 24, 24), downsample_factors=((2, 2, 2),))
CLASSES = ("mito", "er")
ANISOTROPIC_NM = (40.0, 4.0, 4.0)


def problems(task, architecture=FLAT, voxel_size_nm=ANISOTROPIC_NM, shape_vx=(1, 100, 100)):
    return task.problems_with(architecture, voxel_size_nm, shape_vx)


def test_a_radius_below_a_voxel_leaves_no_neighbours():
    assert problems(Embeddings(CLASSES, neighbour_radius_nm=3.9)) == [
        "task.neighbour_radius_nm: 3.9 is less than the edge of a voxel (4 nm), so that no objects are neighbours; "
        "give several voxels"
    ]
    assert problems(Embeddings(CLASSES, neighbour_radius_nm=4)) == []
    assert problems(Embeddings(CLASSES, neighbour_radius_nm=3.9, constraints="global")) == []


def test_only_edges_along_which_there_may_be_neighbours_count():
    thick = {"voxel_size_nm": (2.0, 4.0, 4.0)}
    task = Embeddings(CLASSES, neighbour_radius_nm=3, grid=(AngularClustering(axes="yx"),), distance_axes="yx")
    assert len(problems(task, FLAT, **thick)) == 1
    assert len(problems(task, DEEP, **thick, shape_vx=(50, 50, 50))) == 1
    assert problems(Embeddings(CLASSES, neighbour_radius_nm=3), DEEP, **thick, shape_vx=(50, 50, 50)) == []


def test_in_one_section_all_objects_are_cut_along_z():
    message = (
        "task.cut_objects: 'ignored' leaves no object whose distance is learnt, since in an output of one section all "
        "are cut along z; give distance_axes: yx"
    )
    assert problems(Embeddings(CLASSES, cut_objects="ignored")) == [message]
    assert problems(Embeddings(CLASSES, cut_objects="ignored", distance_axes="yx")) == []
    assert problems(Embeddings(CLASSES, cut_objects="ignored", context_nm=200)) == []
    assert problems(Embeddings(CLASSES, cut_objects="ignored"), DEEP, shape_vx=(50, 50, 50)) == []


def test_sections_that_are_images_of_their_own_are_not_joined():
    grid = (AngularClustering(), HdbscanClustering(axes="yx"), AngularClustering(axes="yx"))
    task = Embeddings(CLASSES, distance_axes="yx", grid=grid)
    assert problems(task, shape_vx=(7, 100, 100)) == [
        "task.grid: angular(45 degrees, seeds > 0.7, distance > 0.1, merged) joins 7 sections, but with distance_axes: "
        "yx an object has other vectors in each; give it axes: yx"
    ]
    assert problems(task) == []
    assert problems(Embeddings(CLASSES, distance_axes="yx"), shape_vx=(7, 100, 100)) == []


@pytest.mark.parametrize(("fmaps", "number"), [(None, 1), (3, 3)])
def test_a_map_of_the_distance_has_a_channel_for_each_class(fmaps, number):
    fields = {"dims": 2, "num_fmaps": 4, "padding": "same", "input_shape_vx": (1, 24, 24)}
    assert problems(Embeddings(CLASSES), WNet(intermediate="distance_map", intermediate_fmaps=fmaps, **fields)) == [
        f"architecture: its map of the distance has {number} channel(s), but the task has 2 classes; give it as many "
        "(WNet: intermediate_fmaps: 2)"
    ]
    assert problems(Embeddings(CLASSES), WNet(intermediate="distance_map", intermediate_fmaps=2, **fields)) == []
    assert problems(Embeddings(CLASSES), WNet(intermediate="distance_features", **fields)) == []
