"""`segment_volume` from Zarr to Zarr: classes, methods, blocks, workers, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import attrs
import filelock
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stitching_parts import in_one_block, noise, prediction_of, smooth

from dacapo_hd.arrays import MemoryVolume, Volume, create_volume, open_volume
from dacapo_hd.blockwise import Local
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.prediction.stored import ATTRIBUTE, read_prediction
from dacapo_hd.segmentation import (
    Argmax,
    ConnectedComponents,
    Prediction,
    Segmentation,
    Segmenter,
    Threshold,
    Watershed,
)
from dacapo_hd.segmentation import objects as objects_module
from dacapo_hd.stitching import segment_volume

COMPONENTS = ConnectedComponents("distance", 0.1, 26, 20, True)
WATERSHED = Watershed("distance", 0.4, 0.0, 20, True, halo_vx=16)


def stored(prediction: MemoryVolume, path: Path) -> Volume:
    """Write a prediction to disk."""
    volume = create_volume(
        path,
        prediction.grid,
        np.uint8,
        channels=prediction.channels,
        chunk_shape_vx=(16, 16, 16),
        attributes=prediction.attributes,
    )
    volume.write(prediction.grid.roi, prediction.data)
    return volume


@pytest.fixture(scope="module")
def prediction(tmp_path_factory) -> Volume:
    """Return two classes of smooth blobs on disk, (40, 36, 50), with an offset and anisotropic voxels."""
    shape = (40, 36, 50)
    made = prediction_of(smooth(shape, 1, 2.0), (16.0, 8.0, 8.0), er=smooth(shape, 2, 1.5))
    data = MemoryVolume(made.data, Grid.from_nm(shape, (16, 8, 8), (160, -8, 24)), "", made.attributes)
    return stored(data, tmp_path_factory.mktemp("data") / "prediction.zarr")


def labels_of(path: Path) -> np.ndarray:
    return open_volume(str(path)).read()


@pytest.mark.parametrize(
    ("segmenter", "workers"),
    [(COMPONENTS, 1), (WATERSHED, 1), (WATERSHED, 2)],
    ids=["components", "watershed", "watershed by two workers"],
)
def test_every_class_is_segmented_as_in_one_block(prediction, segmenter, workers, tmp_path):
    written = segment_volume(
        prediction,
        segmenter,
        tmp_path / "out.zarr" / "segmentation",
        tmp_path / "record",
        compute=Local(workers=workers),
        block_shape_vx=(16, 20, 30),
        attributes={"segmenter": segmenter.label},
    )
    expected = segmenter.segment(read_prediction(prediction)).labels
    assert [path.name for path in written] == list(expected) == ["mito", "er"]
    for path in written:
        volume = open_volume(str(path))
        np.testing.assert_array_equal(volume.read(), expected[path.name])
        assert volume.dtype == np.uint32
        assert volume.grid == prediction.grid
        assert volume.attributes["segmenter"] == segmenter.label
        rows = path.with_name(f"{path.name}.csv").read_text().splitlines()
        assert len(rows) == 1 + expected[path.name].max()
    # what was needed in between is gone
    assert {path.name for path in (tmp_path / "record").iterdir()} == {
        "lock",
        "settings.json",
        "created.txt",
        "finished",
    }


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.tuples(*[st.integers(1, 30)] * 3),
    st.sampled_from([6, 18, 26]),
    st.integers(0, 30),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_files_and_engine_change_nothing(tmp_path_factory, block_shape, connectivity, size, fill, seed):
    made = prediction_of(noise((20, 15, 30), seed, -0.45))
    segmenter = ConnectedComponents("distance", 0.0, connectivity, size, fill)
    folder = tmp_path_factory.mktemp("any")
    block_shape = tuple(max(n, 8) for n in block_shape)
    (path,) = segment_volume(made, segmenter, folder / "out", folder / "record", block_shape_vx=block_shape)
    np.testing.assert_array_equal(labels_of(path), in_one_block(made, segmenter))


def test_a_part_is_segmented_as_if_it_were_all(prediction, tmp_path):
    grid = prediction.grid.part((3, 5, 7), (33, 30, 50))
    paths = segment_volume(
        prediction, COMPONENTS, tmp_path / "out", tmp_path / "record", roi=grid.roi, block_shape_vx=(11, 9, 13)
    )
    expected = COMPONENTS.segment(read_prediction(prediction, grid.roi)).labels
    for path in paths:
        np.testing.assert_array_equal(labels_of(path), expected[path.name])
        assert open_volume(str(path)).grid == grid


@pytest.mark.parametrize("segmenter", [Threshold("distance", 0.1), Argmax("distance", 0.0)])
def test_masks_are_made_block_by_block(prediction, segmenter, tmp_path):
    paths = segment_volume(prediction, segmenter, tmp_path / "out", tmp_path / "record", block_shape_vx=(16, 16, 16))
    expected = segmenter.segment(read_prediction(prediction)).labels
    for path in paths:
        np.testing.assert_array_equal(labels_of(path), expected[path.name])
        assert open_volume(str(path)).dtype == np.uint8
        assert not path.with_name(f"{path.name}.csv").exists()


@attrs.frozen
class Quantiles(Segmenter):
    """Needs the whole volume."""

    def segment(self, prediction: Prediction) -> Segmentation:
        values = prediction.channel("mito/distance")
        return Segmentation({"mito": (values > np.median(values)).astype(np.uint8)})


def test_a_segmenter_that_says_nothing_about_blocks_gets_the_whole_volume(prediction, tmp_path):
    (path,) = segment_volume(
        prediction, Quantiles(), tmp_path / "out", tmp_path / "record", block_shape_vx=(16, 16, 16)
    )
    np.testing.assert_array_equal(labels_of(path), Quantiles().segment(read_prediction(prediction)).labels["mito"])


def test_sections_of_two_dimensional_data_have_holes(tmp_path):
    distance = np.full((1, 20, 20), -1.0)
    distance[0, 4:16, 4:16] = 1.0
    distance[0, 7:13, 7:13] = -1.0
    segmenter = ConnectedComponents("distance", 0.0, fill_holes=True)
    (path,) = segment_volume(
        prediction_of(distance), segmenter, tmp_path / "out", tmp_path / "record", block_shape_vx=(1, 6, 5)
    )
    assert (labels_of(path) > 0).sum() == 12 * 12


def test_a_mask_limits_what_is_segmented(prediction, tmp_path):
    grid = prediction.grid.part((0, 0, 0), (20, 36, 30))
    mask = MemoryVolume(np.ones(grid.shape_vx, np.uint8), grid)
    segmenter = Threshold("distance", -0.9)
    paths = segment_volume(
        prediction, segmenter, tmp_path / "out", tmp_path / "record", mask=mask, block_shape_vx=(16, 16, 16)
    )
    for path in paths:
        labels = labels_of(path)
        assert labels[:20, :, :30].mean() > 0.9
        assert labels.sum() == labels[:20, :, :30].sum()


def test_blocks_follow_from_the_memory(prediction, tmp_path):
    made = []

    def create(path: Path, grid: Grid, dtype: object, **options: object) -> Volume:
        made.append((path.name, np.dtype(dtype)))
        return create_volume(path, grid, dtype, **options)

    arguments = (prediction, COMPONENTS, tmp_path / "out")
    one = segment_volume(*arguments, tmp_path / "record", chunk_shape_vx=(8, 8, 8), memory_bytes=500_000, create=create)
    record = json.loads((tmp_path / "record" / "settings.json").read_text())
    lengths = record["blocks"]["length"]
    assert all(length % 8 == 0 for length in lengths)
    assert 1000 < np.prod(lengths) < 500_000 / 30
    assert made == [("mito", np.uint32), ("er", np.uint32)]
    expected = COMPONENTS.segment(read_prediction(prediction)).labels
    np.testing.assert_array_equal(labels_of(one[1]), expected["er"])


def test_more_objects_than_32_bits_count_get_64_bits(tmp_path, monkeypatch):
    made = prediction_of(noise((16, 16, 16), 0, -0.5))
    segmenter = ConnectedComponents("distance", 0.0, 6)
    expected = in_one_block(made, segmenter)
    monkeypatch.setattr(objects_module, "UINT32_OBJECTS", 30)
    (path,) = segment_volume(made, segmenter, tmp_path / "out", tmp_path / "record", block_shape_vx=(8, 8, 8))
    assert expected.max() > 30
    assert open_volume(str(path)).dtype == np.uint64
    np.testing.assert_array_equal(labels_of(path), expected)


def test_outputs_that_exist_stay_unless_they_may_be_replaced(prediction, tmp_path):
    segment = partial(segment_volume, prediction, output=tmp_path / "out", block_shape_vx=(32, 32, 32))
    segment(segmenter=Threshold("distance", 0.1), record=tmp_path / "first")
    with pytest.raises(UserError) as caught:
        segment(segmenter=COMPONENTS, record=tmp_path / "second")
    assert caught.value.problems == (
        f"{tmp_path / 'out' / 'mito'} exists; give --overwrite to replace it",
        f"{tmp_path / 'out' / 'er'} exists; give --overwrite to replace it",
    )
    assert labels_of(tmp_path / "out" / "mito").dtype == np.uint8
    segment(segmenter=COMPONENTS, record=tmp_path / "second", fresh=True)
    assert labels_of(tmp_path / "out" / "mito").dtype == np.uint32


def test_a_finished_call_is_not_repeated_and_not_mixed_with_another(prediction, tmp_path):
    segment = partial(
        segment_volume, prediction, output=tmp_path / "out", record=tmp_path / "record", block_shape_vx=(32, 32, 32)
    )
    (path, _) = segment(segmenter=COMPONENTS)
    written = open_volume(str(path))
    before = written.read()
    written.write(prediction.grid.roi, np.zeros_like(before))
    segment(segmenter=COMPONENTS)
    assert not labels_of(path).any()
    with pytest.raises(UserError) as caught:
        segment(segmenter=ConnectedComponents("distance", 0.2))
    assert str(caught.value) == (
        f"{tmp_path / 'record'}: this segmentation was begun with other settings (segmenter); repeat the command that "
        "began it, or give --overwrite to begin anew"
    )
    segment(segmenter=COMPONENTS, fresh=True)
    np.testing.assert_array_equal(labels_of(path), before)


def test_an_output_that_was_removed_is_made_again(prediction, tmp_path):
    segment = partial(segment_volume, prediction, COMPONENTS, tmp_path / "out", tmp_path / "record")
    (path, _) = segment()
    before = labels_of(path)
    shutil.rmtree(path)
    segment()
    np.testing.assert_array_equal(labels_of(path), before)


def test_a_folder_in_which_another_process_works_is_left_alone(prediction, tmp_path):
    (tmp_path / "record").mkdir()
    with filelock.FileLock(tmp_path / "record" / "lock"), pytest.raises(UserError) as caught:
        segment_volume(prediction, COMPONENTS, tmp_path / "out", tmp_path / "record")
    assert str(caught.value) == f"{tmp_path / 'record'}: another process works here; wait for it, or stop it"


def test_what_is_no_prediction_or_no_mask_is_refused(prediction, tmp_path):
    plain = MemoryVolume(np.zeros((4, 4, 4), np.uint8), prediction.grid.part((0, 0, 0), (4, 4, 4)), "plain.zarr")
    with pytest.raises(
        UserError, match=re.escape(f"plain.zarr: not a prediction of dacapo_hd (no attribute {ATTRIBUTE!r})")
    ):
        segment_volume(plain, COMPONENTS, tmp_path / "out", tmp_path / "record")
    mask = MemoryVolume(np.ones((4, 4, 4), np.uint8), Grid.from_nm((4, 4, 4), (8, 8, 8)), "mask.zarr")
    with pytest.raises(UserError) as caught:
        segment_volume(prediction, COMPONENTS, tmp_path / "out", tmp_path / "record", mask=mask)
    assert str(caught.value) == (
        "mask.zarr: a mask must have the voxels of the prediction, [16, 8, 8] nm on its grid; "
        "it has [8, 8, 8] nm from [0, 0, 0] nm"
    )
    with pytest.raises(
        UserError, match="the prediction has no channel of 'probability', only mito/distance, er/distance"
    ):
        segment_volume(prediction, Threshold("probability", 0.5), tmp_path / "out", tmp_path / "record")
    assert not (tmp_path / "out").exists()
