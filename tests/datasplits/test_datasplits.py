import numpy as np
import pytest

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.config import ConfigError, structure, unstructure
from dacapo_hd.datasplits import Crop, Crops, Datasplit, Folder
from dacapo_hd.errors import UserError
from dacapo_hd.labels import ABSENT, PRESENT, ClassArrays, ClassScheme, InstanceArray

ZEROS = np.zeros((2, 3, 4), np.uint8)


def problems_of(work):
    with pytest.raises(UserError) as caught:
        work()
    return list(caught.value.problems)


@pytest.fixture
def make(store):
    """Make a crop with one class array."""

    def crop(name="a", raw=ZEROS, labels=ZEROS, class_name="mito", raw_at=(), labels_at=(), **fields):
        source = ClassArrays({class_name: store(f"{name}/{class_name}", labels, *labels_at)})
        return Crop(name, store(f"{name}/raw", raw, *raw_at), (source,), **fields)

    return crop


def problems_of_crop(crop, classes=("mito",), **fields):
    return problems_of(lambda: Crops(train=(crop,), **fields).open("train", classes))


def test_all_problems_of_all_crops_at_once(make, tmp_path, store):
    gone = tmp_path / "gone.zarr"
    crops = (
        make("no_overlap", labels_at=((4, 4, 4), (400, 0, 0))),
        Crop("missing", ArrayRef(str(gone)), (ClassArrays({"mito": store("x", ZEROS.astype(np.float32))}),)),
        make("sizes", labels_at=((6, 4, 4),)),
        make("good"),
        make("typo", class_name="mitto"),
    )
    scheme = ClassScheme.of_atoms(["mito", "er"])
    problems = problems_of(lambda: Crops(train=crops, scheme=scheme).open("train", ("mito", "err")))
    assert problems[0] == "class 'err' is not in the scheme; did you mean 'er'?"
    assert [problem.split(":")[0] for problem in problems[1:]] == [
        "crop 'no_overlap'",
        "crop 'missing'",
        "crop 'missing'",
        "crop 'sizes'",
        "crop 'typo'",
    ]


def test_missing_array(make, tmp_path):
    good = make()
    gone = ArrayRef(str(tmp_path / "gone.zarr" / "raw"))
    (problem,) = problems_of_crop(Crop("a", gone, good.labels))
    assert problem.startswith(f"crop 'a': no array at {gone.path}")
    (same,) = problems_of(lambda: Crops(train=(Crop("a", gone, good.labels),), validate=(good,)).open("validate", ()))
    assert same == problem


def test_wrong_dimensionality(make, store):
    (problem,) = problems_of_crop(make(labels=np.zeros((2, 2, 3, 4), np.uint8)))
    assert problem.startswith("crop 'a': labels '")
    assert problem.endswith("/a/mito': has 2 channels; name one by `channel:` 0 to 1 at the array")


def test_incompatible_voxel_sizes(make):
    crop = make(labels_at=((6, 4, 4),))
    path = crop.labels[0].arrays["mito"].path
    assert problems_of_crop(crop) == [
        f"crop 'a': labels '{path}/s0': voxel size [6, 4, 4] nm is no whole multiple or fraction of the raw's "
        "[4, 4, 4] nm; resample one of them or correct its `voxel_size_nm`"
    ]


def test_shifted_grids(make):
    crop = make(labels_at=((4, 4, 4), (2, 0, 0)))
    path = crop.labels[0].arrays["mito"].path
    assert problems_of_crop(crop) == [
        f"crop 'a': labels '{path}/s0': offset [2, 0, 0] nm at voxel size [4, 4, 4] nm is between voxels of the raw, "
        "offset [0, 0, 0] nm at [4, 4, 4] nm; write `offset_nm: [0, 0, 0]` at that array if "
        "both begin at one corner, else the corner of its first voxel"
    ]


def test_no_overlap(make):
    crop = make(labels_at=((4, 4, 4), (8, 0, 0)))
    assert problems_of_crop(crop) == [
        f"crop 'a': raw '{crop.raw.path}/s0' (0:8, 0:12, 0:16 nm) and labels (8:16, 0:12, 0:16 nm) do not overlap; "
        "correct `offset_nm` or `voxel_size_nm` of one of them"
    ]


def test_float_labels(make):
    crop = make(labels=ZEROS.astype(np.float32))
    path = crop.labels[0].arrays["mito"].path
    assert problems_of_crop(crop) == [
        f"crop 'a': labels '{path}': dtype float32; labels must be integers: convert the array"
    ]


def test_class_not_in_the_scheme(make):
    scheme = ClassScheme.of_atoms(["mito", "er"])
    assert problems_of_crop(make(class_name="mitto"), ("er",), scheme=scheme) == [
        "crop 'a': class 'mitto' is not in the scheme; did you mean 'mito'?"
    ]


def test_without_a_scheme_nothing_is_derived_between_classes(store):
    data = np.array([[[1, 0, 255]]], np.uint8)
    labels = (ClassArrays({"mito": store("mito", data), "er": store("er", data * 0 + 255)}),)
    split = Crops(train=(Crop("a", store("raw", data), labels),))
    assert split.class_scheme() == ClassScheme({"mito": (), "er": ()}, overlapping=True)
    (opened,) = split.open("train", ("er",))
    assert opened.read_labels(opened.raw_grid.roi).code.ravel().tolist() == [0, 0, 0]
    exclusive = Crops(train=split.train, scheme=ClassScheme.of_atoms(["mito", "er"]))
    (opened,) = exclusive.open("train", ("er",))
    assert opened.read_labels(opened.raw_grid.roi).code.ravel().tolist() == [ABSENT, 0, 0]


def test_duplicate_names(make):
    one, other = make("a"), make("b")
    crops = (one, other, other)
    split = Crops(train=(crops[0],), validate=crops)
    assert problems_of(lambda: split.open("validate", ("mito",))) == [
        "crop 'b': the name occurs more than once; give each crop its own"
    ]
    assert len(split.open("train", ("mito",))) == 1


def test_empty_parts(make, tmp_path):
    split = Crops(train=(), validate=())
    assert problems_of(lambda: split.open("train", ("mito",))) == [
        "datasplit.train: no crops; list at least one under `train`"
    ]
    assert problems_of(lambda: Folder(str(tmp_path)).open("train", ("mito",))) == [
        f"datasplit.train: no crops; put Zarr groups with raw and labels into '{tmp_path}/train'"
    ]
    assert Crops(train=(make(),)).open("validate", ("mito",)) == ()


def test_crop_without_labels(make):
    assert problems_of_crop(Crop("a", make().raw), scheme=ClassScheme.of_atoms(["mito"])) == [
        "crop 'a': no labels; give at least one label source in `labels`"
    ]


def test_roi_outside_the_volume(make):
    assert problems_of_crop(make(roi_vx=((0, 2), (0, 4), (0, 4)))) == [
        "crop 'a': ROI 0:2,0:4,0:4 is not inside the volume of shape (2, 3, 4) voxels"
    ]


def test_roi_without_labels(make):
    assert problems_of_crop(make(labels=ZEROS[:1], roi_vx=((1, 2), (0, 3), (0, 4)))) == [
        "crop 'a': no labels inside `roi_vx`"
    ]


def test_dtype_that_needs_an_intensity_range(make):
    crop = make(raw=ZEROS.astype(np.uint16))
    assert problems_of_crop(crop) == [
        "crop 'a': raw has the dtype uint16; give `datasplit.intensity_range`, the intensities that become -1 and 1, "
        "or `percentile`"
    ]
    (opened,) = Crops(train=(crop,), intensity_range=(0, 4095)).open("train", ("mito",))
    assert opened.intensity_range == (0, 4095, 1)


def test_mask_that_does_not_fit(make, store):
    mask = store("mask", ZEROS, (4, 4, 6))
    (problem,) = problems_of_crop(make(mask=mask))
    assert problem.startswith(f"crop 'a': mask '{mask.path}/s0': voxel size [4, 4, 6] nm is no whole multiple")


def test_mask_with_channels(make, store):
    mask = store("mask", np.ones((2, 2, 3, 4), np.uint8))
    assert problems_of_crop(make(mask=mask)) == [
        f"crop 'a': mask '{mask.path}': has 2 channels; name one by `channel:` 0 to 1 at the array"
    ]


def test_class_that_no_label_mentions(make):
    assert problems_of_crop(make(), ("mitto",)) == ["class 'mitto' is in the labels of no crop; did you mean 'mito'?"]


def test_validation_has_the_voxel_size_of_training(make):
    train, validate = make("a"), make("b", raw_at=((8, 8, 8),), labels_at=((8, 8, 8),))
    plain = Crop("b", ArrayRef(f"{validate.raw.path}/s0"), validate.labels)
    assert problems_of(lambda: Crops(train=(train,), validate=(plain,)).open("validate", ("mito",))) == [
        f"crop 'b': raw '{plain.raw.path}': voxel size [8, 8, 8] nm, but the first crop or `datasplit.voxel_size_nm` "
        "says [4, 4, 4] nm; resample it or correct its `voxel_size_nm`"
    ]


def test_labels_of_a_pyramid_without_the_level_of_the_raw(make):
    crop = make(labels_at=((8, 4, 4),))
    (opened,) = Crops(train=(crop,)).open("train", ("mito",))
    assert opened.labels[0].grids[0].voxel_size_nm == (8, 4, 4)
    assert opened.read_labels(opened.raw_grid.roi).absent.all()


def test_instance_ids_twice(make, store):
    crop = make()
    ids = tuple(InstanceArray(store(name, ZEROS), "mito") for name in ("one", "two"))
    assert problems_of_crop(Crop("a", crop.raw, ids)) == [
        "crop 'a': class 'mito' has instance ids in 2 arrays; keep one of them"
    ]


def test_all_crops_have_the_voxel_size_of_the_first(make):
    first, second = make("a"), make("b", raw_at=((8, 8, 8),), labels_at=((8, 8, 8),))
    (problem,) = problems_of(lambda: Crops(train=(first, second)).open("train", ("mito",)))
    assert problem.startswith(f"crop 'b': {second.raw.path}")
    assert "[4, 4, 4] nm" in problem
    assert "[8, 8, 8] nm" in problem
    (opened,) = Crops(train=(second,)).open("train", ("mito",))
    assert opened.raw_grid.voxel_size_nm == (8, 8, 8)


def test_plain_raw_array_at_another_voxel_size(make):
    crop = make()
    raw = ArrayRef(f"{crop.raw.path}/s0")
    assert problems_of_crop(Crop("a", raw, crop.labels), voxel_size_nm=(8, 8, 8)) == [
        f"crop 'a': raw '{raw.path}': voxel size [4, 4, 4] nm, but the first crop or `datasplit.voxel_size_nm` says "
        "[8, 8, 8] nm; resample it or correct its `voxel_size_nm`"
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"voxel_size_nm": [4, -4, 4]}, "voxel_size_nm: must be > 0 on every axis, got (4.0, -4.0, 4.0)"),
        ({"intensity_range": [9, 9]}, "intensity_range: must be [low, high] with low < high, got [9.0, 9.0]"),
        ({"cache_mb": -1}, "cache_mb: must be >= 0, got -1"),
        ({"train": [{"name": "a", "raw": "a.zarr", "weight": 0}]}, "train.0.weight: must be > 0, got 0.0"),
    ],
)
def test_wrong_values(fields, problem):
    with pytest.raises(ConfigError) as caught:
        structure({"type": "Crops", "train": [], **fields}, Datasplit)
    assert caught.value.problems == (problem,)


def test_round_trip():
    data = {
        "type": "Crops",
        "scheme": {"classes": {"mito": ["mem"], "mem": []}},
        "train": [
            {
                "name": "a",
                "raw": "${DATA}/a.zarr/raw",
                "labels": [{"type": "ClassArrays", "arrays": {"mito": "${DATA}/a.zarr/mito"}}],
                "roi_vx": [[0, 5], [0, 5], [2, 3]],
                "annotations": {"size_nm": 120.5},
            }
        ],
    }
    split = structure(data, Datasplit)
    assert split.train[0].roi_vx == ((0, 5), (0, 5), (2, 3))
    assert structure(unstructure(split), Datasplit) == split
    folder = structure({"type": "Folder", "path": "${DATA}", "ignore": ["semantic"]}, Datasplit)
    assert structure(unstructure(folder), Datasplit) == folder


def test_folder(store, tmp_path, monkeypatch):
    inst = np.array([[[0, 7, 9]]], np.uint16)
    for group in ("train/b.zarr", "train/a", "validate/c"):
        store(f"{group}/raw", inst.astype(np.uint8))
        store(f"{group}/labels/mito_inst", inst)
        store(f"{group}/labels/er", np.array([[[0, 0, 255]]], np.uint8))
        store(f"{group}/labels/semantic", inst)
    store("train/a/mask", np.array([[[1, 1, 0]]], np.uint8))
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    split = Folder("${MY_DATA}", ignore=("semantic",), unknown=255)
    assert [crop.name for crop in split.crops("train")] == ["a", "b"]
    assert [crop.name for crop in split.crops("validate")] == ["c"]
    assert split.class_scheme() == ClassScheme({"er": (), "mito": ()}, overlapping=True)
    a, b = split.open("train", ("mito", "er"))
    assert a.read_labels(a.raw_grid.roi).code.reshape(2, 3).tolist() == [[ABSENT, PRESENT, 0], [ABSENT, ABSENT, 0]]
    block = b.read_labels(b.raw_grid.roi)
    assert block.code.reshape(2, 3).tolist() == [[ABSENT, PRESENT, PRESENT], [ABSENT, ABSENT, 0]]
    assert block.instances["mito"].ravel().tolist() == [0, 7, 9]


def test_folder_that_does_not_exist(tmp_path):
    assert problems_of(lambda: Folder(str(tmp_path / "none")).open("train", ("mito",))) == [
        f"datasplit.path: no folder '{tmp_path}/none'"
    ]


def test_folder_with_an_array_of_no_class(store, tmp_path):
    for name in ("raw", "labels/mito", "labels/semantic"):
        store(f"train/a/{name}", ZEROS)
    split = Folder(str(tmp_path), scheme=ClassScheme.of_atoms(["mito"]))
    assert problems_of(lambda: split.open("train", ("mito",))) == [
        "crop 'a': class 'semantic' is not in the scheme; it has mito"
    ]


def test_test_crops_are_a_part_of_their_own(make):
    train, validate, test = make("a"), make("b"), make("c", class_name="er")
    split = Crops(train=(train,), validate=(validate,), test=(test,))
    assert [crop.name for crop in split.open("test", ("er",))] == ["c"]
    assert set(split.class_scheme().classes) == {"mito", "er"}


def test_validation_and_test_crops_have_different_names(make):
    crop = make("a")
    split = Crops(train=(crop,), validate=(crop,), test=(crop,))
    assert problems_of(lambda: split.open("test", ("mito",))) == [
        "crop 'a': the name occurs in validate and in test; give each crop its own"
    ]
    assert len(split.open("validate", ("mito",))) == 1


def test_a_list_without_test_crops_has_the_config_that_it_had_before_there_were_any(make):
    split = Crops(train=(make("a"),))
    assert "test" not in unstructure(split)
    assert structure(unstructure(split), Datasplit) == split
