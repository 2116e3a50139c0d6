"""Runs that could not learn, or whose score could not be defined, are told before they are trained."""

import attrs
import numpy as np
import pytest

from dacapo_hd.architectures.unet import UNet
from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.check import check_run
from dacapo_hd.datasplits import Crop, Crops
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels import ClassArrays, InstanceArray
from dacapo_hd.run import Run
from dacapo_hd.session import TrainingSession
from dacapo_hd.stores import FileStore
from dacapo_hd.tasks.affinities import Affinities
from dacapo_hd.tasks.distance import Distance
from dacapo_hd.tasks.hot_distance import HotDistance
from dacapo_hd.tasks.latent_masks import LatentMasks
from dacapo_hd.tasks.mask_branch import MaskBranch
from dacapo_hd.tasks.one_hot import OneHot
from dacapo_hd.training.start import Start
from dacapo_hd.training.trainer import Trainer

SHAPE = (12, 40, 40)
SMALL = {"padding": "same", "num_fmaps": 2, "fmap_inc_factor": 2}
PLANE = UNet(dims=2, input_shape_vx=(1, 32, 32), downsample_factors=[(1, 2, 2)], **SMALL)
VOLUME = UNet(dims=3, input_shape_vx=(8, 32, 32), downsample_factors=[(1, 2, 2)], **SMALL)
NEAR = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


def blocks_of(size, gap=2):
    """Number cubes of an edge, with a gap between them."""
    place = np.indices(SHAPE)
    step = size + gap
    inside = (place % step < size).all(axis=0)
    numbers = np.ravel_multi_index(tuple(place // step), tuple(-(-n // step) for n in SHAPE)) + 1
    return np.where(inside, numbers, 0).astype(np.uint32)


OBJECTS = blocks_of(8)
MASK = (OBJECTS > 0).astype(np.uint8)


@pytest.fixture
def crop(tmp_path):
    """Write a crop of labels, as ids or as masks, and raw in which they can be seen."""

    def make(name, labels, ids=False):
        grid = Grid.from_nm(labels.shape, (8, 8, 8))
        noise = np.random.default_rng(len(name)).integers(60, 160, labels.shape)
        for kind, data in (("raw", (noise + 80 * (labels > 0)).astype(np.uint8)), ("labels", labels)):
            create_volume(tmp_path / name / kind, grid, data.dtype, overwrite=True).write(grid.roi, data)
        path = ArrayRef(str(tmp_path / name / "labels"))
        source = InstanceArray(path, "mito") if ids else ClassArrays({"mito": path}, unknown="none")
        return Crop(name, ArrayRef(str(tmp_path / name / "raw")), (source,))

    return make


@pytest.fixture
def check(crop, tmp_path):
    """Check a task on labels; what is an error must stop the training too."""

    def run(task, labels, architecture=VOLUME, ids=False, validate=None, **fields):
        split = Crops(
            train=(crop("a", labels, ids),), validate=(crop("bb", labels if validate is None else validate, ids),)
        )
        trainer = Trainer(iterations=2, batch_size=1, workers=0, device="cpu", tolerance_nm=16)
        run = Run(name="a", task=task, architecture=architecture, datasplit=split, trainer=trainer)
        run = attrs.evolve(run, **fields)
        report = check_run(run, FileStore(tmp_path / "runs"))
        if report.problems:
            with pytest.raises(UserError) as error:
                TrainingSession.prepare(run, FileStore(tmp_path / "runs"))
            assert error.value.problems[0] in report.problems
        else:
            TrainingSession.prepare(run, FileStore(tmp_path / "runs"))
        return report

    return run


def one(messages, text):
    """Return the only message, which must begin with a text."""
    (message,) = messages
    assert message.startswith(text)
    return message


def test_a_class_that_fills_its_crops_has_no_distance(check):
    report = check(Distance(("mito",)), np.ones(SHAPE, np.uint8))
    one(report.problems, "datasplit.train: 'mito' is absent in no crop, so that there is nothing to learn")


def test_a_boundary_out_of_reach_teaches_no_distance(check):
    labels = np.ones(SHAPE, np.uint8)
    labels[0, 0, 0] = 0
    report = check(Distance(("mito",), scale_nm=200), labels)
    assert "lower it, or set task.distance_supervision: interval" in one(
        report.problems + report.warnings, "task: target 'distance' of 'mito': "
    )


def test_single_sections_say_little_of_distances_in_space(check):
    labels = np.zeros((8, 96, 96), np.uint8)
    labels[1:, 20:76, 20:76] = 1
    wide = attrs.evolve(PLANE, input_shape_vx=(1, 96, 96))
    report = check(HotDistance(("mito",), scale_nm=50), labels, wide)
    message = one(report.warnings, "task: target 'distance' of 'mito': only ")
    assert message.endswith("a section alone says little of distances along z: set task.distance_axes: yx")
    assert check(HotDistance(("mito",), scale_nm=20, distance_axes="yx"), labels, wide).warnings == []


def test_boundaries_between_instances_need_ids(check):
    report = check(HotDistance(("mito",), boundaries="instance"), MASK)
    message = one(report.warnings, "task: all distances inside 'mito' are the same")
    assert "give its labels as InstanceArray (in a folder labels/mito_inst), or set task.boundaries: class" in message
    assert check(HotDistance(("mito",), boundaries="instance", scale_nm=20), OBJECTS, ids=True).warnings == []


def test_masks_that_are_all_full_or_empty(check):
    branch = (MaskBranch(0, (3, 3, 3)),)
    report = check(LatentMasks(("mito",), offsets=NEAR, branches=branch, transition_vx=2), OBJECTS, ids=True)
    assert "lower it, or choose larger windows" in one(report.warnings, "task.transition_vx: 2 keeps every border out")
    report = check(LatentMasks(("mito",), offsets=NEAR, transition_vx=6), blocks_of(6), ids=True)
    assert any("leaves no voxel of 'mito' with a mask that is not empty" in text for text in report.warnings)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "'mito' is present in no crop"), (1, "'mito' is absent in no crop")], ids=["none", "all"]
)
def test_nothing_to_tell_apart(check, value, text):
    report = check(OneHot(("mito",)), np.full(SHAPE, value, np.uint8), validate=MASK)
    one(report.problems, f"datasplit.train: {text}, so that there is nothing to learn; give crops that show both")


def test_offsets_longer_than_any_object(check):
    report = check(Affinities(("mito",), offsets=(*NEAR, (0, 0, -9))), OBJECTS, ids=True)
    assert one(report.warnings, "task: in no sample do both ends of mito/(0,0,-9) lie in one object").endswith(
        "the ids"
    )


def test_objects_that_fill_the_volume_need_no_foreground(check):
    dense = blocks_of(8, gap=0)
    report = check(Affinities(("mito",), offsets=NEAR), dense, ids=True)
    message = one(report.warnings, "datasplit.train: 'mito' fills the crops, so that its foreground cannot be learnt")
    assert message.endswith("set task.foreground: false and task.best_by: cremi_score for objects that fill the volume")
    assert (
        check(Affinities(("mito",), offsets=NEAR, foreground=False, best_by="cremi_score"), dense, ids=True).warnings
        == []
    )


def test_a_score_that_no_validation_crop_defines(check):
    report = check(OneHot(("mito",)), MASK, validate=np.zeros_like(MASK))
    one(
        report.problems,
        "datasplit.validate: 'mito' is present in no crop, so that dice, by which checkpoints are chosen, is undefined",
    )
    assert check(OneHot(("mito",), best_by="false_positive_rate"), MASK, validate=np.zeros_like(MASK)).problems == []
    report = check(OneHot(("mito",), best_by="panoptic_quality"), MASK)
    one(report.problems, "datasplit.validate: no crop has instance ids of 'mito', so that panoptic_quality")
    report = check(OneHot(("mito",)), MASK, validate=np.ones_like(MASK))
    one(
        report.warnings,
        "datasplit.validate: 'mito' is absent in no crop, so that predicting it everywhere has the best",
    )


def test_what_the_trainer_would_refuse(check, tmp_path):
    trainer = Trainer(iterations=2, batch_size=10**7, workers=0, device="cpu", tolerance_nm=16)
    one(check(OneHot(("mito",)), MASK, trainer=trainer).problems, "trainer.batch_size: a batch of 10000000 takes about")


def test_a_start_from_a_run_that_is_not_there(check):
    report = check(OneHot(("mito",)), MASK, start=Start("none"))
    assert one(report.problems, "start: ").count("none") == 1


def test_lessons_say_what_each_channel_is_taught(check):
    report = check(HotDistance(("mito",), scale_nm=20), MASK)
    assert (report.problems, report.warnings) == ([], [])
    assert report.samples >= 4
    found = {(lesson.target, lesson.channel): lesson for lesson in report.lessons}
    assert set(found) == {("one_hot", "mito/present"), ("distance", "mito/low"), ("distance", "mito/high")}
    hot = found["one_hot", "mito/present"]
    # windows reach beyond the crop
    assert 0.3 < hot.known == hot.counted <= 1 and (hot.low, hot.high) == (0, 1)
    assert hot.present + hot.absent == pytest.approx(1) and 0.2 < hot.present < 0.8
    assert found["distance", "mito/low"].low < 0 < found["distance", "mito/low"].high
