"""The Embeddings task: its targets, which stage learns what, its options and its segmenters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dacapo_hd.architectures import UNet, WNet
from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.architectures.network import Network
from dacapo_hd.labels.block import UNKNOWN, LabelBlock
from dacapo_hd.segmentation import AngularClustering, CosineMutexWatershed, Prediction
from dacapo_hd.tasks import Embeddings
from dacapo_hd.tasks.stage_head import StageHead

SMALL = {"dims": 2, "num_fmaps": 4, "padding": "same", "input_shape_vx": (1, 24, 24)}
TASK = Embeddings(("mito",), neighbour_radius_nm=20, distance_axes="yx")


@pytest.fixture
def block(make_block):
    """Two boxes that touch and one apart, cut by the edge."""
    ids = np.zeros((1, 24, 24), np.uint32)
    ids[0, 2:10, 2:8], ids[0, 2:10, 8:14], ids[0, 15:24, 16:24] = 7, 9, 4
    return make_block(ids, instances=True)


def test_targets_hold_depth_objects_and_the_voxel_size(block):
    targets = TASK.targets(block)
    assert targets["distance"].channels == ("mito/distance",)
    assert targets["distance"].value.max() == 1
    assert targets["distance"].weight.min() == 1
    embedding = targets["embedding"]
    assert embedding.channels == ("mito/object", "voxel_z_nm", "voxel_y_nm", "voxel_x_nm")
    ids = block.instances["mito"]
    pairs = set(zip(ids.ravel().tolist(), embedding.value[0].ravel().tolist(), strict=True))
    assert {number for _, number in pairs} == {0, 1, 2, 3}
    assert len(pairs) == 4
    assert (embedding.value[1:] == 8).all()
    assert embedding.weight[0].min() == 1
    assert embedding.weight[1:].max() == 0


def test_presence_without_an_id_and_unknown_voxels_do_not_count(block):
    ids = np.where(block.instances["mito"] == 4, 0, block.instances["mito"])
    code = block.code.copy()
    code[0, 0, :, :4] = UNKNOWN
    for target in TASK.targets(LabelBlock(("mito",), code, block.voxel_size_nm, {"mito": ids})).values():
        nameless = block.instances["mito"] == 4
        assert target.weight[0][nameless].max() == 0
        assert target.weight[0][:, :, :4].max() == 0
        assert target.weight[0][:, 12:14, 5:].min() == 1


def test_cut_objects_can_be_left_out_of_the_distance(block):
    visible = TASK.targets(block)["distance"]
    ignored = Embeddings(("mito",), distance_axes="yx", cut_objects="ignored").targets(block)["distance"]
    cut = block.instances["mito"] == 4
    assert ignored.weight[0][cut].max() == 0
    assert ignored.weight[0][~cut].min() == 1
    np.testing.assert_array_equal(ignored.value, visible.value)


@pytest.mark.parametrize("cut_objects", ["visible", "ignored"])
def test_the_distance_of_an_object_without_visible_boundary_does_not_count(make_block, cut_objects):
    block = make_block(np.full((2, 5, 6), 3, np.uint32), instances=True)
    targets = Embeddings(("mito",), cut_objects=cut_objects).targets(block)
    assert targets["distance"].value.max() == targets["distance"].weight.max() == 0
    assert targets["embedding"].weight[0].min() == 1


@pytest.mark.parametrize("axes", ["zyx", "yx"])
def test_depth_is_measured_in_nanometres_along_the_axes(make_block, axes):
    # a cube of 3 x 3 x 3 voxels of 4 x 8 x 8 nm
    ids = np.zeros((5, 5, 5), np.uint32)
    ids[1:4, 1:4, 1:4] = 6
    task = Embeddings(("mito",), distance_axes=axes)
    target = task.targets(make_block(ids, voxel_size_nm=(4.0, 8.0, 8.0), instances=True))["distance"]
    expected = np.zeros(ids.shape)
    # less half the smallest edge, the middle section is 8 - 2 = 6 nm deep and those beside it 4 - 2 = 2 nm; in sections
    # of their own, voxels in the middle are 16 - 4 = 12 nm deep and the others 8 - 4 = 4 nm
    expected[1:4, 1:4, 1:4] = 1 / 3
    expected[(2, slice(1, 4), slice(1, 4)) if axes == "zyx" else (slice(1, 4), 2, 2)] = 1
    np.testing.assert_allclose(target.value[0], expected, rtol=1e-6)


def test_the_distance_factor_multiplies_the_target_and_is_divided_out_of_what_is_stored(block):
    plain, task = Embeddings(("mito",)), Embeddings(("mito",), distance_factor=10)
    share, target = plain.targets(block)["distance"], task.targets(block)["distance"]
    assert set(np.unique(share.value)) > {0, 1}
    np.testing.assert_allclose(target.value, 10 * share.value, rtol=1e-6)
    np.testing.assert_array_equal(target.weight, share.weight)
    predictions = {"distance": torch.from_numpy(target.value[None]), "embedding": torch.randn(1, 8, 1, 24, 24)}
    np.testing.assert_allclose(task.decode(predictions)[:, 0], share.value, rtol=1e-6)


def predictions_of(architecture, task=TASK):
    torch.manual_seed(0)
    network = Network(architecture, task)
    return network, network(torch.rand(2, 1, *architecture.input_shape_vx))


@pytest.mark.parametrize("intermediate", ["distance_map", "distance_features", "coordinates", "none"])
def test_of_a_w_net_the_distance_is_read_from_the_first_stage(intermediate):
    network, predictions = predictions_of(WNet(**SMALL, intermediate=intermediate))
    predictions["distance"].sum().backward()
    assert all(p.grad is None for p in network.backbone.second.parameters())
    assert all(p.grad is not None for p in network.backbone.first.parameters())
    assert set(predictions) == {"distance", "embedding"}


def test_with_embedding_features_both_stages_learn_the_embedding(block, as_batch):
    network, predictions = predictions_of(WNet(**SMALL, intermediate="embedding_features"))
    assert set(predictions) == {"distance", "embedding", "embedding_of_stage_0"}
    losses = TASK.loss(predictions, as_batch(TASK.targets(block), TASK.targets(block)))
    assert set(losses) == {"distance", "intra", "inter", "intra_of_stage_0", "inter_of_stage_0"}
    (losses["intra_of_stage_0"] + losses["inter_of_stage_0"]).backward()
    assert all(p.grad is None for p in network.backbone.second.parameters())
    assert all(p.grad is not None for p in network.backbone.first.up.parameters())


def test_a_u_net_has_both_heads_on_the_same_features():
    network, predictions = predictions_of(UNet(**SMALL))
    assert set(predictions) == {"distance", "embedding"}
    predictions["distance"].sum().backward()
    assert all(p.grad is not None for p in network.backbone.parameters())


def test_maps_of_a_valid_w_net_have_the_shape_of_the_last_stage():
    architecture = WNet(dims=2, num_fmaps=2, input_shape_vx=(1, 84, 88))
    _, predictions = predictions_of(architecture)
    assert {maps.shape[2:] for maps in predictions.values()} == {(1, 4, 8)}


def test_maps_of_an_earlier_stage_are_cropped_around_their_centre():
    stages = [[FeatureMap(1, meant_for=("distance", "embedding"))], [FeatureMap(1)]]
    head = StageHead(stages, {"distance": 1, "embedding": 1}, final=["embedding"])
    for projection in head.project.values():
        torch.nn.init.ones_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    first = torch.arange(3.0 * 8 * 10).reshape(1, 1, 3, 8, 10)
    with torch.no_grad():
        outputs = head([[first], [-torch.ones(1, 1, 1, 4, 4)]])
    assert set(outputs) == {"distance", "embedding", "embedding_of_stage_0"}
    for name in ("distance", "embedding_of_stage_0"):
        torch.testing.assert_close(outputs[name], first[:, :, 1:2, 2:6, 3:7])
    assert (outputs["embedding"] == -1).all()


def test_neighbours_are_sought_in_nanometres(block, as_batch):
    # the boxes 7 and 9 touch; 4 is 6 voxels of 8 nm away along y and 3 along x from 9
    batch = as_batch(Embeddings(("mito",), distance_axes="yx").targets(block))
    for radius_nm, number in ((10, 2), (53.6, 2), (53.7, 4)):
        task = Embeddings(("mito",), neighbour_radius_nm=radius_nm, background="ignored", distance_axes="yx")
        _, pairs = task._objects(*batch["embedding"])
        assert len(pairs) == number, radius_nm


def test_sections_are_images_of_their_own_where_distances_are(make_block, as_batch):
    ids = np.zeros((2, 8, 8), np.uint32)
    ids[:, 2:6, 2:6] = 3
    batch = as_batch(TASK.targets(make_block(ids, instances=True)))
    objects, _ = TASK._objects(*batch["embedding"])
    assert len(objects) == 4
    whole, _ = Embeddings(("mito",))._objects(*batch["embedding"])
    assert len(whole) == 2


@pytest.mark.parametrize("similarity", ["absolute", "signed"])
def test_vectors_learnt_from_free_parameters_tell_objects_apart(block, as_batch, similarity):
    task = Embeddings(("mito",), neighbour_radius_nm=60, distance_axes="yx", similarity=similarity)
    batch = as_batch(task.targets(block))
    torch.manual_seed(0)
    vectors = torch.randn(1, 8, 1, 24, 24, requires_grad=True)
    optimizer = torch.optim.Adam([vectors], lr=0.1)
    distance = batch["distance"][0]
    for _ in range(150):
        losses = task.loss({"distance": distance, "embedding": vectors}, batch)
        assert losses["distance"] == 0
        optimizer.zero_grad()
        (losses["intra"] + losses["inter"]).backward()
        optimizer.step()
    with torch.no_grad():
        decoded = task.decode({"distance": distance, "embedding": vectors})[0].numpy()
    names = tuple(channel.name for channel in task.output_channels())
    labels = AngularClustering(threshold=0).segment(Prediction(names, decoded, (8.0, 8.0, 8.0))).labels["mito"]
    ids = block.instances["mito"]
    pairs = set(zip(labels.ravel().tolist(), ids.ravel().tolist(), strict=True))
    assert len(pairs) == 4


def test_a_distance_that_is_negative_everywhere_is_pulled_back(block, as_batch):
    batch = as_batch(TASK.targets(block))
    value, weight = batch["distance"]
    raw = torch.linspace(-1, 1, value.numel()).reshape(value.shape).requires_grad_()
    vectors = torch.randn(1, TASK.embedding_dims, *value.shape[2:])
    TASK.loss({"distance": raw, "embedding": vectors}, batch)["distance"].backward()
    kept = (raw > 0) | (value > 0)
    expected = torch.where(kept, 2 * (raw - value), 0) * weight / weight.sum()
    torch.testing.assert_close(raw.grad, expected.detach())
    assert (raw.grad[(raw < 0) & (value > 0)] < 0).all()


def test_the_grid_takes_the_similarity_of_the_loss():
    assert {
        s.similarity for s in Embeddings(("mito",), similarity="signed").segmenters() if hasattr(s, "similarity")
    } == {"signed"}


def test_the_default_grid_is_what_the_documentation_names():
    angular = [AngularClustering(seed_threshold=t, merge=merge) for t in (0.3, 0.5, 0.7) for merge in (True, False)]
    assert set(Embeddings(("mito",)).segmenters()) == {*angular, CosineMutexWatershed(similarity="absolute")}


def test_stored_vectors_have_length_1_in_each_class():
    task = Embeddings(("mito", "er"), embedding_dims=3)
    raw = torch.randn(2, 6, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    stored = task.decode({"distance": torch.zeros(2, 2, 1, 4, 5), "embedding": raw})[:, 2:]
    for own in (slice(0, 3), slice(3, 6)):
        expected = raw[:, own] / raw[:, own].norm(dim=1, keepdim=True)
        torch.testing.assert_close(stored[:, own], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_dims": 0}, "must be > 0, got 0"),
        ({"constraints": "near"}, "must be one of 'local', 'global', got 'near'"),
        ({"neighbour_radius_nm": 0}, "must be > 0, got 0"),
        ({"similarity": "cosine"}, "must be one of 'absolute', 'signed', got 'cosine'"),
        ({"background": "none"}, "must be one of 'object', 'adjacent', 'ignored', got 'none'"),
        ({"context_nm": -1}, "must be >= 0, got -1"),
        (
            {"similarity": "signed", "grid": (AngularClustering(), CosineMutexWatershed())},
            "similarity 'signed' of the task, but 'absolute' of a CosineMutexWatershed of the grid; give both the same",
        ),
        ({"best_by": "dise"}, "unknown score 'dise'; did you mean 'dice'?"),
    ],
)
def test_invalid_settings(options, message):
    with pytest.raises(ValueError) as error:
        Embeddings(("mito",), **options)
    assert str(error.value) == message
