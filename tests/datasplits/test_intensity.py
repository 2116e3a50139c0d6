"""Intensities: which range counts, and images that show nothing."""

from itertools import count

import numpy as np
import pytest
from places_parts import check

from dacapo_hd.config import ConfigError, structure, unstructure
from dacapo_hd.datasplits import Crop, Crops, Folder
from dacapo_hd.datasplits.base import Datasplit
from dacapo_hd.errors import UserError
from dacapo_hd.labels import InstanceArray

SHAPE = (4, 16, 16)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:3, 4:9, 4:9] = 1


@pytest.fixture
def split(store):
    """Make a datasplit of one training crop."""

    numbers = count()

    def make(raw, labels=LABELS, offset_nm=(0, 0, 0), **fields):
        n = next(numbers)
        sources = (InstanceArray(store(f"ids{n}", labels, offset_nm=offset_nm), "mito"),)
        return Crops(train=(Crop("a", store(f"raw{n}", raw), sources),), **fields)

    return make


def noise(low, high, dtype=np.uint8, shape=SHAPE):
    return np.random.default_rng(0).integers(low, high, shape).astype(dtype)


def findings(datasplit):
    """Return problems and warnings about intensities."""
    report = check(datasplit)
    about = [text for text in (*report.problems, *report.warnings) if ": raw '" in text]
    return [text.partition("': ")[2].partition("': ")[2] or text for text in about], report


def test_a_fixed_range_and_what_it_leaves_are_printed(split):
    found, report = findings(split(noise(100, 200), intensity_range=(120, 220)))
    assert found == []
    raw = noise(100, 200)
    low, high = np.percentile(raw, (1, 99), method="inverted_cdf")
    assert report.arrays["train"][0].endswith(
        f"; intensities 120 to 220 become -1 to 1: {(raw < 120).mean():.1%} are clipped, the 1st to 99th percentiles "
        f"span {(high - max(low, 120)) / 100:.0%} of what is left"
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("value", [0, 7])
def test_an_image_of_one_value_is_an_error(split, dtype, value):
    (found,), report = findings(split(np.full(SHAPE, value, dtype), intensity_range=(0, 100)))
    assert found in report.problems[0]
    assert found == (
        f"is {value} everywhere, so that there is nothing to see; correct its path, or fetch or write the chunks that "
        "are missing"
    )


def test_only_the_labelled_part_may_be_empty(split):
    raw = noise(0, 255)
    raw[:, :, 8:] = 0
    (found,), _ = findings(split(raw, LABELS[:, :, :8], offset_nm=(0, 0, 32)))
    assert found.startswith("is 0 everywhere in the labelled box, so that there is nothing to see")
    assert findings(split(raw, LABELS[:, :, :8]))[0] == []


@pytest.mark.parametrize("typed", [(0, 255), (50000, 60000)])
def test_a_range_that_leaves_one_value_is_an_error_whose_advice_helps(split, typed):
    raw = noise(20000, 40000, np.uint16)
    (found,), report = findings(split(raw, intensity_range=typed))
    assert found in report.problems[0]
    low, high = np.percentile(raw, (1, 99), method="inverted_cdf")
    assert found == (
        f"100% of its intensities lie outside of {typed[0]:.4g} to {typed[1]:.4g} and become one value; set "
        f"`datasplit.intensity_range: [{low:g}, {high:g}]` (its 1st and 99th percentiles), or `percentile`"
    )
    assert findings(split(raw, intensity_range=(low, high)))[0] == []
    assert findings(split(raw, intensity_range="percentile"))[0] == []


def test_mostly_clipped_and_nearly_constant_images_are_warned_of(split):
    (found,), report = findings(split(noise(0, 200), intensity_range=(150, 250)))
    assert found in report.warnings[0] and "of its intensities lie outside of 150 to 250 and are clipped" in found
    (found,), report = findings(split(noise(100, 104)))
    assert found in report.warnings[0]
    assert found.startswith("is nearly constant: its 1st and 99th percentiles, 100 and 103, span 1.2% of 0 to 255")
    assert findings(split(noise(100, 104), intensity_range="percentile"))[0] == []


def test_ranges_by_the_statistics_of_each_volume(store):
    raws = {"a": noise(20000, 40000, np.uint16), "b": noise(100, 300, np.uint16)}
    labels = (InstanceArray(store("ids", LABELS), "mito"),)
    crops = tuple(Crop(name, store(name, raw), labels) for name, raw in raws.items())
    for crop in Crops(train=crops, intensity_range="percentile").open("train", ("mito",)):
        low, high = np.percentile(raws[crop.name], (1, 99), method="inverted_cdf")
        assert crop.intensity_range == (low, high, 1)
        expected = np.clip((raws[crop.name] - (low + high) / 2) * 2 / (high - low), -1, 1)
        np.testing.assert_allclose(crop.read_raw(crop.raw_grid.roi)[0], expected, atol=1e-5)
    for crop in Crops(train=crops, intensity="zscore").open("train", ("mito",)):
        raw = raws[crop.name].astype(float)
        expected = (raw - raw.mean()) / raw.std()
        np.testing.assert_allclose(crop.read_raw(crop.raw_grid.roi)[0], expected, atol=1e-4)


def test_z_scores_are_clipped_at_five_deviations(split):
    raw = noise(100, 110, np.uint16)
    raw[0, 0, 0] = 65535
    (crop,) = split(raw, intensity="zscore").open("train", ("mito",))
    assert crop.read_raw(crop.raw_grid.roi).max() == 5


def test_large_volumes_are_sampled_evenly(monkeypatch, split):
    from dacapo_hd.datasplits import intensity

    ramp = np.broadcast_to(np.arange(64, dtype=np.float32)[:, None, None], (64, 64, 64)).copy()
    whole = split(ramp, intensity_range="percentile").open("train", ("mito",))[0].intensity_range
    monkeypatch.setattr(intensity, "_MOST_VOXELS", 1 << 14)
    monkeypatch.setattr(intensity, "_CUBE_VX", 4)
    sampled = split(ramp, intensity_range="percentile").open("train", ("mito",))[0].intensity_range
    assert sampled != whole
    np.testing.assert_allclose(sampled, whole, atol=7)


@pytest.mark.parametrize("fields", [{"intensity_range": "percentile"}, {"intensity": "zscore"}])
def test_a_volume_of_one_value_has_no_statistics(split, fields):
    with pytest.raises(UserError, match="is 3 everywhere, so that it has no contrast"):
        split(np.full(SHAPE, 3, np.uint8), **fields).open("train", ("mito",))


def test_the_fields_in_a_config():
    both = {"type": "Folder", "path": "/data", "intensity": "zscore", "intensity_range": [0, 9]}
    with pytest.raises(ConfigError) as error:
        structure(both, Datasplit)
    assert error.value.problems == (
        "intensity: must be range where `intensity_range` is given; leave out one of the two",
    )
    with pytest.raises(ConfigError) as error:
        structure({"type": "Folder", "path": "/data", "intensity_range": "percentil"}, Datasplit)
    assert "percentile" in error.value.problems[0]
    split = structure({"type": "Folder", "path": "/data", "intensity_range": "percentile"}, Datasplit)
    assert structure(unstructure(split), Datasplit) == split
    # what was stored before these fields existed keeps its identity
    assert "intensity" not in unstructure(Folder("/data"))
