"""Segmenters of embeddings block by block, next to the same volume at once."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
from embedding_parts import cells
from stitching_parts import in_one_block, stitched

from dacapo_hd.arrays import MemoryVolume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction.stored import ATTRIBUTE
from dacapo_hd.segmentation import AngularClustering, CosineMutexWatershed, HdbscanClustering, MeanShiftClustering
from dacapo_hd.stitching import segment_volume


def stored(seed: int) -> tuple[MemoryVolume, np.ndarray]:
    """Store cells as `create_prediction` does, in bytes."""
    prediction, ids = cells((1, 96, 120), 20, dims=6, noise=0.1, seed=seed)
    low = np.array([0.0 if name.endswith("distance") else -1.0 for name in prediction.channels])
    data = np.rint((prediction.data.clip(low[:, None, None, None], 1) - low[:, None, None, None]) * 255)
    data /= (1 - low)[:, None, None, None]
    channels = [{"name": name, "low": float(a), "high": 1.0} for name, a in zip(prediction.channels, low, strict=True)]
    grid = Grid.from_nm(ids.shape, (8.0, 8.0, 8.0))
    return MemoryVolume(np.rint(data).astype(np.uint8), grid, "prediction", {ATTRIBUTE: channels}), ids


def large(labels: np.ndarray) -> np.ndarray:
    return np.where(np.bincount(labels.ravel())[labels] >= 30, labels, 0)


@pytest.mark.parametrize("per_channel", [12, 20])
def test_blocks_leave_room_for_what_vectors_need(per_channel, tmp_path):
    kind = {12: AngularClustering, 20: CosineMutexWatershed}[per_channel]
    volume, _ = stored(0)
    memory, chunk = 250_000, (1, 8, 8)
    options = {"chunk_shape_vx": chunk, "memory_bytes": memory}
    segment_volume(volume, kind(halo_vx=12), tmp_path / "out", tmp_path / "record", **options)
    length = json.loads((tmp_path / "record" / "settings.json").read_text())["blocks"]["length"]
    # 7 channels in bytes, of three blocks; what all segmenters need
    each = 7 * (3 + per_channel) + 60
    taken = [side + 2 * 12 for side in length[1:]]
    assert np.prod(taken) * each <= memory
    # a chunk more would be too much
    assert (taken[0] + 8) * taken[1] * each > memory or taken[0] * (taken[1] + 8) * each > memory


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "segmenter",
    [AngularClustering(), MeanShiftClustering(), HdbscanClustering(), CosineMutexWatershed()],
    ids=lambda segmenter: type(segmenter).__name__,
)
def test_objects_smaller_than_the_halo_are_those_of_the_whole_volume(segmenter, seed):
    volume, ids = stored(seed)
    segmenter = attrs.evolve(segmenter, halo_vx=48, min_size_vx=30)
    whole = in_one_block(volume, segmenter)
    found, objects = stitched(volume, segmenter, (1, 48, 60))
    assert len(objects.voxels) == found.max()
    same = 0
    for own in np.unique(whole[whole > 0]):
        mask = whole == own
        others, counts = np.unique(found[mask], return_counts=True)
        other = others[np.argmax(counts)]
        same += (mask & (found == other)).sum() if other else 0
    assert same / (whole > 0).sum() > 0.97
    assert abs(int(whole.max()) - int(found.max())) <= 1
    assert np.unique(large(ids)).size - 3 <= found.max()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"halo_vx": 3},
            "compares voxels that are 12 apart along y, but a block of 6 with a halo of 3 does not hold such pairs; "
            "choose larger blocks (more --memory), or a larger halo_vx",
        ),
        (
            {"offsets_vx": ((0, 0, -1), (0, -1, 0), (-2, 0, 0))},
            "no offset to a neighbour leaves the section, but there are several, whose objects would fall apart; "
            "add one along z such as (-1,0,0) to offsets_vx, or give axes: yx",
        ),
    ],
)
def test_offsets_that_do_not_suit_the_blocks_are_an_error(tmp_path, options, problem):
    volume, _ = stored(0)
    sections = np.repeat(volume.data, 4, axis=1)
    volume = MemoryVolume(sections, Grid.from_nm(sections.shape[1:], (8.0, 8.0, 8.0)), "p", volume.attributes)
    segmenter = CosineMutexWatershed(**options)
    with pytest.raises(UserError) as raised:
        segment_volume(
            volume,
            segmenter,
            tmp_path / "out",
            tmp_path / "record",
            block_shape_vx=(4, 6, 6),
            chunk_shape_vx=(4, 6, 6),
        )
    assert raised.value.problems == (f"{segmenter.label}: {problem}",)
    assert not (tmp_path / "out").exists()
