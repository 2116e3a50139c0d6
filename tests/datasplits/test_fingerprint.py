import numpy as np
import pytest

from dacapo_hd.datasplits import Crop, Crops
from dacapo_hd.datasplits.fingerprint import Fractions, fingerprint, unknown_everywhere
from dacapo_hd.labels import ClassArrays, ClassScheme

any_blocks = pytest.mark.parametrize("block_voxels", [1 << 22, 50])


def open_crop(store, raw, name="a", **fields):
    mito = np.full((4, 5, 10), 255, np.uint8)
    mito[0], mito[1, :, :4] = 0, 1
    labels = (ClassArrays({"mito": store(f"{name}_mito", mito, (4, 4, 8))}),)
    scheme = ClassScheme({"cell": ("mito", "er"), "mito": (), "er": (), "ecs": ()})
    split = Crops(train=(Crop(name, store(name, raw, (4, 4, 8)), labels),), scheme=scheme, **fields)
    return split.open("train", ("mito", "er", "cell"))[0]


@any_blocks
def test_fractions_are_of_the_labelled_box(store, block_voxels):
    found = fingerprint(open_crop(store, np.zeros((6, 5, 12), np.uint8)), block_voxels)
    assert (found.name, found.shape_vx, found.label_shape_vx) == ("a", (6, 5, 12), (4, 5, 10))
    assert (found.channels, found.voxel_size_nm, found.dtype) == (1, (4, 4, 8), "uint8")
    assert found.fractions == {
        "mito": Fractions(present=0.1, absent=0.25, unknown=0.65),
        "er": Fractions(present=0.0, absent=0.1, unknown=0.9),
        "cell": Fractions(present=0.1, absent=0.0, unknown=0.9),
    }
    present, absent, unknown = found.fractions["mito"]
    assert present + absent + unknown == 1


@any_blocks
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.int64])
def test_percentiles(store, block_voxels, dtype):
    raw = np.random.default_rng(0).permuted(np.arange(600) % 120).reshape(6, 10, 10).astype(dtype)
    found = fingerprint(open_crop(store, raw, intensity_range=(0, 255)), block_voxels)
    expected = np.percentile(raw, (1, 50, 99), method="inverted_cdf")
    assert found.intensities.percentiles == tuple(expected)
    assert found.intensities.nonfinite_count == 0


@any_blocks
def test_nan_is_counted_and_left_out(store, block_voxels):
    raw = np.full((2, 6, 5, 12), 3, np.float32)
    raw[1, 2, 3, 4:7] = np.nan
    found = fingerprint(open_crop(store, raw, intensity_range=(0, 5)), block_voxels)
    assert found.intensities.nonfinite_count == 3
    assert found.intensities.percentiles == (3, 3, 3)
    everywhere = fingerprint(open_crop(store, raw * np.nan, "b", intensity_range=(0, 5)), block_voxels)
    assert np.isnan(everywhere.intensities.percentiles).all()


def test_large_float_data_are_sampled(store):
    raw = np.random.default_rng(1).uniform(0, 100, (20, 20, 100)).astype(np.float32)
    found = fingerprint(open_crop(store, raw, intensity_range=(0, 100)), sampled_values=4000)
    np.testing.assert_allclose(found.intensities.percentiles, (1, 50, 99), atol=3)
    assert found.intensities.percentiles != tuple(np.percentile(raw, (1, 50, 99), method="inverted_cdf"))


def test_classes_of_which_nothing_is_known(store, tmp_path):
    raw = store("raw", np.zeros((1, 1, 2), np.uint8))

    def crop(name, *mito):
        array = store(f"{len(list(tmp_path.iterdir()))}_mito", np.array([[mito]], np.uint8))
        return Crop(name, raw, (ClassArrays({"mito": array}, unknown=255),))

    scheme = ClassScheme({"mito": ("lum", "mem"), "lum": (), "mem": (), "er": ()})

    def unknown(*crops):
        return unknown_everywhere(Crops(train=crops, scheme=scheme).open("train", ("er", "mito", "lum")))

    assert unknown(crop("a", 255, 255)) == ("er", "mito", "lum")
    assert unknown(crop("a", 255, 255), crop("b", 255, 1)) == ("lum",)
    assert unknown(crop("b", 255, 0)) == ("er",)
    assert unknown(crop("b", 1, 0)) == ()
