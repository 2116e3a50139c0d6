"""ObjectSize: what annotations and labels teach, and which of them are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.config import ConfigError, structure
from dacapo_hd.datasplits import Crop, Crops
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.labels.sources import ClassArrays
from dacapo_hd.tasks import ObjectSize, Task

SHAPE = (1, 12, 10)


def block(annotations=None, regions=None, present=None, voxel_size_nm=(8.0, 8.0, 8.0), classes=("mito",), ids=None):
    """A block of which nothing is known but the annotations, unless `present` says what is."""
    code = np.full((len(classes), *SHAPE), UNKNOWN, np.uint8)
    if present is not None:
        code[0] = np.where(present, PRESENT, ABSENT)
    if annotations and regions is None:
        regions = np.ones(SHAPE, np.uint32)
    instances = {} if ids is None else {classes[0]: ids}
    return LabelBlock(classes, code, voxel_size_nm, instances, annotations or {}, regions)


def parts(target):
    """Return (present, size, region) and their weights, of one class."""
    return tuple(target.value), tuple(target.weight)


def two_objects():
    """Squares of 5 x 5 and 3 x 3 voxels, which measure 6 and 4."""
    ids = np.zeros(SHAPE, np.uint32)
    ids[0, 1:6, 1:6], ids[0, 8:11, 6:9] = 3, 9
    return ids


def test_a_size_is_known_of_the_whole_image():
    (_, size, region), (known, sized, of_region) = parts(
        ObjectSize(("mito",)).targets(block({"object_size_vx": 6.0}))["one_hot"]
    )
    assert (size == 6).all()
    assert (region == 1).all()
    assert known.max() == 0
    assert sized.min() == of_region.min() == 1


def test_nanometres_become_voxels():
    (_, size, _), _ = parts(ObjectSize(("mito",)).targets(block({"object_size_nm": 48.0}))["one_hot"])
    assert (size == 6).all()


def test_regions_have_sizes_of_their_own_and_others_teach_nothing():
    regions = np.zeros(SHAPE, np.uint32)
    regions[..., :4], regions[..., 4:7], regions[..., 7:] = 5, 70_000_000, 6
    annotations = {"object_size_vx/5": 4.0, "object_size_vx/70000000": 2.0}
    (_, size, region), (_, sized, _) = parts(ObjectSize(("mito",)).targets(block(annotations, regions))["one_hot"])
    assert np.unique(size[..., :4]).tolist() == [4]
    assert np.unique(size[..., 4:7]).tolist() == [2]
    # numbers that float32 keeps apart
    assert [np.unique(region[..., part]).tolist() for part in (slice(4), slice(4, 7), slice(7, None))] == [
        [1],
        [2],
        [0],
    ]
    np.testing.assert_array_equal(sized, region > 0)


def test_of_several_classes_each_has_its_own():
    task = ObjectSize(("mito", "er"))
    target = task.targets(block({"er/object_size_vx": 4.0}, classes=("mito", "er")))["one_hot"]
    assert target.channels == (
        "mito/present", "er/present", "mito/size_vx", "er/size_vx", "mito/region", "er/region",
    )  # fmt: skip
    assert [value.max() for value in target.value[2:]] == [0, 4, 0, 1]


@pytest.mark.parametrize("sizes_of", ["components", "instances"])
def test_sizes_are_measured_on_labels(sizes_of):
    ids = two_objects()
    task = ObjectSize(("mito",), sizes_of=sizes_of)
    (_, size, region), (_, sized, _) = parts(task.targets(block(present=ids > 0, ids=ids))["one_hot"])
    assert np.unique(size[ids == 3]).tolist() == [6]
    assert np.unique(size[ids == 9]).tolist() == [4]
    assert sized.min() == 1
    assert [len(np.unique(region[ids == number])) for number in (3, 9)] == [1, 1]
    # whoever predicts the labels has no error
    logits = torch.from_numpy(np.where(ids > 0, 30.0, -30.0).astype(np.float32))[None, None]
    target = task.targets(block(present=ids > 0, ids=ids))["one_hot"]
    batch = torch.from_numpy(target.value)[None], torch.from_numpy(target.weight)[None]
    losses = task.loss({"one_hot": logits}, {"one_hot": batch})
    assert losses["size"].item() == 0


def test_instances_that_touch_are_two_objects_and_one_component():
    ids = np.zeros(SHAPE, np.uint32)
    ids[0, 2:7, 0:3], ids[0, 2:7, 3:8] = 1, 2
    found = {}
    for sizes_of in ("instances", "components"):
        task = ObjectSize(("mito",), sizes_of=sizes_of)
        _, size, region = task.targets(block(present=ids > 0, ids=ids))["one_hot"].value
        found[sizes_of] = len(np.unique(region)), set(size[ids == 2])
    # the neighbour is no background, and neither is what lies beyond the border
    assert found == {"instances": (2, {6.0}), "components": (1, {6.0})}


def test_an_image_without_objects_has_the_size_zero():
    present = np.zeros(SHAPE, bool)
    (_, size, region), (_, sized, _) = parts(
        ObjectSize(("mito",), sizes_of="components").targets(block(present=present))["one_hot"]
    )
    assert size.max() == 0
    assert (region == 1).all()
    assert sized.min() == 1


def test_measured_sizes_need_equal_edges():
    task = ObjectSize(("mito",), sizes_of="components")
    with pytest.raises(UserError) as caught:
        task.targets(block(present=np.zeros(SHAPE, bool), voxel_size_nm=(8.0, 8.0, 4.0)))
    assert str(caught.value) == (
        "sizes of objects need voxels with equal edges, got [8, 8, 4] nm; resample the data, or measure within "
        "sections: crops of one section, with task.size_axes: yx"
    )


def test_a_batch_with_neither_masks_nor_sizes_teaches_exactly_nothing():
    task = ObjectSize(("mito",), l1_weight=1, smoothness_weight=1)
    target = task.targets(block())["one_hot"]
    batch = (torch.from_numpy(target.value)[None], torch.from_numpy(target.weight)[None])
    logits = torch.randn(1, 1, *SHAPE, requires_grad=True)
    losses = task.loss({"one_hot": logits}, {"one_hot": batch})
    sum(losses.values()).backward()
    assert {name: loss.item() for name, loss in losses.items()} == dict.fromkeys(
        ("one_hot", "size", "l1", "smoothness"), 0
    )
    assert (logits.grad == 0).all()


def test_masks_and_sizes_of_one_batch_both_teach():
    task = ObjectSize(("mito",))
    targets = [
        task.targets(block({"object_size_vx": 10.0}))["one_hot"],
        task.targets(block(present=two_objects() > 0))["one_hot"],
    ]
    value, weight = (torch.from_numpy(np.stack([getattr(t, part) for t in targets])) for part in ("value", "weight"))
    torch.manual_seed(0)
    logits = torch.zeros(2, 1, *SHAPE, requires_grad=True)
    losses = task.loss({"one_hot": logits}, {"one_hot": (value, weight)})
    assert losses["one_hot"].item() > 0
    assert losses["size"].item() > 0
    sum(losses.values()).backward()
    assert all((gradient != 0).any() for gradient in logits.grad)


def test_learning_from_sizes_alone_makes_objects_of_that_size():
    torch.manual_seed(0)
    task = ObjectSize(("mito",), samples=4, size_weight=1, mask_weight=0)
    target = task.targets(block({"object_size_vx": 4.0}))["one_hot"]
    batch = {"one_hot": (torch.from_numpy(target.value)[None], torch.from_numpy(target.weight)[None])}
    start = torch.where(torch.from_numpy(two_objects() == 9), 2.0, -2.0)[None]
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    errors = []
    for _ in range(150):
        loss = task.loss({"one_hot": logits[None]}, batch)["size"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert np.mean(errors[-20:]) < np.mean(errors[:20]) / 4


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"samples": 0}, "task.yaml: samples: must be > 0, got 0"),
        ({"cap_vx": -1}, "task.yaml: cap_vx: must be > 0, got -1.0"),
        ({"l1_weight": -0.1}, "task.yaml: l1_weight: must be >= 0, got -0.1"),
        (
            {"mask_weight": 0, "size_weight": 0},
            "task.yaml: size_weight: must be > 0 where mask_weight is 0: nothing would be learnt",
        ),
        ({"sizes_of": "component"}, "did you mean 'components'?"),
    ],
)
def test_wrong_options_are_named(fields, problem):
    with pytest.raises(ConfigError) as caught:
        structure({"type": "ObjectSize", "classes": ["mito"], **fields}, Task, source="task.yaml")
    assert problem in str(caught.value)


@pytest.fixture
def open_crops(tmp_path):
    """Open crops of 1 x 12 x 10 voxels, made of their annotations; `labels` have a mask too."""

    def write(name, data, voxel_size_nm):
        grid = Grid.from_nm(data.shape, voxel_size_nm)
        create_volume(tmp_path / name, grid, data.dtype).write(grid.roi, data)
        return ArrayRef(str(tmp_path / name))

    def make(*annotations, labels=False, voxel_size_nm=(8, 8, 8), shape=SHAPE, regions=None):
        crops = []
        for number, own in enumerate(annotations):
            data = np.zeros(shape, np.uint8)
            sources = (ClassArrays({"mito": write(f"mito{number}", data, voxel_size_nm)}),) if labels else ()
            kept = None if regions is None else write(f"regions{number}", regions, voxel_size_nm)
            raw = write(f"raw{number}", data, voxel_size_nm)
            crops.append(Crop(f"c{number}", raw, sources, annotations=own, regions=kept))
        return Crops(train=tuple(crops)).open("train", ("mito",))

    return make


def problems_of(crops, task=None):
    """Return what is said of each crop as one to train on."""
    task = task or ObjectSize(("mito",))
    found = []
    for crop in crops:
        try:
            found.append(task.taught_by(crop))
        except UserError as error:
            found.append(str(error))
    return found


def test_sizes_of_any_possible_value_are_taken(open_crops):
    crops = open_crops(
        {"object_size_vx": 0.0}, {"object_size_vx": 24}, {"object_size_nm": 48}, {"mito/object_size_vx": 3}
    )
    assert problems_of(crops) == [("mito",)] * 4


def test_a_labelled_crop_needs_no_size(open_crops):
    assert problems_of(open_crops({}, labels=True)) == [()]


def test_wrong_sizes_are_refused(open_crops):
    crops = open_crops(
        {"object_size_vx": -3.0},
        {"object_size_vx": 25},
        {"object_size_vx": 6, "object_size_nm": 48},
        {"object_size": 6},
        {"age": 6},
        {"object_size_vx/2": 6},
    )
    assert problems_of(crops) == [
        "annotation object_size_vx: is -3; a size cannot be negative",
        "size of mito: 25 voxels is larger than the image of 1 x 12 x 10 voxels, in which sizes are at most 24 (twice "
        "the longest edge); if it is in nm, call it object_size_nm",
        "annotation object_size_nm: the size of that object is given twice; keep one",
        "neither labels nor the size of an object; did you mean 'object_size_vx'?",
        "neither labels nor the size of an object; give object_size_vx or object_size_nm in `annotations`, or labels",
        "size of mito in region 2: there is no such region; give `regions`",
    ]


def test_a_crop_with_neither_annotation_nor_labels_cannot_be_opened(open_crops):
    with pytest.raises(UserError) as caught:
        open_crops({})
    assert "crop 'c0': no labels; give at least one label source in `labels`" in caught.value.problems


def test_anisotropic_voxels_are_refused_where_sizes_span_them(open_crops):
    thick = open_crops({"object_size_vx": 4}, shape=(3, 12, 10), voxel_size_nm=(40, 4, 4))
    assert problems_of(thick) == [
        "sizes of objects need voxels with equal edges, got [40, 4, 4] nm; resample the data, or measure within "
        "sections: crops of one section, with task.size_axes: yx"
    ]
    assert problems_of(thick, ObjectSize(("mito",), size_axes="yx")) == [
        "sizes within sections (task.size_axes: yx) need crops of one section, got 3; split the crop with roi_vx"
    ]


def test_a_single_section_has_no_extent_along_z(open_crops):
    assert problems_of(open_crops({"object_size_vx": 4}, voxel_size_nm=(40, 4, 4))) == [("mito",)]


def test_sizes_of_regions(open_crops):
    regions = np.zeros(SHAPE, np.uint16)
    regions[..., :3], regions[..., 3:6] = 2, 700
    crops = open_crops(
        {"object_size_vx/2": 6, "object_size_vx/700": 24},
        {"object_size_vx/3": 6, "object_size_vx/2": 25},
        regions=regions,
    )
    assert problems_of(crops) == [
        ("mito",),
        "size of mito in region 3: there is no such region; `regions` holds 2, 700\n"
        "size of mito: 25 voxels is larger than the image of 1 x 12 x 3 voxels, in which sizes are at most 24 (twice "
        "the longest edge); if it is in nm, call it object_size_nm",
    ]


def test_with_several_classes_a_size_says_whose_it_is(open_crops):
    (crop,) = open_crops({"object_size_vx": 4})
    with pytest.raises(UserError) as caught:
        ObjectSize(("mito", "er")).taught_by(crop)
    assert str(caught.value) == "annotation object_size_vx: of which class? call it mito/object_size_vx, for instance"
