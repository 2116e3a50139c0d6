"""The loss of the Embeddings task, with all its options, against plain loops over the voxels of its labels."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.tasks import Embeddings

CLASSES = ("mito", "er")
SHAPE = (3, 6, 8)
# along z a neighbour is too far, along y one voxel is near, along x two
VOXEL_SIZE_NM, RADIUS_NM = (12.0, 5.0, 4.0), 9.0
DIMS = 5
BACKGROUND = 0
CHOICES = {
    "distance_axes": ("zyx", "yx"),
    "constraints": ("local", "global"),
    "background": ("object", "adjacent", "ignored"),
    "similarity": ("absolute", "signed"),
    "intra_average": ("objects", "voxels"),
}
COMBINATIONS = [dict(zip(CHOICES, chosen, strict=True)) for chosen in product(*CHOICES.values())]


def random_block(seed):
    """Make two classes of objects of 2 x 2 voxels and more, with unknown voxels, some without an id, and background."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 6, (len(CLASSES), 3, 3, 4)).repeat(2, axis=2).repeat(2, axis=3)
    code = np.where(cells > 0, PRESENT, ABSENT)
    code[rng.random(code.shape) < 0.15] = UNKNOWN
    # nothing is known of one class in one section
    code[1, seed % 3] = UNKNOWN
    named = (code == PRESENT) & (rng.random(code.shape) > 0.1)
    # float32 has the same number for all of these ids
    ids = np.where(named, 2**32 - 1 - cells, 0).astype(np.uint32)
    return LabelBlock(CLASSES, code.astype(np.uint8), VOXEL_SIZE_NM, dict(zip(CLASSES, ids, strict=True)))


BLOCKS = [random_block(1), random_block(2)]


def make_task(**options):
    return Embeddings(CLASSES, embedding_dims=DIMS, neighbour_radius_nm=RADIUS_NM, **options)


def random_vectors(seed=0):
    """Make a raw embedding of both blocks, (b, c x e, z, y, x)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(BLOCKS), len(CLASSES) * DIMS, *SHAPE, generator=generator)


def images(task, vectors):
    """Yield the codes and ids (z, y, x) and the vectors (e, z, y, x) of each sample, class and, if so, section."""
    for block, sample in zip(BLOCKS, vectors.numpy().astype(np.float64), strict=True):
        for number, name in enumerate(CLASSES):
            own = sample[number * DIMS : (number + 1) * DIMS]
            whole, sections = [slice(None)], [slice(z, z + 1) for z in range(SHAPE[0])]
            for part in sections if task.distance_axes == "yx" else whole:
                yield block.code[number, part], block.instances[name][part], own[:, part]


def objects_of(task, code, ids, vectors):
    """Collect the voxels of each object of an image: where they are (nm), and their unit vectors."""
    objects = {}
    for voxel in np.ndindex(code.shape):
        if code[voxel] == ABSENT and task.background != "ignored":
            number = BACKGROUND
        elif code[voxel] == PRESENT and ids[voxel] > 0:
            number = int(ids[voxel])
        else:
            continue
        place_nm = tuple(index * edge for index, edge in zip(voxel, VOXEL_SIZE_NM, strict=True))
        vector = vectors[(slice(None), *voxel)]
        objects.setdefault(number, []).append((place_nm, vector / np.linalg.norm(vector)))
    return objects


def mean(values):
    return sum(values) / len(values) if len(values) else 0.0


def cosine(a, b):
    return float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))


def are_neighbours(task, objects, one, other):
    if one == other:
        return False
    if task.constraints == "global" or (task.background == "adjacent" and BACKGROUND in (one, other)):
        return True
    pairs = product(objects[one], objects[other])
    return any(math.dist(here_nm, there_nm) <= RADIUS_NM for (here_nm, _), (there_nm, _) in pairs)


def intra_of(task, objects, means):
    off = [[1 - cosine(vector, means[number]) for _, vector in objects[number]] for number in objects]
    if task.intra_average == "voxels":
        return mean([value for own in off for value in own])
    return mean([mean(own) for own in off])


def inter_of(task, objects, means):
    """Return the mean over objects with neighbours, None if there are none."""
    of_objects = []
    for one in objects:
        cosines = [cosine(means[one], means[other]) for other in objects if are_neighbours(task, objects, one, other)]
        if cosines:
            of_objects.append(mean([abs(c) if task.similarity == "absolute" else 1 + c for c in cosines]))
    return mean(of_objects) if of_objects else None


def by_loops(task, vectors):
    """Compute intra and inter, without the weight of the latter."""
    intras, inters = [], []
    for image in images(task, vectors):
        objects = objects_of(task, *image)
        if not objects:
            continue
        means = {number: mean([vector for _, vector in voxels]) for number, voxels in objects.items()}
        intras.append(intra_of(task, objects, means))
        inters.append(inter_of(task, objects, means))
    return mean(intras), mean([value for value in inters if value is not None])


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda options: "-".join(options.values()))
def test_intra_and_inter_are_those_of_plain_loops(options, as_batch):
    task, vectors = make_task(**options), random_vectors()
    batch = as_batch(*map(task.targets, BLOCKS))
    losses = task.loss({"distance": batch["distance"][0], "embedding": vectors}, batch)
    intra, inter = by_loops(task, vectors)
    assert losses["intra"].item() == pytest.approx(intra, abs=1e-5)
    assert losses["inter"].item() == pytest.approx(inter, abs=1e-5)
    assert losses["distance"] == 0


def test_the_embedding_of_an_earlier_stage_has_the_same_loss(as_batch):
    task = make_task()
    batch = as_batch(*map(task.targets, BLOCKS))
    first, last = random_vectors(1), random_vectors(2)
    losses = task.loss({"distance": batch["distance"][0], "embedding_of_stage_0": first, "embedding": last}, batch)
    found = [losses[name].item() for name in ("intra_of_stage_0", "inter_of_stage_0", "intra", "inter")]
    assert found == pytest.approx([*by_loops(task, first), *by_loops(task, last)], abs=1e-5)


def random_distance():
    return torch.randn(len(BLOCKS), len(CLASSES), *SHAPE, generator=torch.Generator().manual_seed(3))


def squared_errors(prediction, value, weight, number):
    """List the errors of a class in its objects and outside of them, where the prediction is clipped at 0."""
    inside, outside = [], []
    for sample, voxel in product(range(len(BLOCKS)), np.ndindex(SHAPE)):
        place = (sample, number, *voxel)
        if weight[place] == 0:
            continue
        if value[place] > 0:
            inside.append((prediction[place] - value[place]).item() ** 2)
        else:
            outside.append(max(prediction[place].item(), 0) ** 2)
    return inside, outside


@pytest.mark.parametrize("balance", [False, True])
def test_the_distance_is_a_mean_over_known_voxels_or_over_objects_and_background(as_batch, balance):
    task, prediction = make_task(balance=balance), random_distance()
    batch = as_batch(*map(task.targets, BLOCKS))
    total = count = 0
    for number in range(len(CLASSES)):
        inside, outside = squared_errors(prediction, *batch["distance"], number)
        assert len(inside) > 2 * len(outside) > 20
        known = len(inside) + len(outside)
        each = (mean(inside) + mean(outside)) / 2 if balance else mean(inside + outside)
        total, count = total + known * each, count + known
    found = task.loss({"distance": prediction, "embedding": random_vectors()}, batch)["distance"].item()
    assert found == pytest.approx(total / count, rel=1e-5)


def test_weights_are_factors_of_distance_and_inter(as_batch):
    predictions = {
        "distance": random_distance(),
        "embedding": random_vectors(),
        "embedding_of_stage_0": random_vectors(1),
    }
    plain, weighted = make_task(), make_task(distance_weight=3, inter_weight=0.25)
    before, after = (task.loss(predictions, as_batch(*map(task.targets, BLOCKS))) for task in (plain, weighted))
    factors = {"distance": 3, "intra": 1, "inter": 0.25, "intra_of_stage_0": 1, "inter_of_stage_0": 0.25}
    assert min(before.values()) > 0
    assert {name: (after[name] / before[name]).item() for name in before} == pytest.approx(factors)
