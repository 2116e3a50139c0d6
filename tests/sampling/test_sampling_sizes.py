"""Crops with sizes and crops with masks in one pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from dacapo_hd.architectures.unet import UNet
from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.datasplits import Crop, Crops
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.sources import ClassArrays
from dacapo_hd.sampling.geometric import Elastic, Mirror, Rotate, Transpose
from dacapo_hd.sampling.loader import make_loader
from dacapo_hd.sampling.pipeline import SamplePipeline
from dacapo_hd.sampling.recipe import Recipe, untaught
from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.tasks import ObjectSize, OneHot

TASK = ObjectSize(("mito",))


def network(height=16, width=8):
    return UNet(dims=2, input_shape_vx=(1, height, width), padding="same", num_fmaps=2, downsample_factors=((1, 2, 2),))


@pytest.fixture
def write(tmp_path):
    def array(name, data):
        grid = Grid.from_nm(data.shape, (8, 8, 8))
        create_volume(tmp_path / name, grid, data.dtype).write(grid.roi, data)
        return ArrayRef(str(tmp_path / name))

    return array


@pytest.fixture
def crops(write):
    """Open a crop with a mask, and one with nothing but a size; each is bright where its object is."""

    def make(height=16, width=8, names=("mask", "size"), annotations=None):
        rng = np.random.default_rng(0)
        found = []
        for name in names:
            object_ = np.zeros((1, height, width), np.uint8)
            object_[:, 3:9, 2:6] = 1
            raw = write(f"raw_{name}", (object_ * 200 + rng.integers(0, 50, object_.shape)).astype(np.uint8))
            labels = (ClassArrays({"mito": write("mito", object_)}),) if name == "mask" else ()
            known = {} if name == "mask" else annotations or {"object_size_vx": 4}
            found.append(Crop(name, raw, labels, annotations=known))
        return Crops(train=tuple(found)).open("train", ("mito",))

    return make


def samples(crops, sampling, count=40, architecture=None, task=TASK):
    pipeline = SamplePipeline(Recipe.of(crops, task, architecture or network(), sampling, seed=0))
    return [pipeline.sample(index) for index in range(count)]


@pytest.mark.parametrize("locations", ["uniform", "known"])
def test_both_kinds_come_in_one_stream(crops, locations):
    sampling = Sampling(locations=locations, augments=(Mirror(axes=("y", "x")),))
    found = {}
    for sample in samples(crops(), sampling):
        known, sized, _ = sample.targets["one_hot"].weight.mean(axis=(1, 2, 3))
        found.setdefault(sample.crop, set()).add(
            (float(known), float(sized), float(sample.targets["one_hot"].value[1].max()))
        )
    assert found == {"mask": {(1, 0, 0)}, "size": {(0, 1, 4)}}


def test_batches_hold_both_kinds_whatever_the_number_of_workers(crops):
    sampling = Sampling(locations="known", augments=(Mirror(axes=("y", "x")),))
    opened = crops()
    batches = []
    for workers in (0, 1):
        with make_loader(opened, TASK, network(), sampling, 8, 3, workers) as loader:
            batches.append(next(loader))
    for batch in batches:
        known, sized, _ = batch.targets["one_hot"][1].flatten(2).amax(2).unbind(1)
        assert 0 < known.sum() < 8
        assert (known + sized == 1).all()
    assert (batches[0].raw == batches[1].raw).all()
    assert (batches[0].targets["one_hot"][0] == batches[1].targets["one_hot"][0]).all()


def test_a_small_crop_is_a_region_of_a_larger_window(crops):
    sampling = Sampling(locations="known", augments=(Mirror(axes=("y", "x")),), pad_small_crops=True)
    for sample in samples(crops(12, 6, names=("size",)), sampling, 10):
        _, size, region = sample.targets["one_hot"].value
        assert region.sum() == 12 * 6
        assert (size[region > 0] == 4).all()
        rows, columns = (np.flatnonzero(region[0].any(axis=axis)) for axis in (1, 0))
        assert (len(rows), np.ptp(rows), len(columns), np.ptp(columns)) == (12, 11, 6, 5)


def test_min_known_lets_crops_without_labels_pass(crops):
    sampling = Sampling(locations="known", augments=(), min_known=0.9)
    assert {sample.crop for sample in samples(crops(), sampling)} == {"mask", "size"}


def problems_of(crops, sampling=None, architecture=None, task=TASK):
    with pytest.raises(UserError) as caught:
        Recipe.of(crops, task, architecture or network(), sampling or Sampling(augments=()), seed=0)
    return list(caught.value.problems)


def test_objects_must_not_be_cut(crops):
    assert problems_of(crops(20, 8)) == [
        "crop 'size': what is annotated takes 1 x 20 x 8 voxels, but the network's output 1 x 16 x 8, which would cut "
        "objects; make architecture.input_shape_vx larger or crops smaller"
    ]


def test_augmentations_must_keep_sizes(crops):
    sampling = Sampling(locations="known", augments=(Mirror(), Rotate(), Transpose(), Elastic()))
    assert problems_of(crops(), sampling) == [
        "sampling.augments: Rotate changes the sizes of objects, with which crops are annotated; leave it out",
        "sampling.augments: Transpose turns samples, so that an output of 1 x 16 x 8 voxels would cut annotated "
        "objects; leave it out, or make architecture.input_shape_vx equal along the turned axes",
        "sampling.augments: Elastic changes the sizes of objects, with which crops are annotated; leave it out",
    ]


def test_a_square_may_be_turned(crops):
    square = Sampling(augments=(Mirror(), Transpose()))
    assert Recipe.of(crops(8, 8, names=("size",)), TASK, network(8, 8), square, seed=0)


def test_balanced_locations_would_never_see_a_crop_without_labels(crops):
    assert problems_of(crops(), Sampling(locations="balanced", augments=())) == [
        "sampling.locations: balanced takes samples where labels are, so that crops without labels would never be "
        "seen; set known or uniform"
    ]


def test_other_tasks_need_labels(crops):
    assert problems_of(crops(), task=OneHot(("mito",))) == [
        "crop 'size': no labels; give at least one label source in `labels` (its annotations teach this task nothing)"
    ]


def test_wrong_sizes_are_named_with_their_crop(crops):
    assert problems_of(crops(annotations={"object_size_vx": -1})) == [
        "crop 'size': annotation object_size_vx: is -1; a size cannot be negative"
    ]


def test_sizes_teach_a_class_of_which_no_voxel_is_known(crops):
    sized = crops(names=("size",))
    assert untaught(TASK, sized) == ()
    assert untaught(OneHot(("mito",)), sized) == ("mito",)
