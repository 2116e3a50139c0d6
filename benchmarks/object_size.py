"""Learning from sizes: what a training step costs next to one of cross-entropy, and all flips next to a transform each.

The batch is of 64 images of 48 x 32 pixels. The networks are the small 2D U-Net of the experiment
(`experiments/studies/object_size.yaml`), here with same padding, and one with 16 channels at full resolution and four
levels. Steps of all kinds alternate, and the ratio is of the sums, so that load from elsewhere strikes all. One thread.
Times are processor seconds. The masks are those of a network that is about right: probabilities of smooth blobs.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, gaussian_filter
from timing import seconds

from dacapo_hd.architectures.network import Network
from dacapo_hd.architectures.unet import UNet
from dacapo_hd.labels.block import ABSENT, PRESENT, LabelBlock
from dacapo_hd.operations.chebyshev import chessboard_distance, object_sizes
from dacapo_hd.operations.size_flips import flipped_sizes
from dacapo_hd.sampling.loader import Batch
from dacapo_hd.tasks import ObjectSize
from dacapo_hd.training.loop import TrainingState, training_step
from dacapo_hd.training.trainer import Trainer

IMAGES = 64
SHAPE_VX = (1, 48, 32)
VOXEL_SIZE_NM = (1.0, 1.0, 1.0)
WARM_UP = 20


def blobs(rng: np.random.Generator, shape: tuple[int, ...], sigma: float, share: float) -> NDArray[np.bool_]:
    """Make smooth random objects that fill a share of an image."""
    noise = gaussian_filter(rng.standard_normal(shape), sigma)
    return noise > np.quantile(noise, 1 - share)


def batch_of(task: ObjectSize, masks: NDArray[np.bool_], sizes: list[float]) -> Batch:
    """Make a batch of images, with the targets of a task."""
    rng = np.random.default_rng(1)
    samples = []
    for mask, size in zip(masks, sizes, strict=True):
        code = np.where(mask, PRESENT, ABSENT).astype(np.uint8)
        annotations = {"object_size_vx": size}
        block = LabelBlock(task.classes, code[None], VOXEL_SIZE_NM, {}, annotations, np.ones(SHAPE_VX, np.uint32))
        samples.append(task.targets(block)["one_hot"])
    value, weight = (torch.from_numpy(np.stack([getattr(s, part) for s in samples])) for part in ("value", "weight"))
    raw = torch.from_numpy((masks + 0.3 * rng.standard_normal(masks.shape)).astype(np.float32)[:, None])
    return Batch(raw, {"one_hot": (value, weight)})


class Training:
    """A network that is trained by one kind of annotation."""

    def __init__(self, architecture: UNet, task: ObjectSize, masks: NDArray[np.bool_], sizes: list[float]) -> None:
        torch.manual_seed(0)
        self.task, self.trainer = task, Trainer(learning_rate=1e-4, schedule="constant", precision="float32")
        self.state = TrainingState.start(self.trainer, Network(architecture, task))
        self.batch = batch_of(task, masks, sizes)
        self.seconds = 0.0

    def step(self) -> None:
        begin = time.process_time()
        training_step(self.trainer, self.task, self.state, self.batch)
        self.seconds += time.process_time() - begin


def steps(fmaps: int, levels: int, masks: NDArray[np.bool_], sizes: list[float], count: int) -> list[str]:
    """Time steps by masks and by sizes in turns."""
    architecture = UNet(
        dims=2,
        input_shape_vx=SHAPE_VX,
        padding="same",
        num_fmaps=fmaps,
        normalization="batch",
        downsample_factors=((1, 2, 2),) * levels,
    )
    classes = ("object",)
    kinds = {"masks": ObjectSize(classes, balance=False, size_weight=0)}
    kinds |= {n: ObjectSize(classes, samples=n, mask_weight=0, size_weight=1) for n in (1, 8)}
    trainings = {kind: Training(architecture, task, masks, sizes) for kind, task in kinds.items()}
    for _ in range(WARM_UP):
        trainings["masks"].step()
    learnt = trainings["masks"].state.network.state_dict()
    for training in trainings.values():
        training.state.network.load_state_dict(learnt)
        training.step()
        training.seconds = 0.0
    for _ in range(count):
        for training in trainings.values():
            training.step()
    base = trainings["masks"].seconds
    what = f"{fmaps} channels, {levels} levels"
    lines = [f"{what}, step of cross-entropy: {base / count * 1e3:.1f} ms"]
    for n in (1, 8):
        taken = trainings[n].seconds
        lines.append(
            f"{what}, step by sizes, n = {n}: {taken / count * 1e3:.1f} ms, ratio {taken / base:.3f} (goal <= 1.1)"
        )
    return lines


def by_transforms(masks: NDArray[np.bool_], evaluated: int) -> float:
    """Return the time of evaluating each flip of masks by a transform of its own, extrapolated from a few."""

    def some() -> None:
        for mask in masks[:1]:
            for place in np.ndindex(mask.shape):
                if np.ravel_multi_index(place, mask.shape) >= evaluated:
                    return
                changed = mask.copy()
                changed[place] ^= True
                distance_transform_cdt(changed, "chessboard").max()

    return seconds(some, 3) / evaluated * masks.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args().quick
    repetitions = 5 if quick else 20
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    masks = np.stack([blobs(rng, SHAPE_VX, 5, 0.15) for _ in range(IMAGES)])
    images, caps = torch.from_numpy(masks[:, 0]), torch.full((IMAGES,), 96.0)
    sizes = object_sizes(images, None, caps).tolist()
    flipped_sizes(images, None, caps)
    chessboard_distance(~images)
    flips = seconds(lambda: flipped_sizes(images, None, caps), repetitions)
    transform = seconds(lambda: chessboard_distance(~images), repetitions)
    each = by_transforms(masks[:, 0], 200)
    lines = [
        f"all flips, {IMAGES} x 48 x 32: {flips * 1e3:.2f} ms",
        f"one distance transform of the same: {transform * 1e3:.2f} ms",
        f"one transform (scipy) per flip, extrapolated: {each:.2f} s, {each / flips:.0f} x",
    ]
    cubes = {
        "a ball": sum((axis - 32) ** 2 for axis in np.ogrid[:64, :64, :64]) < 20**2,
        "blobs": blobs(rng, (64,) * 3, 4, 0.33),
        "noise": rng.random((64,) * 3) < 0.5,
    }
    for name, cube in cubes.items():
        volume = torch.from_numpy(np.asarray(cube)[None])
        flips = seconds(lambda v=volume: flipped_sizes(v, None, caps[:1]), repetitions)  # type: ignore[misc]
        each = by_transforms(volume.numpy(), 20)
        lines.append(f"all flips, 64^3, {name}: {flips * 1e3:.1f} ms (goal < 20)")
        lines.append(f"one transform (scipy) per flip, 64^3, {name}, extrapolated: {each:.0f} s, {each / flips:.0f} x")
    for fmaps, levels in ((8, 2), (16, 4)):
        lines += steps(fmaps, levels, masks, sizes, repetitions)
    print("\n".join(lines))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
