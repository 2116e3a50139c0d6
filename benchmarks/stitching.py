"""Stitching: watersheds of 8, 27 and 64 blocks next to one block, and the cost of `segment_volume` next to cc3d.

Agreement is the adapted Rand error between the segmentation of many blocks and that of one. The predictions are made
from ground truth: tanh of the distance to the instance's boundary plus smooth noise, as uint8. `own seeds` is the same
watershed as it is usually done: every block finds its own seeds, and pieces are united by their overlap. Real data is
taken from the folder DACAPO_HD_DATA, if that is set.

Cost is measured in fresh processes, on smooth noise with many small objects: processor time of all threads, wall time,
and the peak resident set above what the process held when everything was imported.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import ClassVar

import attrs
import edt
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dacapo_hd.arrays import MemoryVolume, Volume, create_volume, open_volume
from dacapo_hd.evaluation.marks import mark_truth
from dacapo_hd.evaluation.overlap import Overlap
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import ABSENT, PRESENT
from dacapo_hd.phantom.phantom import Phantom, make
from dacapo_hd.prediction.stored import ATTRIBUTE, read_prediction
from dacapo_hd.segmentation import ConnectedComponents, InstanceSegmenter, Prediction, Segmenter, Watershed
from dacapo_hd.segmentation.base import UnitedBy
from dacapo_hd.stitching import segment_volume

CHANNELS = {ATTRIBUTE: [{"name": "object/distance", "low": -1.0, "high": 1.0}]}
NOISE = 0.15
HALO_VX = 32
CHUNK_VX = (8, 16, 16)
REAL = {
    "EPFL mitochondria": "epfl_10nm.zarr/train/labels/mito_inst",
    "FIB-25 neurons": "fib25_neurons.zarr/labels/neuron_inst",
}


@attrs.frozen
class OwnSeeds(InstanceSegmenter):
    """A watershed of which every block finds its own seeds."""

    united_by: ClassVar[UnitedBy] = "overlap"

    watershed: Watershed
    halo_vx: int = HALO_VX
    min_size_vx: int = 0
    fill_holes: bool = False

    def pieces(self, prediction: Prediction) -> Mapping[str, NDArray[np.uint32]]:
        return self.watershed.pieces(prediction)


def prediction_from(instances: NDArray[np.integer], scale_vx: float) -> MemoryVolume:
    """Make a plausible prediction from instance ids (z, y, x), 0 for none."""
    inside = instances > 0
    ids = np.unique(instances, return_inverse=True)[1].reshape(instances.shape).astype(np.uint32)
    distance = np.where(inside, edt.edt(ids) - 0.5, 0.5 - edt.edt(~inside))
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(ids.shape).astype(np.float32), 1.5)
    values = np.tanh(distance / scale_vx) + noise * (NOISE / noise.std())
    return stored(values)


def stored(values: NDArray[np.floating]) -> MemoryVolume:
    data = np.rint((values.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return MemoryVolume(data[np.newaxis], Grid.from_nm(values.shape, (8, 8, 8)), "prediction", CHANNELS)


def cases(side: int) -> Iterator[tuple[str, NDArray[np.integer]]]:
    """Yield instances to predict."""
    phantom = make(Phantom((side,) * 3, seed=1))
    yield "phantom mitochondria", phantom.instances["mito"]
    yield "phantom cells", phantom.instances["cell"]
    folder = os.environ.get("DACAPO_HD_DATA")
    for name, path in REAL.items() if folder else ():
        yield name, open_volume(f"{folder}/{path}").read()


def segmented(
    prediction: Volume,
    segmenter: Segmenter,
    block_shape_vx: Sequence[int],
    chunk_shape_vx: Sequence[int] = CHUNK_VX,
) -> NDArray[np.integer]:
    with tempfile.TemporaryDirectory() as folder:
        (path,) = segment_volume(
            prediction,
            segmenter,
            Path(folder, "out"),
            Path(folder, "record"),
            block_shape_vx=block_shape_vx,
            chunk_shape_vx=chunk_shape_vx,
        )
        return open_volume(str(path)).read()


def agreement(name: str, instances: NDArray[np.integer]) -> None:
    """Print the errors of one case."""
    prediction = prediction_from(instances, 6)
    watershed = Watershed("distance", 0.7, 0.0, halo_vx=HALO_VX)
    one = watershed.segment(read_prediction(prediction)).labels["object"]
    marks = mark_truth(np.where(one > 0, PRESENT, ABSENT).astype(np.uint8))
    methods: dict[str, Segmenter] = {
        f"halo {HALO_VX}": watershed,
        f"halo {HALO_VX // 2}": attrs.evolve(watershed, halo_vx=HALO_VX // 2),
        "no halo": attrs.evolve(watershed, halo_vx=0),
        f"own seeds, halo {HALO_VX}": OwnSeeds(watershed),
    }
    for parts in (1, 2, 3, 4):
        # in whole chunks, or there would be more blocks
        blocks = [-(-n // (parts * c)) * c for n, c in zip(instances.shape, CHUNK_VX, strict=True)]
        count = prod(-(-n // block) for n, block in zip(instances.shape, blocks, strict=True))
        errors = []
        for words, segmenter in methods.items():
            found = segmented(prediction, segmenter, blocks)
            error = Overlap.count(marks, one, found, one.size).scores()["adapted_rand_error"]
            errors.append(f"{words} {error:.1e} ({int(found.max())} objects)")
        print(
            f"{name} {instances.shape}, {count} blocks, one block {one.max()} objects: {', '.join(errors)}",
            flush=True,
        )


def noise_on_disk(folder: Path, side: int) -> Path:
    """Write smooth noise in slabs."""
    grid, path = Grid.from_nm((side,) * 3, (8, 8, 8)), folder / "noise.zarr"
    volume = create_volume(path, grid, np.uint8, channels=1, attributes=CHANNELS)
    random = np.random.default_rng(0)
    for z in range(0, side, 64):
        slab = gaussian_filter(random.standard_normal((64, side, side)).astype(np.float32), 2)
        volume.write(grid.roi_of((z, 0, 0), slab.shape), stored(slab / (3 * slab.std())).data)
    return path


def whole_cc3d(path: Path) -> int:
    import cc3d

    mask = open_volume(str(path)).read()[0] > np.rint((0.4 + 1) * 127.5)
    return int(cc3d.connected_components(mask, connectivity=26).max())


def whole_skimage(path: Path) -> int:
    import cc3d
    from skimage.segmentation import watershed

    values = open_volume(str(path)).read()[0]
    seeds = cc3d.connected_components(values > np.rint((0.6 + 1) * 127.5), connectivity=6)
    return int(watershed(255 - values, seeds.astype(np.int32), mask=values > np.rint((0.2 + 1) * 127.5)).max())


@attrs.frozen
class InMemory:
    segmenter: InstanceSegmenter

    def __call__(self, path: Path) -> int:
        return int(self.segmenter.segment(read_prediction(open_volume(str(path)))).labels["object"].max())


@attrs.frozen
class Stitched:
    segmenter: Segmenter
    memory_bytes: float

    def __call__(self, path: Path) -> int:
        folder = Path(tempfile.mkdtemp(dir=path.parent))
        prediction = open_volume(str(path))
        segment_volume(prediction, self.segmenter, folder, folder / "record", memory_bytes=self.memory_bytes)
        lines = (folder / "object.csv").read_bytes().count(b"\n")
        shutil.rmtree(folder)
        return lines - 1


def _peak_kib() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def _measure(call: Callable[[Path], int], path: Path, small: Path, answer: object) -> None:
    # what is compiled or imported at the first call is not counted
    call(small)
    before, wall, processor = _peak_kib(), time.perf_counter(), time.process_time()
    found = call(path)
    seconds = time.process_time() - processor, time.perf_counter() - wall
    answer.put((found, *seconds, (_peak_kib() - before) / 1024))  # type: ignore[attr-defined]


def cost(words: str, call: Callable[[Path], int], path: Path, small: Path) -> None:
    """Print what a call costs in a fresh process."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_measure, args=(call, path, small, answer))
    process.start()
    found, processor, wall, memory = answer.get(timeout=3600)
    process.join()
    print(f"{words}: {found} objects, {processor:.1f} s processor, {wall:.1f} s wall, {memory:.0f} MiB", flush=True)


def costs(side: int, memory_bytes: float) -> None:
    components, watershed = ConnectedComponents("distance", 0.4), Watershed("distance", 0.6, 0.2)
    holes = attrs.evolve(components, fill_holes=True, min_size_vx=20)
    with tempfile.TemporaryDirectory() as name:
        folder, less = Path(name, "large"), Path(name, "small")
        path, small = noise_on_disk(folder, side), noise_on_disk(less, 64)
        cost(f"cc3d, whole array {side}^3", whole_cc3d, path, small)
        cost("components in memory", InMemory(components), path, small)
        cost("components, stitched", Stitched(components, memory_bytes), path, small)
        cost("components, size >= 20, holes filled, stitched", Stitched(holes, memory_bytes), path, small)
        cost("watershed of scikit-image, whole array", whole_skimage, path, small)
        cost("watershed in memory", InMemory(watershed), path, small)
        cost("watershed, stitched", Stitched(watershed, memory_bytes), path, small)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="96^3 phantoms and 128^3 noise")
    parser.add_argument("--only", choices=("agreement", "cost"))
    arguments = parser.parse_args()
    if arguments.only != "cost":
        for name, instances in cases(96 if arguments.quick else 192):
            agreement(name, instances)
    if arguments.only != "agreement":
        costs(128 if arguments.quick else 512, 2**28 if arguments.quick else 2**30)


if __name__ == "__main__":
    main()
