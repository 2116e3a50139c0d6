"""Where labels lie next to their image: axes in another order, boxes that reach outside, crops that overlap."""

import json

import numpy as np
import pytest
from places_parts import check
from plain_arrays import write_plain

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.config import ConfigError, structure
from dacapo_hd.datasplits import Crop, Crops
from dacapo_hd.errors import UserError
from dacapo_hd.labels import ClassArrays, InstanceArray


def boxes(shape=(6, 10, 14)):
    """Return labels with a box of one class and image data in which it can be seen."""
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 4, n // 2) for n in shape)] = 1
    raw = np.random.default_rng(0).integers(0, 100, shape).astype(np.uint8) + 100 * labels
    return raw, labels


def open_train(*crops, classes=("mito",), **fields):
    return Crops(train=crops, **fields).open("train", classes)


def problem(*crops, **fields):
    with pytest.raises(UserError) as error:
        open_train(*crops, **fields)
    (message,) = error.value.problems
    return message


@pytest.mark.parametrize("names", ["xyz", "yzx", "zxy"])
def test_labels_whose_axes_are_in_another_order_are_refused_with_the_order(store, names):
    raw, labels = boxes()
    swapped = store("mito", labels.transpose(["zyx".index(name) for name in names]))
    array = ArrayRef(swapped.path + "/s0")
    crop = Crop("a", store("raw", raw), (ClassArrays({"mito": array, "er": array}),))
    shape = " x ".join(str(dict(zip("zyx", labels.shape, strict=True))[name]) for name in names)
    assert problem(crop) == (
        f"crop 'a': labels '{array.path}': the shape is {shape} voxels (z y x), that of raw 6 x 10 x 14; write "
        f"`axes: {names}!` at that array if its axes are stored in another order, or `axes: zyx` if they are right"
    )
    for axes, voxels in ((f"{names}!", labels), ("zyx", None)):
        (opened,) = open_train(Crop("a", crop.raw, (ClassArrays({"mito": ArrayRef(array.path, axes=axes)}),)))
        if voxels is not None:
            np.testing.assert_array_equal(opened.read_labels(opened.raw_grid.roi).present[0], voxels)
        else:
            assert opened.warnings


def test_labels_partly_outside_are_warned_of_once_a_crop(store):
    raw, labels = boxes()
    arrays = {name: store(name, labels, offset_nm=(0, 20, 0)) for name in ("mito", "er")}
    (opened,) = open_train(Crop("a", store("raw", raw), (ClassArrays(arrays),)))
    assert opened.warnings == (
        f"labels '{arrays['mito'].path}/s0' and 1 more: 50.0% of the box 0:24, 20:60, 0:56 nm lies outside raw (0:24, "
        "0:40, 0:56 nm) and is not used; correct `offset_nm`, `voxel_size_nm` or `axes` of one of them if that is "
        "wrong",
    )
    assert opened.notes[1].endswith("box 0:24, 20:60, 0:56 nm: 50.0% of it outside raw, 50.0% of raw outside it")


def test_raw_around_labels_is_context_and_no_reason_to_warn(store):
    raw, labels = boxes()
    (opened,) = open_train(
        Crop("a", store("raw", raw), (ClassArrays({"mito": store("mito", labels[:3, :5], offset_nm=(4, 8, 0))}),))
    )
    assert opened.warnings == ()
    assert "0.0% of it outside raw, 75.0% of raw outside it" in opened.notes[1]


def test_a_level_between_the_voxels_of_raw_is_made_up_for_by_a_finer_one(store, tmp_path):
    raw, labels = boxes((4, 8, 8))
    group = tmp_path / "pyramid"
    fine = np.kron(labels, np.ones((2, 2, 2), np.uint8))
    store("pyramid/s0", fine, (2, 2, 2))
    store("pyramid/s1", labels, (4, 4, 4))
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    # the coarse level says that it begins where the fine one does, by its centre: half a fine voxel off
    datasets = [
        {
            "path": f"s{n}/s0",
            "coordinateTransformations": [
                {"type": "scale", "scale": [size] * 3},
                {"type": "translation", "translation": [1] * 3},
            ],
        }
        for n, size in enumerate((2, 4))
    ]
    (group / ".zattrs").write_text(
        json.dumps({"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]})
    )
    opened_raw = store("raw", raw)
    (opened,) = open_train(Crop("a", opened_raw, (ClassArrays({"mito": ArrayRef(str(group))}),)))
    np.testing.assert_array_equal(opened.read_labels(opened.raw_grid.roi).present[0], labels)
    assert opened.notes[1].endswith(
        "; the level with the voxel size [4, 4, 4] nm lies between the voxels of raw; level s0/s0 [2, 2, 2] nm is "
        "pooled instead"
    )
    named = ArrayRef(str(group), level="s1/s0")
    message = problem(Crop("a", opened_raw, (ClassArrays({"mito": named}),)))
    assert "write `offset_nm: [0, 0, 0]` at that array if both begin at one corner" in message
    named = ArrayRef(str(group), level="s1/s0", offset_nm=(0, 0, 0))
    (opened,) = open_train(Crop("a", opened_raw, (ClassArrays({"mito": named}),)))
    np.testing.assert_array_equal(opened.read_labels(opened.raw_grid.roi).present[0], labels)


def test_masks_of_0_and_255_are_asked_about_where_the_class_would_be_present_nowhere(store):
    raw, labels = boxes()
    image, masks = store("raw", raw), store("mito", labels * 255)

    def crop(name, **fields):
        return Crop(name, image, (ClassArrays({"mito": masks}, **fields),))

    assert problem(crop("a"), crop("b")) == (
        f"datasplit.train: labels '{masks.path}/s0': hold 0 and 255 alone, and 255 means unknown in uint8 arrays, so "
        "that 'mito' would be present nowhere; write `unknown: none` where the labels are named if 255 is the class, "
        "or `unknown: 255` if nobody annotated there"
    )
    (opened,) = open_train(crop("a", unknown="none"))
    assert opened.read_labels(opened.raw_grid.roi).present.sum() == labels.sum()
    (opened,) = open_train(crop("a", unknown=255))
    assert not opened.read_labels(opened.raw_grid.roi).present.any()
    # another crop shows the class
    assert len(open_train(crop("a"), Crop("b", image, (ClassArrays({"mito": store("other", labels)}),)))) == 2


def test_training_crops_that_know_voxels_of_other_parts(store):
    raw, labels = boxes()
    image, other = store("raw", raw), store("raw2", raw)
    ids = (InstanceArray(store("ids", labels), "mito"),)
    masked = store("mask", np.pad(np.ones((6, 10, 7), np.uint8), ((0, 0), (0, 0), (7, 0))))
    half = ((0, 6), (0, 10), (0, 7))
    train = (Crop("t", image, ids, roi_vx=half), Crop("u", image, ids, roi_vx=((0, 3), (0, 10), (0, 7))))
    validate = (
        Crop("all", image, ids),
        Crop("rest", image, ids, roi_vx=((0, 6), (0, 10), (7, 14))),
        # the boxes overlap, but what is known does not
        Crop("masked", image, ids, mask=masked),
        # nobody can see that this is a copy
        Crop("copy", other, ids),
    )
    warnings = check(Crops(train=train, validate=validate, test=(Crop("test", image, ids),))).warnings
    found = [warning for warning in warnings if "known voxels" in warning]
    assert found == [
        f"crop {name!r} of {part}: 50.0% of its known voxels are trained on by crop 't' (and 1 more), so its scores "
        "will be too good; give crops that do not overlap, by `roi_vx` or other files"
        for name, part in (("all", "validate"), ("test", "test"))
    ]


@pytest.mark.parametrize("field", ["voxel_size_nm", "assumed_voxel_size_nm"])
@pytest.mark.parametrize(
    ("typed", "size"),
    [("0.004, 0.004, 0.004 um", (4, 4, 4)), ("0.01,0.01,0.01 nm", (0.01, 0.01, 0.01)), ("1 1 1 mm", (1e6, 1e6, 1e6))],
)
def test_a_voxel_size_with_its_unit_is_believed(tmp_path, field, typed, size):
    assert (
        ArrayRef(str(write_plain(tmp_path / "a.zarr", np.ones((2, 3, 4), np.uint8))), **{field: typed})
        .open()
        .grid.voxel_size_nm
        == size
    )


@pytest.mark.parametrize("typed", [(0.01, 0.01, 0.01), "0.01, 0.01, 0.01", (8, 8, 2000)])
def test_a_voxel_size_that_is_hardly_nm_is_asked_about(typed):
    value = list(typed) if isinstance(typed, tuple) else typed
    with pytest.raises(ConfigError) as error:
        structure({"path": "a.zarr", "voxel_size_nm": value}, ArrayRef)
    (message,) = error.value.problems
    assert message.startswith("voxel_size_nm: is ")
    assert "outside 0.5 to 1000 nm; did you mean" in message
    advised = message.rpartition("or '")[2].removesuffix("' to insist")
    structure({"path": "a.zarr", "voxel_size_nm": advised}, ArrayRef)


def test_one_line_gives_the_voxel_size_of_all_files_that_have_none(tmp_path, store):
    raw, labels = boxes()
    bare = ArrayRef(str(write_plain(tmp_path / "bare.zarr", raw)))
    mask = ArrayRef(str(write_plain(tmp_path / "mask.zarr", np.ones_like(raw))))
    own = store("mito", labels)
    crop = Crop("a", bare, (ClassArrays({"mito": own}),), mask=mask)
    assert "write `voxel_size_nm: [z, y, x]` at the array, or `assumed_voxel_size_nm: [z, y, x]` in the" in _first(crop)
    (opened,) = open_train(crop, assumed_voxel_size_nm=(4, 4, 4))
    assert opened.raw_grid.voxel_size_nm == opened.mask.grid.voxel_size_nm == (4, 4, 4)
    # the file's own size counts where there is one
    assert "voxel size [4, 4, 4] nm is no whole multiple" in problem(crop, assumed_voxel_size_nm=(6, 6, 6))


def _first(crop):
    with pytest.raises(UserError) as error:
        open_train(crop)
    return error.value.problems[0]
