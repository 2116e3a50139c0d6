from __future__ import annotations

import itertools

import attrs
import numpy as np
import pytest
import torch

from dacapo_hd.architectures import UNet
from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.config import structure
from dacapo_hd.config.problems import ConfigError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.operations.mask_aggregation import Branch, aggregate
from dacapo_hd.prediction.predict import predict
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.sampling.loader import Batch
from dacapo_hd.tasks import AffinityBranch, LatentMasks, MaskBranch, Task
from dacapo_hd.tasks.latent_head import decode_box, draw_centres, mask_loss, mask_targets
from dacapo_hd.training.loop import TrainingState, training_step
from dacapo_hd.training.trainer import Trainer

SHAPE = (7, 12, 13)
NEAR = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
NETWORK = UNet(
    input_shape_vx=(8, 24, 24), padding="same", num_fmaps=4, downsample_factors=((1, 2, 2),), normalization="batch"
)


def problems(**fields):
    with pytest.raises(ConfigError) as error:
        structure({"type": "LatentMasks", "classes": ["mito"], **fields}, Task)
    return list(error.value.problems)


def test_what_cannot_be_is_told():
    assert problems(branches=[{"window_vx": [4, 7, 7]}]) == [
        "branches.0.window_vx: must be odd on every axis, so that the window has a centre, got (4, 7, 7)"
    ]
    assert problems(branches=[{"window_vx": [5, 7, 7]}], offsets=[[-1, 0, 0], [0, 0, -8]]) == [
        "the offset (0,0,-8) is larger than the mask windows of level 0, or no multiple of their dilation "
        "(5x7x7 dilated by 1x1x1); leave it out, or add a branch that it fits"
    ]
    # not also that they fit no window
    assert problems(offsets=[[0, -1], [-1, 0]]) == [
        "offsets: must be three numbers each (z, y, x), 0 along z within a section; got (0,-1)"
    ]
    assert problems(branches=[{"level": 1}]) == [
        "branches: must begin with a branch of level 0, from which affinities are predicted"
    ]
    assert problems(predict=["affinity"]) == [
        "predict: must be without affinity, or `affinities` have a branch of level 0"
    ]
    assert problems(predict=["mask"]) == [
        "predict: must be some of affinity, latent_affinity, mask_affinity, mask_variance, got 'mask'"
    ]
    assert problems(latents="frozen") == [
        "latents: must be learnt, or `predict` have latent_affinity, which is all that is learnt then"
    ]
    assert problems(offset_unit="nm") == ["offset_unit: must be one of 'vx', got 'nm'"]


def test_windows_larger_than_the_output_are_told():
    branches = (MaskBranch(0, (5, 7, 7), (1, 4, 4)), MaskBranch(3, (3, 3, 3)))
    task = LatentMasks(("mito",), offsets=NEAR, branches=branches, predict=("latent_affinity",))
    assert task.problems_with(NETWORK, (8.0, 8.0, 8.0), (30, 30, 30)) == [
        "task.branches: the mask window of masks_1 covers 25 voxels along y, more than the network's output of 24; "
        "enlarge architecture.input_shape_vx, or choose a smaller window or dilation",
        "task.branches: the mask window of masks_1 covers 25 voxels along x, more than the network's output of 24; "
        "enlarge architecture.input_shape_vx, or choose a smaller window or dilation",
        "task.branches: the network has no decoder level 3, only 0 to 1",
    ]


def block():
    """Return three objects, background between, a part unknown."""
    ids = np.zeros(SHAPE, np.uint32)
    ids[:, :5, :6], ids[:, 5:, :7], ids[2:, :, 9:] = 40, 7, 1000
    code = np.where(ids > 0, PRESENT, ABSENT).astype(np.uint8)
    code[:, :, 12:] = UNKNOWN
    return LabelBlock(("mito",), code[None], (8.0, 8.0, 8.0), {"mito": np.where(code == PRESENT, ids, 0)})


def test_targets_are_the_masks_of_each_voxels_object():
    branch = MaskBranch(0, (3, 5, 3), (1, 1, 2))
    task = LatentMasks(("mito",), offsets=NEAR, branches=(MaskBranch(), branch), predict=("latent_affinity",))
    labels = block()
    target = task.targets(labels)["masks_2"]
    value, weight = (torch.from_numpy(part)[None] for part in (target.value, target.weight))
    steps = branch.window().steps()
    centres = draw_centres(weight, branch.reach_vx, 10**6)
    masks = mask_targets(value, centres, torch.tensor(steps))
    found = {tuple(c[2:].tolist()): mask for c, mask in zip(centres, masks, strict=True)}
    own, code = labels.instances["mito"], labels.code[0]
    kinds = set()
    for u in np.ndindex(SHAPE):
        places = [tuple(a + b for a, b in zip(u, step, strict=True)) for step in steps]
        whole = all(all(0 <= i < n for i, n in zip(p, SHAPE, strict=True)) and code[p] != UNKNOWN for p in places)
        assert (u in found) == whole
        if not whole:
            continue
        # another label closer than two voxels: one of the 26 neighbours
        around = itertools.product(*(range(max(i - 1, 0), min(i + 2, n)) for i, n in zip(u, SHAPE, strict=True)))
        alone = code[u] == ABSENT or any((own[v], code[v]) != (own[u], code[u]) for v in around)
        expected = [0.0 if alone else float(own[p] == own[u]) for p in places]
        assert found[u].tolist() == expected
        kinds.add((alone, 0 < sum(expected) < len(places)))
    assert kinds == {(True, False), (False, False), (False, True)}


def test_a_perfect_decoder_has_no_loss_and_an_empty_batch_neither():
    task = LatentMasks(("mito",), offsets=NEAR, branches=(MaskBranch(0, (3, 3, 3)),))
    target = task.targets(block())["masks_1"]
    value, weight = (torch.from_numpy(part)[None] for part in (target.value, target.weight))
    branch = task.branches[0]
    steps = branch.window().steps()
    everywhere = torch.ones(1, 1, *SHAPE).nonzero()
    inner = draw_centres(torch.ones(1, 1, *SHAPE), branch.reach_vx, 10**6)
    latents = torch.zeros(1, 27, *SHAPE)
    latents[0, :, *inner[:, 2:].T] = mask_targets(value, inner, torch.tensor(steps)).T * 200 - 100
    assert len(everywhere) > len(inner)
    perfect = mask_loss(torch.nn.Identity(), latents, value, weight, steps, branch.reach_vx, 10**6)
    assert perfect.item() == pytest.approx(0, abs=1e-6)
    wrong = mask_loss(torch.nn.Identity(), -latents, value, weight, steps, branch.reach_vx, 10**6)
    assert wrong.item() > 0.5
    none = mask_loss(torch.nn.Identity(), -latents, value, 0 * weight, steps, branch.reach_vx, 10**6)
    assert none.item() == 0


def test_few_centres_are_drawn_at_random_from_all():
    weight = (torch.rand(2, 2, *SHAPE, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    torch.manual_seed(1)
    drawn = torch.cat([draw_centres(weight, (1, 2, 3), 20) for _ in range(200)])
    assert len(drawn) == 4000
    every = draw_centres(weight, (1, 2, 3), 10**6)
    assert set(map(tuple, drawn.tolist())) == set(map(tuple, every.tolist()))
    assert (weight[tuple(every.T)] > 0).all()
    low, high = every[:, 2:].min(0).values.tolist(), every[:, 2:].max(0).values.tolist()
    assert low == [1, 2, 3]
    assert high == [n - 1 - r for n, r in zip(SHAPE, (1, 2, 3), strict=True)]


def small_task(**fields):
    return LatentMasks(
        ("mito", "er"),
        offsets=(*NEAR, (0, 0, -4)),
        branches=(MaskBranch(0, (3, 3, 3)), MaskBranch(0, (3, 3, 3), (1, 2, 2)), MaskBranch(1, (3, 3, 3), (1, 2, 2))),
        latent_channels=6,
        hidden_channels=8,
        **fields,
    )


def test_the_second_stage_changes_nothing_before_it():
    task = small_task(predict=("latent_affinity", "mask_affinity"))
    torch.manual_seed(0)
    network = Network(NETWORK, task)
    predictions = network(torch.rand(1, 1, 8, 24, 24))
    predictions["latent_affinity"].square().sum().backward()
    touched = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert touched
    assert all(name.startswith("head.second_stage.") for name in touched)


def test_on_frozen_latents_a_step_changes_the_second_stage_alone():
    task = small_task(predict=("latent_affinity",), latents="frozen")
    trainer = Trainer(iterations=1, learning_rate=0.1, weight_decay=0.1, precision="float32")
    torch.manual_seed(0)
    state = TrainingState.start(trainer, Network(NETWORK, task))
    state.network.train()
    before = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    code = np.stack([block().code[0]] * 2)
    target = task.targets(LabelBlock(("mito", "er"), code, (8.0, 8.0, 8.0), {"mito": block().instances["mito"]}))
    assert list(target) == ["latent_affinity"]
    pad = [(0, 0), *((0, big - small) for big, small in zip((8, 24, 24), SHAPE, strict=True))]
    whole = tuple(torch.from_numpy(np.pad(part, pad))[None] for part in attrs.astuple(target["latent_affinity"])[:2])
    losses = training_step(trainer, task, state, Batch(torch.rand(1, 1, 8, 24, 24), {"latent_affinity": whole}))
    assert list(losses) == ["latent_affinity"]
    after = state.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("running_mean" in name for name in before)
    assert changed == {name for name in before if name.startswith("head.second_stage.")}


def test_what_is_decoded_are_the_aggregated_masks_of_the_finest_branches():
    task = small_task(predict=("mask_variance", "mask_affinity"))
    torch.manual_seed(0)
    network = Network(NETWORK, task).eval()
    with torch.no_grad():
        predictions = network(torch.rand(2, 1, 8, 24, 24))
        decoded = task.decode(predictions)
    for sample, class_number in itertools.product(range(2), range(2)):
        branches = [
            Branch(
                task.branches[n].window(),
                predictions[f"masks_{n + 1}"][sample, 6 * class_number : 6 * class_number + 6],
                lambda box, n=n: decode_box(predictions.decoders[f"masks_{n + 1}"], box),
            )
            for n in (0, 1)
        ]
        with torch.no_grad():
            mean, variance = aggregate(branches, [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -4)])
        names = [channel.name for channel in task.output_channels()]
        start = names.index(f"{task.classes[class_number]}/mask_affinity(-1,0,0)")
        torch.testing.assert_close(decoded[sample, start : start + 4], mean)
        start = names.index(f"{task.classes[class_number]}/mask_variance(-1,0,0)")
        torch.testing.assert_close(decoded[sample, start : start + 4], variance)


def test_blocks_do_not_change_what_is_predicted():
    task = small_task(predict=("mask_affinity", "mask_variance"), affinities=(AffinityBranch(0, NEAR),))
    assert task.decode_context_vx == (1, 2, 2)
    torch.manual_seed(0)
    # one convolution sees so little that the blocks are small
    kernels = ((((1, 3, 3),), ((1, 1, 1),)), (((1, 1, 1),),))
    architecture = attrs.evolve(NETWORK, kernel_sizes_down=kernels[0], kernel_sizes_up=kernels[1])
    predictor = Predictor(Network(architecture, task), architecture, task)
    shape = (5, 14, 15)
    source = MemoryVolume(np.random.default_rng(0).random(shape, np.float32), Grid.from_nm(shape, (8.0,) * 3))
    found = []
    for blocks in (shape, (3, 8, 8)):
        target = MemoryVolume(np.zeros((len(task.output_channels()), *shape), np.float32), source.grid)
        predict(predictor, source, target, source.grid.roi, (0.0, 1.0), blocks)
        found.append(target.data)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
