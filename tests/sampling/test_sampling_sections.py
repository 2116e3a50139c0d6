"""What happens to serial sections."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.sampling import LoseSections, Mirror, PasteDefects, Sampling, SectionContrast, ShiftSections
from dacapo_hd.sampling.pipeline import SamplePipeline
from dacapo_hd.sampling.recipe import Recipe


def rng():
    return np.random.default_rng(4)


def pipeline(crop, task, architecture, *augments):
    sampling = Sampling(locations="uniform", augments=augments, pad_small_crops=True)
    return SamplePipeline(Recipe.of([crop], task, architecture, sampling, seed=3))


@pytest.mark.parametrize("input_shape", [(12, 12, 12), (11, 12, 12)])
def test_shifted_sections_move_raw_and_labels_alike_and_stay_in_their_sections(make_crop, window, codes, input_shape):
    # raw tells where each voxel comes from
    crop = make_crop((20, 40, 40), (4, 14, 14), (12, 12, 12))
    positions = np.stack(np.meshgrid(*(np.arange(n) for n in (20, 40, 40)), indexing="ij"), axis=0)
    code = np.full((2, 12, 12, 12), 1, np.uint8)
    code[0] = 1 + (positions[2, 4:16, 14:26, 14:26] + positions[1, 4:16, 14:26, 14:26]) % 2
    moved_far = 0
    for axis in range(3):
        crop = evolve(crop, data=positions[axis : axis + 1].astype(np.float32), code=code)
        architecture = window(input_shape_vx=input_shape)
        plain = pipeline(crop, codes(context=0.0), architecture)
        moved = pipeline(crop, codes(context=0.0), architecture, ShiftSections(0.3, 0.3, 3.0))
        for index in range(6):
            change = moved.sample(index).raw[0] - plain.sample(index).raw[0]
            if axis == 0:
                np.testing.assert_allclose(change, 0, atol=1e-4)
            # whole sections move, by one amount
            inner = change[:, 4:-4, 4:-4]
            assert np.allclose(inner, inner[:, :1, :1], atol=1e-4)
            assert np.abs(inner).max() <= 3 * 12
            moved_far += np.abs(inner).max() > 1
    assert moved_far > 5


def test_shifts_reach_whole_voxels_of_labels(make_crop, window, codes):
    crop = make_crop((20, 40, 40), (0, 0, 0), (20, 40, 40))
    plain = pipeline(crop, codes(context=0.0), window())
    slipped = pipeline(crop, codes(context=0.0), window(), ShiftSections(0.5, 0.0, 0.2))
    for index in range(5):
        # less than half a voxel: labels stay, raw is interpolated
        before, after = plain.sample(index), slipped.sample(index)
        np.testing.assert_array_equal(before.labels.code, after.labels.code)
        assert not np.array_equal(before.raw, after.raw)


def test_lost_sections_are_black_and_have_the_labels_of_the_section_before(make_crop, window, codes):
    crop = make_crop((30, 30, 30))
    plain = pipeline(crop, codes(), window())
    holey = pipeline(crop, codes(), window(), LoseSections(0.3))
    lost = known_before = 0
    for index in range(20):
        before, after = plain.sample(index), holey.sample(index)
        black = (after.raw == -1).all(axis=(0, 2, 3))
        np.testing.assert_array_equal(after.raw[:, ~black], before.raw[:, ~black])
        # the output begins after a margin of 2
        for z in range(8):
            last = z + 2
            while black[last] and last > 0:
                last -= 1
            if black[last] or last < 2:
                continue
            np.testing.assert_array_equal(after.labels.code[:, z], before.labels.code[:, last - 2])
            np.testing.assert_array_equal(after.labels.instances["mito"][z], before.labels.instances["mito"][last - 2])
            np.testing.assert_array_equal(after.targets["code"].value[:, z], before.labels.code[:, last - 2])
            known_before += 1
        lost += black.sum()
    assert known_before > 50
    assert lost / (20 * 12) == pytest.approx(0.3, abs=0.08)


def test_where_the_section_before_is_not_read_nothing_is_known(make_crop, window, codes):
    holey = pipeline(make_crop((30, 30, 30)), codes(context=0.0), window(margin_vx=(0, 2, 2)), LoseSections(1.0))
    sample = holey.sample(0)
    assert (sample.raw == -1).all()
    assert (sample.labels.code == 0).all()
    assert (sample.labels.instances["mito"] == 0).all()


def test_a_single_section_is_never_lost(make_crop, window, codes):
    single = window(input_shape_vx=(1, 12, 12), margin_vx=(0, 2, 2))
    holey = pipeline(make_crop((1, 30, 30)), codes(context=0.0), single, Mirror(axes=("x",)), LoseSections(1.0))
    sample = holey.sample(0)
    assert (sample.raw != -1).all()


def test_each_section_gets_a_contrast_of_its_own():
    raw = rng().uniform(-1, 1, (2, 6, 8, 8)).astype(np.float32)
    changed = SectionContrast(scale=(0.5, 2), shift=(-0.5, 0.5)).apply(raw.copy(), rng())
    for z in range(6):
        slope, level = np.polyfit(raw[:, z].ravel(), changed[:, z].ravel(), 1)
        assert np.allclose(changed[:, z], raw[:, z] * slope + level, atol=1e-5)
        assert 0.5 <= slope <= 2
        assert abs(level) <= 0.5
    assert len({round(float(v), 4) for v in (changed / raw)[0, :, 0, 0]}) == 6
    assert changed.dtype == np.float32


def defects(folder, shape=(2, 5, 20)):
    images, alpha = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    images[0], images[1] = 255, 51
    alpha[:, 1:] = 255
    for name, data in (("images", images), ("alpha", alpha)):
        volume = create_volume(folder / name, Grid.from_nm(shape, (8.0, 8.0, 8.0)), data.dtype)
        volume.write(volume.grid.roi, data)
    return ArrayRef(str(folder / "images")), ArrayRef(str(folder / "alpha"))


def test_defects_are_pasted_where_their_alpha_says(tmp_path):
    images, alpha = defects(tmp_path)
    raw = np.zeros((1, 200, 12, 14), np.float32)
    changed = PasteDefects(images, alpha, chance=0.5).apply(raw.copy(), rng())
    struck = (changed != 0).any(axis=(0, 2, 3))
    assert struck.mean() == pytest.approx(0.5, abs=0.1)
    # 255 is white, 51 is a fifth of the way from black; four of five rows are opaque, cut off at the sample's width
    assert {round(float(v), 4) for v in np.unique(changed)} == {-0.6, 0.0, 1.0}
    assert ((changed[:, struck] != 0).sum(axis=(0, 2, 3)) == 4 * 14).all()
    np.testing.assert_array_equal(PasteDefects(images, alpha, chance=0.5).apply(raw.copy(), rng()), changed)


def test_defects_that_cannot_be_pasted_are_told(tmp_path):
    images, _ = defects(tmp_path)
    (tmp_path / "other").mkdir()
    _, alpha = defects(tmp_path / "other", (2, 5, 21))
    with pytest.raises(UserError) as error:
        PasteDefects(images, alpha, chance=1.0).apply(np.zeros((1, 2, 9, 9), np.float32), rng())
    assert error.value.problems == (
        f"sampling.augments: PasteDefects: {images.path} has the shape (2, 5, 20), but {alpha.path} (2, 5, 21); they "
        "must be equal",
    )
