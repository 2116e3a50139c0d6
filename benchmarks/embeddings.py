"""Embeddings: the loss next to a literal loop over objects, angular clustering, and which similarity keeps cells apart.

The loss is that of a batch of 4 x 256^2 pixels of touching cells, forward and backward; the literal loop takes one
object after the other, as the formula is written, and must give the same values and gradients. Both are told which
objects are neighbours, for which the search is timed by itself: what a training step pays is the sum. Times are
processor seconds of one thread, the least of several repetitions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from timing import seconds
from torch import Tensor
from torch.nn import functional

from dacapo_hd.operations.embeddings import Objects, inter_loss, intra_loss, unit
from dacapo_hd.segmentation import AngularClustering, CosineMutexWatershed, Prediction
from dacapo_hd.segmentation.vectors import embedding_channel

DIMS = 8
RADIUS_NM = 10.0
VOXEL_SIZE_NM = (1.0, 1.0, 1.0)


def cells(side: int, number: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Make cells with gaps of a pixel or two: ids (y, x), 0 between them, and depths as shares of each largest."""
    from scipy.spatial import cKDTree

    points = np.random.default_rng(seed).uniform(0, side, (number, 2))
    pixels = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
    distances, nearest = cKDTree(points).query(pixels, k=2)
    depth = (distances[:, 1] - distances[:, 0]).astype(np.float32)
    ids = np.where(depth > 1.5, nearest[:, 0] + 1, 0)
    deepest = np.zeros(number + 1, np.float32)
    np.maximum.at(deepest, ids, depth)
    share = np.where(ids > 0, depth / np.maximum(deepest[ids], 1e-6), 0)
    return ids.reshape(side, side), share.reshape(side, side).astype(np.float32)


def vectorised(vectors: Tensor, ids: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return (intra, inter) as the task computes them, from pairs of neighbours."""
    objects = Objects.of(ids, background=True)
    means = objects.means(unit(vectors))
    return intra_loss(means, objects), inter_loss(means, objects, pairs, absolute=True)


def literal(vectors: Tensor, ids: Tensor, near: list[dict[int, list[int]]]) -> tuple[Tensor, Tensor]:
    """Return (intra, inter) object by object; `near` gives the neighbours."""
    intras, inters = [], []
    for image, labels, neighbours in zip(functional.normalize(vectors, dim=1), ids, near, strict=True):
        mean, off = {}, []
        for own in labels.unique().tolist():
            members = image[:, labels == own]
            mean[own] = members.mean(dim=1)
            off.append((1 - torch.cosine_similarity(members, mean[own][:, None], dim=0)).mean())
        intras.append(torch.stack(off).mean())
        between = [
            torch.stack([torch.cosine_similarity(mean[own], mean[other], dim=0).abs() for other in others]).mean()
            for own, others in neighbours.items()
        ]
        inters.append(torch.stack(between).mean())
    return torch.stack(intras).mean(), torch.stack(inters).mean()


def neighbours_of(ids: Tensor) -> list[dict[int, list[int]]]:
    """Return for each image the ids of the neighbours of each id."""
    objects = Objects.of(ids, background=True)
    id_of = torch.zeros(len(objects), dtype=torch.long)
    id_of[objects.labels.flatten()] = ids.flatten()
    found: list[dict[int, list[int]]] = [{} for _ in ids]
    for a, b in objects.near_pairs(RADIUS_NM, VOXEL_SIZE_NM).tolist():
        found[int(objects.image[a])].setdefault(int(id_of[a]), []).append(int(id_of[b]))
    return found


def measure_loss(side: int, repetitions: int) -> list[str]:
    """Compare values, gradients and times of both forms."""
    made = [cells(side, 32, seed)[0] for seed in range(4)]
    ids = torch.from_numpy(np.stack(made))[:, None]
    start = torch.randn(4, DIMS, 1, side, side, generator=torch.Generator().manual_seed(0))
    near = neighbours_of(ids)
    objects = Objects.of(ids, background=True)
    pairs = objects.near_pairs(RADIUS_NM, VOXEL_SIZE_NM)

    def step(loss: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        vectors = start.clone().requires_grad_(True)
        total = sum(loss(vectors), torch.zeros(()))
        total.backward()
        assert vectors.grad is not None
        return total.detach(), vectors.grad

    ours, theirs = step(lambda v: vectorised(v, ids, pairs)), step(lambda v: literal(v, ids, near))
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-3)
    fast = seconds(lambda: step(lambda v: vectorised(v, ids, pairs)), repetitions)
    slow = seconds(lambda: step(lambda v: literal(v, ids, near)), max(repetitions // 3, 1))
    search = seconds(lambda: objects.near_pairs(RADIUS_NM, VOXEL_SIZE_NM), repetitions)
    return [
        f"objects in the batch, background of each image among them: {len(objects)}",
        f"largest difference of the gradients: {(ours[1] - theirs[1]).abs().max():.1e} "
        f"(of at most {theirs[1].abs().max():.1e})",
        f"loss, forward and backward, 4 x {side}^2: {fast:.4f} s",
        f"search for neighbours within {RADIUS_NM:g} pixels, beside: {search:.4f} s",
        f"literal loop: {slow:.3f} s",
        f"speed ratio: {slow / fast:.1f} x (goal >= 10), {slow / (fast + search):.1f} x if only ours had to search",
    ]


def measure_search(repetitions: int) -> list[str]:
    """Search for neighbours in three dimensions, within few and within many voxels."""
    lines = []
    for shape, radius in (((32, 64, 64), 10.0), ((64, 64, 64), 25.0), ((64, 128, 128), 20.0)):
        ids = cells_3d(shape, 20)
        objects = Objects.of(torch.from_numpy(ids)[None], background=True)
        taken = seconds(partial(objects.near_pairs, radius, VOXEL_SIZE_NM), repetitions)
        words = " x ".join(map(str, shape))
        lines.append(f"search for neighbours among {len(objects)} objects, {words}, {radius:g} voxels: {taken:.2f} s")
    return lines


def cells_3d(shape: tuple[int, ...], number: int) -> NDArray[np.int64]:
    """Make cells with gaps of a voxel or two: ids (z, y, x), 0 between them."""
    from scipy.spatial import cKDTree

    points = np.random.default_rng(0).uniform(0, shape, (number, 3))
    distances, nearest = cKDTree(points).query(np.stack(np.mgrid[tuple(map(slice, shape))], axis=-1), k=2)
    return np.where(distances[..., 1] - distances[..., 0] > 1.5, nearest[..., 0] + 1, 0)


def measure_clustering(side: int, repetitions: int) -> list[str]:
    """Cluster noisy vectors of cells."""
    ids, distance = cells(side, 100, 0)
    rng = np.random.default_rng(0)
    colours = rng.standard_normal((101, DIMS))
    vectors = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    noisy = vectors[ids] + 0.1 * rng.standard_normal((side, side, DIMS))
    names = ("cell/distance", *(embedding_channel("cell", i) for i in range(DIMS)))
    data = np.stack([distance, *np.moveaxis(noisy, -1, 0)]).astype(np.float32)[:, None]
    prediction = Prediction(names, data, VOXEL_SIZE_NM)
    number = len(np.unique(ids)) - 1
    lines = []
    for name, segmenter, goal in (
        ("angular clustering", AngularClustering(), " (goal < 0.15)"),
        ("cosine mutex watershed", CosineMutexWatershed(), ""),
    ):
        labels = segmenter.segment(prediction).labels["cell"]
        taken = seconds(partial(segmenter.segment, prediction), repetitions)
        lines.append(f"{name} of {side}^2, {number} cells, {labels.max()} found: {taken:.3f} s{goal}")
    return lines


def measure_similarity(maps: int) -> list[str]:
    """Move the mean vectors of cells freely, and count neighbours that end within 45 degrees of each other."""
    lines = []
    for dims in (2, 3, 4, 8, 16):
        words = []
        for absolute in (True, False):
            shares = []
            for seed in range(maps):
                objects = Objects.of(torch.from_numpy(cells(96, 60, seed)[0])[None, None], background=True)
                pairs = objects.near_pairs(6.0, VOXEL_SIZE_NM)
                generator = torch.Generator().manual_seed(seed)
                means = torch.randn(len(objects), dims, generator=generator, requires_grad=True)
                optimizer = torch.optim.Adam([means], lr=0.03)
                for _ in range(800):
                    optimizer.zero_grad()
                    inter_loss(unit(means), objects, pairs, absolute).backward()
                    optimizer.step()
                a, b = unit(means.detach())[pairs].unbind(1)
                shares.append(float(((a * b).sum(dim=1) > 0.5**0.5).float().mean()))
            name = "absolute" if absolute else "signed"
            words.append(f"{name} {100 * np.mean(shares):.1f} +- {100 * np.std(shares, ddof=1):.1f} %")
        words_of_all = ", ".join(words)
        lines.append(f"neighbours within 45 degrees, {dims} dims, {maps} maps, mean and deviation: {words_of_all}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer repetitions and maps")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print("\n".join(measure_clustering(256 if quick else 512, 2 if quick else 10)), flush=True)
    print("\n".join(measure_loss(128 if quick else 256, 3 if quick else 9)), flush=True)
    print("\n".join(measure_search(1 if quick else 3)), flush=True)
    print("\n".join(measure_similarity(2 if quick else 5)))


if __name__ == "__main__":
    main()
