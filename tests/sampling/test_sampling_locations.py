import attrs
import numpy as np
import pytest

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT
from dacapo_hd.sampling.locations import Locator, Occupancy


def draws(locator, n=200):
    rng = np.random.default_rng(4)
    return [locator.draw(rng) for _ in range(n)]


def window_of(crop, begin, shape):
    return crop.read_labels(crop.raw_grid.roi_of(begin, shape))


def sparse(make_crop, value=PRESENT, at=((3, 4, 5),), **changes):
    crop = make_crop((40, 40, 40), **changes)
    crop.code[:] = 0
    for voxel in at:
        crop.code[(0, *voxel)] = value
    return crop


def test_occupancy_counts_voxels_of_every_cell(make_crop):
    crop = make_crop((40, 33, 20), (1, 2, 3), (37, 31, 17))
    occupancy = Occupancy.of(crop)
    masks = [(crop.code != 0).any(axis=0), *(crop.code == PRESENT), *(crop.code == ABSENT)]
    for layer, mask in enumerate(masks):
        assert occupancy.totals[layer] == mask.sum()
        for z, y, x in np.ndindex(occupancy.counts.shape[1:]):
            cell = mask[16 * z : 16 * z + 16, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
            assert occupancy.counts[layer, z, y, x] == cell.sum()


def test_large_crops_get_larger_cells(make_crop):
    crop = attrs.evolve(make_crop((1, 1, 1)), code=np.ones((2, 1, 600, 600), np.uint8), ids=None)
    grid = attrs.evolve(crop.raw_grid, shape_vx=(1, 600, 600))
    occupancy = Occupancy.of(attrs.evolve(crop, raw_grid=grid, label_grid=grid))
    assert occupancy.counts.shape == (5, 1, 38, 38)
    assert occupancy.totals == (360000, 0, 0, 360000, 360000)


def test_uniform_windows_lie_in_the_labels_and_reach_all_of_them(make_crop):
    crop = make_crop((40, 40, 40), (5, 6, 7), (20, 6, 24))
    seen = np.zeros((40, 40, 40), bool)
    for _, begin in draws(Locator.of("uniform", [crop], (8, 10, 8), 0.0), 1500):
        assert 5 <= begin[0] <= 17 and 2 <= begin[1] <= 6 and 7 <= begin[2] <= 23
        seen[tuple(slice(b, b + n) for b, n in zip(begin, (8, 10, 8), strict=True))] = True
    assert seen[5:25, 6:12, 7:31].all()


def test_known_windows_hold_a_known_voxel(make_crop):
    crop = sparse(make_crop, ABSENT, [(3, 4, 5), (38, 39, 0)], label_begin=(0, 0, 0))
    begins = [begin for _, begin in draws(Locator.of("known", [crop], (6, 6, 6), 0.0))]
    assert all(window_of(crop, begin, (6, 6, 6)).known.any() for begin in begins)
    assert {begin[0] > 20 for begin in begins} == {True, False}


def test_balanced_windows_show_rare_classes_half_present_half_absent(make_crop):
    crop = make_crop((40, 40, 40))
    crop.code[:] = ABSENT
    crop.code[0, :, :, :20] = PRESENT
    crop.code[1, 7, 8, 39] = PRESENT
    begins = [begin for _, begin in draws(Locator.of("balanced", [crop], (1, 1, 1), 0.0), 800)]
    rare = np.mean([begin == (7, 8, 39) for begin in begins])
    assert rare == pytest.approx(0.25, abs=0.05)


def test_balanced_ignores_classes_that_are_never_present(make_crop):
    crop = sparse(make_crop, PRESENT)
    crop.code[1] = ABSENT
    begins = {begin for _, begin in draws(Locator.of("balanced", [crop], (1, 1, 1), 0.0), 50)}
    assert begins == {(3, 4, 5)}


def test_crops_are_drawn_by_weight(make_crop):
    crops = [make_crop(name="a", weight=3.0), make_crop((30, 30, 30), name="b", weight=1.0)]
    indices = [index for index, _ in draws(Locator.of("known", crops, (4, 4, 4), 0.0), 800)]
    assert np.mean(indices) == pytest.approx(0.25, abs=0.05)


def test_crops_without_known_voxels_are_left_out_unless_uniform(make_crop):
    crops = [sparse(make_crop, at=(), name="a"), make_crop(name="b")]
    assert {index for index, _ in draws(Locator.of("known", crops, (4, 4, 4), 0.0))} == {1}
    assert {index for index, _ in draws(Locator.of("uniform", crops, (4, 4, 4), 0.0))} == {0, 1}


@pytest.mark.parametrize("mode", ["uniform", "known", "balanced"])
def test_min_known(make_crop, mode):
    crop = make_crop((40, 40, 40))
    crop.code[:] = 0
    crop.code[:, :, :20] = 1 + crop.code[:, :, :20] + (np.arange(40) % 2)
    for _, begin in draws(Locator.of(mode, [crop], (8, 8, 8), 0.6), 50):
        assert window_of(crop, begin, (8, 8, 8)).known.any(axis=0).mean() >= 0.6


def test_min_known_that_is_never_reached(make_crop):
    locator = Locator.of("known", [sparse(make_crop)], (4, 4, 4), 0.5)
    with pytest.raises(UserError) as caught:
        locator.draw(np.random.default_rng(0))
    assert str(caught.value) == (
        "sampling.min_known: 0.5 was not reached in 1000 random windows of (4, 4, 4) voxels, "
        "at best 0.0156 of a window is known; lower it"
    )


@pytest.mark.parametrize(("mode", "words"), [("known", "known for"), ("balanced", "present of")])
def test_nothing_to_draw(make_crop, mode, words):
    with pytest.raises(UserError) as caught:
        Locator.of(mode, [sparse(make_crop, at=())], (4, 4, 4), 0.0)
    assert str(caught.value) == (
        f"sampling.locations: no voxel is {words} any of the classes mito, er in any training crop; "
        "annotate some or choose other classes"
    )


def test_no_weight(make_crop):
    with pytest.raises(UserError, match="every training crop has weight 0; give one a positive weight"):
        Locator.of("known", [make_crop(weight=0.0)], (4, 4, 4), 0.0)
