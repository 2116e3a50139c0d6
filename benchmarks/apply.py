"""Apply: `predict` from Zarr to Zarr next to the bare network on the same blocks, on one thread.

The 3D network is the one with which the reference DaCapo was measured (92^3 -> 52^3 valid, 8 feature maps, x 3 per
level, two levels); the reference predicted 0.145 Mvox/s of a 128^3 volume in 8 blocks on another machine, where the
bare network alone made 0.46 Mvox/s. Both sides of each ratio run in turn. Ratios are in wall time (medians) and in
processor time of all threads (least), which other work on the machine disturbs less and which hides no overlap.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import torch

from dacapo_hd.architectures import UNet
from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import Volume, create_volume
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction import Predictor, create_prediction, predict
from dacapo_hd.tasks import HotDistance

TASK = HotDistance(classes=("mito", "membrane"))
REFERENCE = UNet(input_shape_vx=(92, 92, 92), num_fmaps=8, fmap_inc_factor=3)
PLANES = UNet(input_shape_vx=(1, 252, 252), dims=2, num_fmaps=12, downsample_factors=((1, 2, 2),) * 3)
RANGE = (0.0, 255.0)


@attrs.frozen(eq=False)
class Shapes:
    """A predictor that records what it is given and how much it returns."""

    predictor: Predictor
    inputs: list[tuple[int, ...]] = attrs.field(factory=list)
    outputs: list[int] = attrs.field(factory=list)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        found = self.predictor(raw)
        self.inputs.append(raw.shape)
        self.outputs.append(found[0].size)
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self.predictor, name)


def volume_on_disk(folder: Path, shape: tuple[int, ...]) -> Volume:
    """Make noise in the way in which volumes are stored."""
    grid = Grid.from_nm(shape, (8, 8, 8))
    volume = create_volume(folder / "raw.zarr", grid, np.uint8)
    volume.write(grid.roi, np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))
    return volume


@attrs.frozen
class Seconds:
    wall: float
    processor: float


def timed(function: Callable[[], object]) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def report(
    name: str, architecture: UNet, shape: tuple[int, ...], repeats: int, block_shape_vx: tuple[int, ...] | None = None
) -> None:
    """Compare `predict` with the bare network on the inputs of its blocks, and print the lines of one case."""
    network = Network(architecture, TASK).eval()
    predictor = Predictor(network, architecture, TASK)
    with tempfile.TemporaryDirectory() as folder:
        source = volume_on_disk(Path(folder), shape)
        grid = source.grid

        def apply(wanted: Predictor | Shapes = predictor) -> None:
            target = create_prediction(f"{folder}/prediction.zarr", grid, TASK, overwrite=True)
            predict(wanted, source, target, grid.roi, RANGE, block_shape_vx)

        recorded = Shapes(predictor)
        apply(recorded)
        images = [torch.rand(1, *raw) for raw in recorded.inputs]

        def bare() -> None:
            with torch.inference_mode():
                for image in images:
                    network(image)

        alone, whole = zip(*((timed(bare), timed(apply)) for _ in range(repeats)), strict=True)
    wall = statistics.median(a.wall / b.wall for a, b in zip(alone, whole, strict=True))
    processor = min(a.processor for a in alone) / min(b.processor for b in whole)
    voxels = np.prod(shape)
    print(f"{name}, predict / bare network on the same blocks, wall time: {wall:.2f} (goal >= 0.85)")
    print(f"{name}, predict / bare network on the same blocks, processor time: {processor:.2f} (goal >= 0.85)")
    print(f"{name}, predict: {voxels / 1e6 / statistics.median(b.wall for b in whole):.3f} Mvox/s (reference: 0.145)")
    print(f"{name}, predict: {voxels / 1e6 / min(b.processor for b in whole):.3f} Mvox per processor second")
    print(f"{name}, useful part of the computed voxels: {voxels / sum(recorded.outputs):.0%} (reference: 38%)")
    print(f"{name}, blocks: {len(images)}")


def report_training_shape(repeats: int) -> None:
    """Print the speed of the bare 3D network on inputs of the training shape, for comparing machines."""
    network = Network(REFERENCE, TASK).eval()
    image = torch.rand(1, 1, *REFERENCE.input_shape_vx)
    with torch.inference_mode():
        times = [timed(lambda: network(image)) for _ in range(repeats + 1)][1:]
    voxels = np.prod(REFERENCE.output_shape_vx(REFERENCE.input_shape_vx)) / 1e6
    print(f"bare network, 92^3 inputs: {voxels / min(t.wall for t in times):.3f} Mvox/s of output (reference: 0.46)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two repeats instead of seven, a smaller 2D volume")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    repeats = 2 if quick else 7
    report_training_shape(2 * repeats)
    report("3D", REFERENCE, (128, 128, 128), repeats)
    report("3D in 8 blocks", REFERENCE, (128, 128, 128), repeats, (64, 64, 64))
    report("2D", PLANES, (8 if quick else 32, 512, 512), repeats)


if __name__ == "__main__":
    main()
