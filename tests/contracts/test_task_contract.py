"""What every built-in task must keep to: a new one adds an example here and nothing else."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil

import attrs
import numpy as np
import pytest
import torch
from torch import nn

import dacapo_hd.tasks
from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.config import structure, unstructure
from dacapo_hd.evaluation import SCORES
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.segmentation import Prediction, Segmenter
from dacapo_hd.tasks import (
    Affinities,
    AffinityBranch,
    Distance,
    Embeddings,
    HotDistance,
    LatentMasks,
    MaskBranch,
    ObjectSize,
    OneHot,
    Task,
)

CLASSES = ("mito", "er", "psd")
SHAPE = (12, 14, 16)
VOXEL_SIZE = (10.0, 5.0, 4.6)

EXAMPLES = [
    OneHot(CLASSES),
    OneHot(CLASSES, balance=False),
    Distance(CLASSES, scale_nm=10),
    Distance(CLASSES, scale_nm=10, boundaries="instance"),
    HotDistance(CLASSES, scale_nm=10),
    HotDistance(CLASSES, scale_nm=10, distance_supervision="interval", distance_axes="yx", distance_weight=2),
    HotDistance(CLASSES, scale_nm=10, distance_supervision="interval", boundaries="instance"),
    ObjectSize(CLASSES, samples=2, l1_weight=0.1, smoothness_weight=0.1),
    Affinities(CLASSES),
    Affinities(
        CLASSES,
        offsets=((-10, 0, 0), (0, -5, 0), (0, 0, -9.2)),
        offset_unit="nm",
        branches=(AffinityBranch(1, ((-20, 0, 0), (0, -10, 0), (0, 5, -23))),),
        descriptor_sigma_nm=4,
    ),
    # all voxels are drawn, so that losses do not depend on chance
    LatentMasks(
        CLASSES,
        offsets=((-1, 0, 0), (0, -1, 0), (0, 0, -4)),
        branches=(MaskBranch(0, (3, 3, 3)), MaskBranch(0, (3, 3, 3), (1, 1, 2)), MaskBranch(1, (1, 3, 3), (1, 2, 2))),
        samples=10**6,
        transition_vx=1.5,
    ),
    LatentMasks(
        CLASSES,
        offsets=((-1, 0, 0), (0, -1, 0)),
        branches=(MaskBranch(0, (3, 3, 3)),),
        affinities=(AffinityBranch(1, ((-2, 0, 0),)), AffinityBranch(0, ((-1, 0, 0), (0, 3, 0)))),
        decoder="convolutional",
        samples=10**6,
        predict=("affinity", "latent_affinity", "mask_affinity", "mask_variance"),
    ),
    Embeddings(CLASSES, neighbour_radius_nm=15),
    Embeddings(
        CLASSES,
        embedding_dims=4,
        constraints="global",
        similarity="signed",
        intra_average="voxels",
        distance_axes="yx",
        cut_objects="ignored",
        distance_factor=10,
        balance=True,
    ),
    Embeddings(CLASSES, background="adjacent", neighbour_radius_nm=15, distance_axes="yx"),
]


def label_block(known_from: int = 0) -> LabelBlock:
    """Make boxes of two classes, with ids for the first, known in the sections from `known_from` on; no psd."""
    ids = np.zeros((3, *SHAPE), np.uint32)
    ids[0, 3:9, 3:8, 2:9] = 1
    ids[0, 3:9, 3:8, 9:13] = 2
    ids[1, 2:10, 9:13, 3:12] = 1
    code = np.where(ids > 0, PRESENT, ABSENT).astype(np.uint8)
    code[:, :known_from] = UNKNOWN
    return LabelBlock(CLASSES, code, VOXEL_SIZE, {"mito": np.where(code[0] == PRESENT, ids[0], 0).astype(np.uint32)})


def batch_of(task: Task, *blocks: LabelBlock):
    samples = [task.targets(block) for block in blocks]
    return {
        name: tuple(
            torch.from_numpy(np.stack([getattr(sample[name], part) for sample in samples]))
            for part in ("value", "weight")
        )
        for name in samples[0]
    }


def network(task: Task) -> nn.Module:
    """Make a small two-stage network, as a W-Net has."""
    torch.manual_seed(0)

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU())
            self.head = task.head(((FeatureMap(1),), (FeatureMap(8), FeatureMap(1, (2, 2, 2)))))

        def forward(self, raw: torch.Tensor) -> dict[str, torch.Tensor]:
            coarse = nn.functional.avg_pool3d(raw, 2)
            return self.head([[raw], [self.body(raw), coarse]])

    return Tiny()


def raw_for(*blocks: LabelBlock) -> torch.Tensor:
    """Make an image in which the first class is bright and the second dark."""
    signal = np.stack([(block.code[0] == PRESENT) * 1.0 - (block.code[1] == PRESENT) for block in blocks])
    return torch.from_numpy(signal[:, None].astype(np.float32))


@pytest.fixture(params=EXAMPLES, ids=lambda example: type(example).__name__)
def task(request) -> Task:
    return request.param


def test_every_built_in_task_has_an_example():
    modules = [
        importlib.import_module(m.name) for m in pkgutil.iter_modules(dacapo_hd.tasks.__path__, "dacapo_hd.tasks.")
    ]
    built_in = {
        cls
        for module in modules
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, Task) and attrs.has(cls) and not inspect.isabstract(cls)
    }
    assert built_in == {type(example) for example in EXAMPLES}


def test_targets_have_the_promised_shapes_and_types(task):
    for target in task.targets(label_block(known_from=4)).values():
        assert target.value.dtype == target.weight.dtype == np.float32
        assert target.value.shape[1:] == target.weight.shape[1:] == SHAPE
        assert target.value.shape[0] == len(target.channels)
        assert target.value.shape[0] % target.weight.shape[0] == 0
        assert len(set(target.channels)) == len(target.channels)
        assert np.isfinite(target.value).all()
        assert np.isfinite(target.weight).all()
        assert target.weight.min() >= 0


def test_something_is_learnt_from_full_annotation_and_nothing_from_none(task):
    full, none = task.targets(label_block()), task.targets(label_block(known_from=SHAPE[0]))
    assert all(target.weight.max() > 0 for target in full.values())
    assert all(target.weight.max() == 0 for target in none.values())


def test_targets_do_not_change_the_labels(task):
    block = label_block(known_from=4)
    before = block.code.copy(), block.instances["mito"].copy()
    task.targets(block)
    np.testing.assert_array_equal(block.code, before[0])
    np.testing.assert_array_equal(block.instances["mito"], before[1])


def test_predictions_and_targets_have_the_same_names_and_places(task):
    block = label_block()
    targets, predictions = batch_of(task, block, block), network(task)(raw_for(block, block))
    assert set(predictions) == set(targets)
    for name, (value, weight) in targets.items():
        assert predictions[name].shape[0] == value.shape[0]
        assert predictions[name].shape[2:] == value.shape[2:] == weight.shape[2:]


@pytest.mark.parametrize("known_from", [0, 4, SHAPE[0]])
def test_loss_is_named_scalars_finite_and_zero_where_nothing_is_known(task, known_from):
    block, model = label_block(known_from), network(task)
    losses = task.loss(model(raw_for(block)), batch_of(task, block))
    assert losses
    assert all(loss.shape == () and loss.isfinite() and loss >= 0 for loss in losses.values())
    sum(losses.values()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)
    if known_from == SHAPE[0]:
        assert all(loss.item() == 0 for loss in losses.values())
        assert all((gradient == 0).all() for gradient in gradients)


def test_a_sample_without_annotation_changes_no_loss(task):
    known, unknown, model = label_block(), label_block(known_from=SHAPE[0]), network(task)
    alone = task.loss(model(raw_for(known)), batch_of(task, known))
    beside = task.loss(model(raw_for(known, unknown)), batch_of(task, known, unknown))
    for name, loss in alone.items():
        torch.testing.assert_close(beside[name], loss)


def test_gradient_steps_reduce_the_loss(task):
    block, model = label_block(known_from=2), network(task)
    targets, optimizer = batch_of(task, block), torch.optim.SGD(model.parameters(), lr=0.05)
    totals = []
    for _ in range(2):
        total = sum(task.loss(model(raw_for(block)), targets).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[1] < totals[0]


def test_loss_is_finite_under_autocast(task):
    block, model = label_block(), network(task)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = task.loss(model(raw_for(block)), batch_of(task, block))
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())


def test_decoded_channels_stay_in_their_ranges(task):
    channels, model = task.output_channels(), network(task)
    with torch.no_grad():
        decoded = task.decode(model(1e3 * torch.randn(2, 1, *SHAPE)))
    assert decoded.shape == (2, len(channels), *SHAPE)
    assert decoded.dtype == torch.float32
    assert len({channel.name for channel in channels}) == len(channels)
    for index, channel in enumerate(channels):
        assert channel.name.rsplit("/", 1)[0] in task.classes
        assert channel.low <= decoded[:, index].min()
        assert decoded[:, index].max() <= channel.high


def test_segmenters_run_on_what_is_decoded(task):
    block, model = label_block(), network(task)
    with torch.no_grad():
        decoded = task.decode(model(raw_for(block)))[0].numpy()
    prediction = Prediction(tuple(channel.name for channel in task.output_channels()), decoded, VOXEL_SIZE)
    assert task.segmenters()
    assert len(set(task.segmenters())) == len(task.segmenters())
    for segmenter in task.segmenters():
        assert isinstance(segmenter, Segmenter)
        labels = segmenter.segment(prediction).labels
        assert set(labels) <= set(task.classes)
        assert all(array.shape == SHAPE for array in labels.values())


def test_score_exists_and_context_is_finite(task):
    assert task.score in SCORES
    assert 0 <= task.context_nm < np.inf
    assert task.context_axes in ("zyx", "yx")


def test_a_task_survives_the_way_to_a_worker(task):
    assert pickle.loads(pickle.dumps(task)) == task


def test_a_task_survives_the_way_through_plain_data(task):
    assert structure(unstructure(task), Task) == task
