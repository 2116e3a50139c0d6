import pickle

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dacapo_hd.datasplits import Crop, Crops, normalise
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels import ABSENT, PRESENT, UNKNOWN, ClassArrays, ClassScheme, InstanceArray

U, A, P = UNKNOWN, ABSENT, PRESENT
MITO = ClassScheme({"mito": ("mem", "lum"), "mem": (), "lum": (), "er": ()})
SHAPE = (6, 7, 8)


def random_raw(shape=SHAPE, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def open_one(crop, classes=("mito",), **settings):
    (opened,) = Crops(train=(crop,), **settings).open("train", classes)
    return opened


def everything(opened):
    return opened.read_labels(opened.raw_grid.roi)


def test_normalise_maps_the_range_and_clips():
    found = normalise(np.array([100, 150, 200, 0, 300], np.int16), (100, 200))
    assert found.dtype == np.float32
    assert found.tolist() == [-1, 0, 1, -1, 1]


def test_read_raw_has_channels_and_the_range_of_uint8(store):
    data = random_raw()
    opened = open_one(Crop("a", store("raw", data), (ClassArrays({"mito": store("mito", data > 100)}),)))
    found = opened.read_raw(opened.raw_grid.roi_of((1, 2, 3), (4, 5, 5)))
    assert (opened.channels, found.shape, found.dtype) == (1, (1, 4, 5, 5), np.float32)
    np.testing.assert_allclose(found[0], data[1:5, 2:7, 3:8] / 127.5 - 1, atol=1e-6)


def test_several_channels(store):
    data = random_raw((2, *SHAPE), np.float32)
    labels = (ClassArrays({"mito": store("mito", data[0] > 100)}),)
    opened = open_one(Crop("a", store("raw", data), labels), intensity_range=(0, 200))
    assert opened.channels == 2
    found = opened.read_raw(opened.raw_grid.roi)
    np.testing.assert_allclose(found, data / 100 - 1, atol=1e-6)


@pytest.mark.parametrize("cache_mb", [0, 512])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_raw_that_is_not_finite(store, cache_mb, value):
    data = random_raw(dtype=np.float32)
    data[2, 3, 4] = value
    labels = (ClassArrays({"mito": store("mito", random_raw() > 100)}),)
    opened = open_one(Crop("a", store("raw", data), labels), intensity_range=(0, 200), cache_mb=cache_mb)
    assert np.isfinite(opened.read_raw(opened.raw_grid.roi_of((3, 0, 0), (2, 7, 8)))).all()
    with pytest.raises(UserError) as caught:
        opened.read_raw(opened.raw_grid.roi_of((1, 2, 3), (3, 3, 3)))
    assert caught.value.problems == (
        f"crop 'a': raw '{opened.raw.path}' is {value} at voxel (2, 3, 4) (z, y, x); "
        "replace what is not finite by numbers",
    )


def test_labels_of_a_part_of_the_raw_data_are_derived_from_the_scheme(store):
    raw = store("raw", random_raw((4, 4, 4)))
    mem = np.zeros((1, 2, 2), np.uint8)
    mem[0, 0] = [0, 1]
    mem[0, 1] = [255, 0]
    arrays = {"mem": store("mem", mem, offset_nm=(4, 4, 4)), "mito": store("mito", mem | 1, offset_nm=(4, 4, 4))}
    opened = open_one(Crop("a", raw, (ClassArrays(arrays),)), ("lum", "er", "mem"), scheme=MITO)
    assert opened.label_grid == Grid.from_nm((1, 2, 2), (4, 4, 4), (4, 4, 4))
    block = everything(opened)
    assert block.classes == ("lum", "er", "mem")
    assert block.voxel_size_nm == (4, 4, 4)
    assert block.code[:, 1, 1:3, 1:3].tolist() == [[[P, A], [U, P]], [[A, A], [U, A]], [[A, P], [U, A]]]
    block.code[:, 1, 1:3, 1:3] = U
    assert not block.known.any()


def test_read_labels_far_outside_is_unknown(store):
    crop = Crop("a", store("raw", random_raw()), (InstanceArray(store("mito", random_raw()), "mito"),))
    block = open_one(crop).read_labels(Roi(Coordinate(-400, 0, 4000) * 10**6, Coordinate(8, 12, 16) * 10**6))
    assert block.code.shape == (1, 2, 3, 4)
    assert not block.known.any()
    assert block.instances["mito"].shape == (2, 3, 4)
    assert not block.instances["mito"].any()


def test_class_array_and_instances_of_the_same_class(store):
    inst = store("inst", np.array([[[0, 3, 9, 0]]], np.uint16))
    mito = store("mito", np.array([[[0, 0, 1, 1]]], np.uint8))
    raw = store("raw", np.zeros((1, 1, 4), np.uint8))
    block = everything(open_one(Crop("a", raw, (ClassArrays({"mito": mito}), InstanceArray(inst, "mito")))))
    assert block.code.ravel().tolist() == [A, P, P, P]
    assert block.instances["mito"].ravel().tolist() == [0, 3, 9, 0]
    assert block.instances["mito"].dtype == np.uint32


@pytest.mark.parametrize("cache_mb", [0, 512])
def test_roi_and_mask_make_labels_unknown(store, cache_mb):
    labels = (InstanceArray(store("mito", np.full((4, 4, 4), 2, np.uint16)), "mito"),)
    mask = np.zeros((2, 4, 8), np.uint8)
    mask[1, :, :5] = 7
    crop = Crop(
        "a",
        store("raw", random_raw((4, 4, 4))),
        labels,
        mask=store("mask", mask, voxel_size_nm=(8, 4, 2)),
        roi_vx=((0, 4), (1, 3), (0, 4)),
    )
    opened = open_one(crop, cache_mb=cache_mb)
    assert opened.label_grid.shape_vx == (4, 2, 4)
    expected = np.zeros((4, 4, 4), np.uint8)
    expected[2:, 1:3, :2] = P
    block = everything(opened)
    np.testing.assert_array_equal(block.code[0], expected)
    np.testing.assert_array_equal(block.instances["mito"], expected)


def test_mask_smaller_than_the_labels(store):
    labels = (InstanceArray(store("mito", np.full((2, 2, 2), 1, np.uint8)), "mito"),)
    mask = store("mask", np.ones((1, 1, 1), np.uint8), offset_nm=(4, 4, 4))
    block = everything(open_one(Crop("a", store("raw", random_raw((2, 2, 2))), labels, mask=mask)))
    assert np.argwhere(block.known[0]).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("label_size_nm", [1, 2, 4, 8, 12])
def test_label_grid_is_on_the_raw_grid_inside_the_raw_data(store, label_size_nm):
    raw = store("raw", random_raw((6, 6, 6)), offset_nm=(4, 4, 4))
    mito = store("mito", np.ones((11, 11, 11), np.uint8), voxel_size_nm=(label_size_nm,) * 3, offset_nm=(0, 8, -4))
    opened = open_one(Crop("a", raw, (ClassArrays({"mito": mito}),)))
    end_nm = [min(28, -(-(offset + 11 * label_size_nm) // 4) * 4) for offset in (0, 8, -4)]
    assert opened.raw_grid.roi.contains(opened.label_grid.roi)
    assert opened.raw_grid.aligned(opened.label_grid.roi)
    assert opened.label_grid.roi.begin == Coordinate(4, 8, 4) * 10**6
    assert opened.label_grid.roi.end == Coordinate(end_nm) * 10**6


@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.integers(-3, 8)] * 3), st.tuples(*[st.integers(1, 6)] * 3))
def test_any_roi_equals_the_same_part_of_everything(opened_twice, begin, shape):
    for opened in opened_twice:
        grid = opened.raw_grid
        whole = opened.read_labels(grid.roi.grow(Coordinate(40, 40, 40) * 10**6, Coordinate(60, 60, 60) * 10**6))
        part = opened.read_labels(grid.roi_of(begin, shape))
        here = tuple(slice(b + 10, b + 10 + n) for b, n in zip(begin, shape, strict=True))
        np.testing.assert_array_equal(part.code, whole.code[(slice(None), *here)])
        np.testing.assert_array_equal(part.instances["mito"], whole.instances["mito"][here])


@pytest.fixture
def opened_twice(store):
    """The same crop without and with its arrays in memory; label voxels finer, coarser and shifted along the axes."""
    random = np.random.default_rng(1)
    mito = store("mito", random.integers(0, 4, (3, 13, 8)).astype(np.uint16), (8, 2, 4), (-4, 2, 8))
    mem = store("mem", random.choice([0, 1, 255], (6, 7, 4)).astype(np.uint8), (4, 4, 8))
    raw = store("raw", random_raw())
    crop = Crop("a", raw, (InstanceArray(mito, "mito"), ClassArrays({"mem": mem})))
    return [open_one(crop, ("mito", "mem", "lum"), scheme=MITO, cache_mb=mb) for mb in (0, 512)]


def test_the_cache_changes_nothing_and_does_not_travel(opened_twice):
    on_disk, in_memory = opened_twice
    roi = on_disk.raw_grid.roi
    for _ in range(2):
        np.testing.assert_array_equal(in_memory.read_labels(roi).code, on_disk.read_labels(roi).code)
        np.testing.assert_array_equal(in_memory.read_raw(roi), on_disk.read_raw(roi))
    sent = pickle.dumps(in_memory)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent).read_labels(roi).code, on_disk.read_labels(roi).code)


def test_changing_what_was_read_does_not_change_the_cache(opened_twice):
    for opened in opened_twice:
        roi = opened.label_grid.roi
        block, raw = opened.read_labels(roi), opened.read_raw(roi)
        before = block.code.copy(), raw.copy()
        block.code[:] = U
        block.instances["mito"][:] = 0
        raw[:] = 5
        np.testing.assert_array_equal(opened.read_labels(roi).code, before[0])
        assert opened.read_labels(roi).instances["mito"].any()
        np.testing.assert_array_equal(opened.read_raw(roi), before[1])


def test_memory_goes_to_what_fits(store):
    """Each crop has 1 MiB of labels; raw is 1 MiB of the first and 4 MiB of the second."""
    shape = (64, 128, 128)
    labels = (ClassArrays({"mito": store("mito", np.zeros(shape, np.uint8))}),)
    crops = (
        Crop("small", store("raw_a", np.zeros(shape, np.uint8)), labels),
        Crop("large", store("raw_b", np.zeros(shape, np.float32)), labels),
    )
    for budget, kept in [(0, "FFFF"), (1, "FTFF"), (3, "TTFT"), (6, "TTFT"), (7, "TTTT")]:
        opened = Crops(train=crops, intensity_range=(0, 1), cache_mb=budget).open("train", ("mito",))
        found = [flag for crop in opened for flag in (crop._cache.keeps_raw, crop._cache.keeps_labels)]
        assert "".join("FT"[flag] for flag in found) == kept, budget
