"""The Embeddings task: its targets, which stage learns what, its options and its segmenters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dacapo_hd.architectures import UNet, WNet
from dacapo_hd.architectures.network import Network
from dacapo_hd.labels.block import UNKNOWN, LabelBlock
from dacapo_hd.segmentation import AngularClustering, CosineMutexWatershed, Prediction
from dacapo_hd.tasks import Embeddings

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


def test_maps_of_a_valid_w_net_are_cropped_onto_each_other():
    architecture = WNet(dims=2, num_fmaps=2, input_shape_vx=(1, 84, 88))
    _, predictions = predictions_of(architecture)
    assert {maps.shape[2:] for maps in predictions.values()} == {(1, 4, 8)}


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


def test_the_grid_takes_the_similarity_of_the_loss_and_must_join_sections():
    assert {
        s.similarity for s in Embeddings(("mito",), similarity="signed").segmenters() if hasattr(s, "similarity")
    } == {"signed"}
    flat = CosineMutexWatershed(((0, -1, 0), (0, 0, -1), (0, -4, 0)))
    task = Embeddings(("mito",), grid=(AngularClustering(), flat))
    assert task.problems_with(UNet(**SMALL), (8, 8, 8), (1, 24, 24)) == []
    (problem,) = task.problems_with(UNet(**SMALL), (8, 8, 8), (5, 24, 24))
    assert problem == f"task.grid: {flat.problem_with_sections(5)}"


def test_the_published_codes_form():
    task = Embeddings(("mito",), intra_average="voxels", background="adjacent", distance_factor=10)
    predictions = {"distance": torch.full((1, 1, 1, 2, 2), 5.0), "embedding": torch.randn(1, 8, 1, 2, 2)}
    assert (task.decode(predictions)[:, 0] == 0.5).all()


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
