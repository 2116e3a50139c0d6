"""Apply: next to the bare network on the same blocks; peak memory by the size of the input; the engine; two workers.

`forward` compares the prediction of `apply` (from Zarr to Zarr, with the engine and its record) with the bare network
on inputs of the same shapes, and shows what the whole command adds: segmentation, object table, pyramids. The 3D
network is the one with which the reference DaCapo was measured (92^3 -> 52^3 valid, 8 feature maps, x 3 per level, two
levels); the reference predicted 0.145 Mvox/s of a 128^3 volume in 8 blocks on another machine, where the bare network
alone made 0.46 Mvox/s. Both sides of each ratio run in turn. Ratios are in wall time (medians) and in processor time of
all threads (least), which other work on the machine disturbs less and which hides no overlap.

`memory` applies a tiny trained network to 256^3, 512^3 and 1024^3 voxels (a phantom, mirrored until it is large enough)
in processes of their own, with the same `--memory`; it needs up to 5 GB of disk. `engine` runs blocks in which nothing
is done. `workers` predicts with one and with two worker processes of one thread each.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
import yaml

from dacapo_hd.application.network import RunNetwork
from dacapo_hd.architectures import Architecture, UNet
from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import Volume, create_volume
from dacapo_hd.blockwise import Block, BlockFunction, BlockGrid, BlockWork, Compute, Local, run_blocks
from dacapo_hd.config import structure, unstructure
from dacapo_hd.geometry import Grid
from dacapo_hd.manager import RunManager, record_of
from dacapo_hd.phantom.phantom import Phantom, make
from dacapo_hd.prediction import create_prediction
from dacapo_hd.prediction.blocks import aligned_outwards
from dacapo_hd.prediction.plan import Plan
from dacapo_hd.prediction.work import PredictWork
from dacapo_hd.run import Run
from dacapo_hd.stores import FileStore
from dacapo_hd.training.checkpoint import Checkpoints

CLASSES = ["mito", "membrane"]
REFERENCE = UNet(input_shape_vx=(92, 92, 92), num_fmaps=8, fmap_inc_factor=3)
PLANES = UNet(input_shape_vx=(1, 252, 252), dims=2, num_fmaps=12, downsample_factors=((1, 2, 2),) * 3)
VOXEL_SIZE_NM = (8.0, 8.0, 8.0)
RANGE = (0.0, 255.0)
MEMORY_BYTES = 2e9
TILE = 256
SEGMENTER = "{type: ConnectedComponents, quantity: distance, threshold: 0.0, min_size_vx: 100}"


def run_of(architecture: Architecture, raw: Path) -> Run:
    task = {"type": "HotDistance", "classes": CLASSES}
    datasplit = {"type": "Crops", "train": [{"name": "a", "raw": str(raw), "labels": []}]}
    parts = {"architecture": unstructure(architecture), "task": task, "datasplit": datasplit}
    return structure({"name": "bench", **parts, "trainer": {"device": "cpu"}}, Run)


def volume_on_disk(folder: Path, shape: tuple[int, ...]) -> Volume:
    """Make noise in the way in which volumes are stored."""
    grid = Grid.from_nm(shape, VOXEL_SIZE_NM)
    volume = create_volume(folder / "raw.zarr", grid, np.uint8)
    volume.write(grid.roi, np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))
    return volume


@attrs.frozen
class Seconds:
    wall: float
    processor: float


def timed(function: Callable[[], object]) -> Seconds:
    """Measure a call; processor time is that of this process with all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


@attrs.define(eq=False, slots=False)
class Case:
    """A random network, a volume, and the blocks in which `apply` would predict it."""

    folder: Path
    architecture: Architecture
    shape: tuple[int, ...]
    block_shape_vx: tuple[int, ...] | None = None

    def __attrs_post_init__(self) -> None:
        self.source = volume_on_disk(self.folder, self.shape)
        self.run = run_of(self.architecture, self.folder / "raw.zarr")
        self.network = Network(self.architecture, self.run.task).eval()
        self.loader = RunNetwork.of(self.run, 1, self.folder / "network.pt", "cpu")
        self.loader.write(self.network.state_dict())
        self.plan = Plan(self.architecture, self.run.task, self.source, self.source.grid.roi, MEMORY_BYTES)
        self.blocks = self.plan.cut(self.block_shape_vx) if self.block_shape_vx else self.plan.grid()

    def predict(self, compute: Compute | None = None) -> None:
        """Do what `apply` does until everything is predicted."""
        target = create_prediction(
            self.folder / "prediction.zarr",
            self.source.grid,
            self.run.task,
            overwrite=True,
            chunk_shape_vx=self.plan.chunk_shape_vx(self.blocks),
        )
        work = PredictWork(self.loader, self.source, target, RANGE)
        run_blocks(work, self.blocks, self.folder / "record", compute, fresh=True)

    def images(self) -> list[torch.Tensor]:
        """Return noise of the shapes that the network gets."""
        steps = self.plan.step_vx
        shapes = [self.plan.input_shape_for(aligned_outwards(b.begin, b.end, steps)[1]) for b in self.blocks]
        return [torch.rand(1, 1, *shape) for shape in shapes]

    def store(self) -> RunManager:
        """Store the network as a run that can be applied."""
        store = FileStore(self.folder / "runs")
        store.add_run(record_of(self.run))
        data = {"voxel_size_nm": list(VOXEL_SIZE_NM), "intensity_range": list(RANGE), "dtype": "uint8"}
        with store.lock(self.run.name):
            Checkpoints(store, self.run.name).save(1, {"network": self.network.state_dict(), "data": data})
        return RunManager(store)


def forward(name: str, case: Case, repeats: int) -> None:
    """Print the lines of one network."""
    images, manager = case.images(), case.store()

    def bare() -> None:
        with torch.inference_mode():
            for image in images:
                case.network(image)

    def whole() -> None:
        options = {"iteration": "latest", "parameters": SEGMENTER, "memory": f"{MEMORY_BYTES:g}"}
        output = case.folder / "out.zarr"
        manager.apply("bench", str(case.folder / "raw.zarr"), str(output), overwrite=True, progress=False, **options)

    # what is imported or compiled at the first call is not counted
    bare(), case.predict(), whole()
    rounds = [(timed(bare), timed(case.predict), timed(whole)) for _ in range(repeats)]
    alone, predicted, applied = zip(*rounds, strict=True)
    voxels = prod(case.shape) / 1e6
    lines = [("prediction", predicted, " (goal >= 0.9)")]
    # the command chooses its blocks itself
    lines += [("whole command", applied, "")] if case.block_shape_vx is None else []
    for words, found, goal in lines:
        wall = statistics.median(a.wall / b.wall for a, b in zip(alone, found, strict=True))
        processor = min(a.processor for a in alone) / min(b.processor for b in found)
        print(f"{name}, {words}, speed over the bare network, wall time: {wall:.2f}{goal}")
        print(f"{name}, {words}, speed over the bare network, processor time: {processor:.2f}{goal}")
    print(f"{name}, prediction: {voxels / statistics.median(b.wall for b in predicted):.3f} Mvox/s (reference: 0.145)")
    print(f"{name}, prediction: {voxels / min(b.processor for b in predicted):.3f} Mvox per processor second")
    print(f"{name}, blocks: {len(images)}", flush=True)


def training_shape(repeats: int) -> None:
    """Print the speed of the bare 3D network on inputs of the training shape, for comparing machines."""
    network = Network(REFERENCE, run_of(REFERENCE, Path("raw.zarr")).task).eval()
    image = torch.rand(1, 1, *REFERENCE.input_shape_vx)
    with torch.inference_mode():
        times = [timed(lambda: network(image)) for _ in range(repeats + 1)][1:]
    voxels = np.prod(REFERENCE.output_shape_vx(REFERENCE.input_shape_vx)) / 1e6
    print(f"bare network, 92^3 inputs: {voxels / min(t.wall for t in times):.3f} Mvox/s of output (reference: 0.46)")


def report_forward(quick: bool) -> None:
    torch.set_num_threads(1)
    repeats = 2 if quick else 5
    training_shape(2 * repeats)
    cases: dict[str, tuple[Any, ...]] = {
        "3D": (REFERENCE, (128, 128, 128)),
        "3D in 8 blocks": (REFERENCE, (128, 128, 128), (64, 64, 64)),
        "2D": (PLANES, (8 if quick else 32, 512, 512)),
    }
    for name, arguments in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            forward(name, Case(Path(folder), *arguments), repeats)


@attrs.frozen
class Used:
    """What a process of its own has used."""

    wall: float
    processor: float
    peak_mib: float


def command(folder: Path, *arguments: object) -> Used:
    """Run a command of dacapo_hd on one thread."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "dacapo_hd", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _peak_mib(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Used(time.perf_counter() - start, processor, peak)


def _peak_mib(process: int) -> float:
    """Return the largest resident set so far; ru_maxrss would count that of the process before it became this one."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


TINY = {
    "name": "tiny",
    "task": {"type": "HotDistance", "classes": ["mito"], "scale_nm": 40},
    "architecture": {"type": "UNet", "dims": 2, "input_shape_vx": [1, 124, 124], "num_fmaps": 4},
    "datasplit": {"type": "Folder", "path": "small.zarr", "scheme": "small.zarr/scheme.yaml"},
    "trainer": {"iterations": 100, "batch_size": 2, "workers": 0, "learning_rate": 0.01, "device": "cpu"},
}
TINY["architecture"]["downsample_factors"] = [[1, 2, 2]]  # type: ignore[index]


def mirrored_phantom(path: Path, tile: np.ndarray, side: int) -> None:
    """Write a phantom mirrored into neighbouring copies, slab by slab."""
    grid = Grid.from_nm((side,) * 3, VOXEL_SIZE_NM)
    volume, length = create_volume(path, grid, np.uint8), len(tile)
    index = np.arange(side)
    index = np.where(index // length % 2, length - 1 - index % length, index % length)
    for z in range(0, side, 128):
        slab = tile[np.ix_(index[z : z + 128], index, index)]
        volume.write(grid.roi_of((z, 0, 0), slab.shape), slab)


def report_memory(quick: bool, sides: Sequence[int] = (), memory: str = "800MB") -> None:
    sides = sides or ((128, 256) if quick else (256, 512, 1024))
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(folder, "phantom", "small.zarr", "--shape", "16,160,160", "--crop", "train")
        (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
        command(folder, "train", "tiny.yaml", "--quiet")
        tile = make(Phantom((min(TILE, *sides),) * 3)).raw
        for side in sides:
            mirrored_phantom(folder / "raw.zarr", tile, side)
            options = ("--memory", memory, "--parameters", SEGMENTER, "--iteration", "latest", "--quiet")
            used = command(folder, "apply", "tiny", "raw.zarr", "out.zarr", *options)
            peaks.append(used.peak_mib)
            objects = len((folder / "out.zarr/segmentation/mito.csv").read_bytes().splitlines()) - 1
            speed = side**3 / 1e6 / used.processor
            print(
                f"peak memory, {side}^3, --memory {memory}: {used.peak_mib:.0f} MiB; {used.wall:.0f} s wall, "
                f"{used.processor:.0f} s processor, {speed:.2f} Mvox per processor second; {objects} objects",
                flush=True,
            )
            for output in ("raw.zarr", "out.zarr"):
                shutil.rmtree(folder / output)
    print(f"peak memory, {sides[-1]}^3 over {sides[0]}^3: {peaks[-1] / peaks[0]:.2f} (goal 0.9 to 1.1)", flush=True)


@attrs.frozen
class Nothing(BlockWork):
    """Work that costs nothing, so that what remains is the engine."""

    def identity(self) -> dict[str, Any]:
        return {}

    def open(self) -> BlockFunction:
        return _Nothing()


class _Nothing(BlockFunction):
    def read(self, block: Block) -> int:
        return block.number

    def compute(self, block: Block, data: int) -> int:
        return data

    def write(self, block: Block, result: int) -> None:
        pass


def report_engine(quick: bool) -> None:
    few, many = (BlockGrid.over((1, 1, n), (1, 1, 1)) for n in (10, 2000 if quick else 20000))
    for workers in (1, 2):
        walls = []
        for grid in (few, many):
            with tempfile.TemporaryDirectory() as folder:
                walls.append(timed(lambda: run_blocks(Nothing(), grid, folder, Local(workers))).wall)  # noqa: B023
        each = (walls[1] - walls[0]) / (len(many) - len(few))
        print(f"engine, {workers} worker(s), per block: {each * 1e3:.3f} ms; to start: {walls[0]:.2f} s", flush=True)


def report_workers(quick: bool) -> None:
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder), REFERENCE, (64 if quick else 192, 128, 128), (32, 64, 64))
        case.predict()
        rounds = [[timed(lambda n=n: case.predict(Local(n))).wall for n in (1, 2)] for _ in range(2 if quick else 3)]
    ratios = [one / two for one, two in rounds]
    print(f"2 workers over 1 worker, {len(case.blocks)} blocks: {max(ratios):.2f} x ({_all(ratios)})", flush=True)


def _all(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


REPORTS = {"forward": report_forward, "engine": report_engine, "workers": report_workers, "memory": report_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller volumes")
    parser.add_argument("--only", choices=REPORTS)
    parser.add_argument("--sides", type=int, nargs="+", default=(), help="of the volumes of `memory`")
    arguments = parser.parse_args()
    for name, report in REPORTS.items():
        if arguments.only in (None, name):
            report(arguments.quick, *([arguments.sides] if name == "memory" else []))


if __name__ == "__main__":
    main()
