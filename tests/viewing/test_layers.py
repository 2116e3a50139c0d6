"""Which layers paths and runs become."""

import h5py
import numpy as np
import pytest
import yaml

from dacapo_hd.arrays import create_volume
from dacapo_hd.config import structure
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.phantom.options import write_phantoms
from dacapo_hd.prediction.stored import ATTRIBUTE
from dacapo_hd.run import Run
from dacapo_hd.viewing import layers_of_paths, layers_of_run
from dacapo_hd.viewing.layers import short_names
from dacapo_hd.viewing.runs import UNKNOWN_ID

GRID = Grid.from_nm((20, 30, 40), (8.5, 4, 4), (2.5, 0, -12))


def make(path, dtype="uint8", data=None, channels=None, **options):
    volume = create_volume(path, GRID, dtype, channels, **options)
    if data is not None:
        volume.write(GRID.roi, data)
    return str(path)


def summary(layers):
    return [(layer.name, "labels" if layer.labels else "image", layer.channel, layer.visible) for layer in layers]


def test_an_applied_run_is_shown_whole(tmp_path):
    """A folder as `apply` writes it: a prediction of several channels, masks and instances."""
    channels = [{"name": "mito", "low": 0, "high": 1}, {"name": "mito distance", "low": -1.5, "high": 1.5}]
    out = tmp_path / "out.zarr"
    make(out / "prediction", channels=2, attributes={ATTRIBUTE: channels}, levels=None, chunk_shape_vx=(8, 8, 8))
    make(out / "segmentation/mito", attributes={"segmenter": "Threshold"})
    make(out / "segmentation/vesicle", "uint32", attributes={"segmenter": "Watershed"})
    raw = make(tmp_path / "raw.zarr", data=np.tile(np.arange(200, dtype=np.uint8), 120).reshape(GRID.shape_vx))
    layers = layers_of_paths([raw, str(out)])
    assert summary(layers) == [
        ("raw.zarr", "image", None, True),
        ("prediction mito", "image", 0, True),
        ("prediction mito distance", "image", 1, False),
        ("mito", "labels", None, True),
        ("vesicle", "labels", None, True),
    ]
    assert [len(layer.levels) for layer in layers] == [1, 4, 4, 1, 1]
    gray, probability, distance, *_ = [layer.shader for layer in layers]
    assert gray == "#uicontrol invlerp normalized(range=[0, 198])\nvoid main() { emitGrayscale(normalized()); }\n"
    assert "// mito: 0 to 1\n" in probability
    assert "float value = float(0) + toNormalized(getDataValue()) * float(1);" in probability
    assert "// mito distance: -1.5 to 1.5\n" in distance
    assert "#uicontrol float low slider(min=-1.5, max=1.5, default=0)\n" in distance
    assert "float value = float(-1.5) + toNormalized(getDataValue()) * float(3);" in distance


@pytest.mark.parametrize(
    ("path", "options", "kind"),
    [
        ("a.zarr", {}, "image"),
        ("a.zarr", {"dtype": "float32"}, "image"),
        ("labels/a.zarr", {}, "labels"),
        ("labels/a.zarr", {"dtype": "float32"}, "image"),
        ("segmentation/a.zarr", {}, "labels"),
        ("a.zarr", {"dtype": "uint64"}, "labels"),
        ("a.zarr", {"dtype": "bool"}, "labels"),
        ("a.zarr", {"attributes": {"encoding": {"unknown": 255}}}, "labels"),
        ("a.zarr", {"levels": 2, "downsampling": "mode"}, "labels"),
        ("a.zarr", {"levels": 2, "downsampling": "mean"}, "image"),
    ],
)
def test_segmentations_are_told_from_images(tmp_path, path, options, kind):
    path = make(tmp_path / path, **options)
    assert [name for _, name, *_ in summary(layers_of_paths([path]))] == [kind]
    assert [name for _, name, *_ in summary(layers_of_paths([], labels=[path]))] == ["labels"]


def test_channels_and_colours(tmp_path):
    rgb = make(tmp_path / "rgb.zarr", channels=3)
    two = make(tmp_path / "two.zarr", "uint16", channels=2, channel_names=["er", "golgi"])
    four = make(tmp_path / "four.zarr", channels=4)
    assert summary(layers_of_paths([rgb, two, four])) == [
        ("rgb.zarr", "image", None, True),
        ("two.zarr er", "image", 0, True),
        ("two.zarr golgi", "image", 1, False),
        ("four.zarr 0", "image", 0, True),
        *((f"four.zarr {n}", "image", n, False) for n in (1, 2, 3)),
    ]
    assert "emitRGB(vec3(toNormalized(getDataValue(0)), " in layers_of_paths([rgb])[0].shader


def test_other_formats_are_shown_too(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=np.zeros((4, 5, 6), np.uint8)).attrs["resolution"] = [4, 4, 4]
    assert summary(layers_of_paths([f"{tmp_path}/a.h5/raw"])) == [("raw", "image", None, True)]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/b.zarr"], ["b.zarr"]),
        (["/a/raw", "/b/raw"], ["a/raw", "b/raw"]),
        (["/a/raw", "/a/raw"], ["/a/raw (0)", "/a/raw (1)"]),
        (["s3://bucket/a/raw", "/x/labels"], ["raw", "labels"]),
        ([], []),
    ],
)
def test_names_are_as_short_as_can_be(paths, names):
    assert short_names(paths) == names


def test_every_path_that_cannot_be_opened_is_named(tmp_path):
    good = make(tmp_path / "a.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        layers_of_paths([f"{tmp_path}/b.zarr", good, f"{tmp_path}/empty"])
    assert error.value.problems == (
        f"no array at {tmp_path}/b.zarr: the deepest existing folder, {tmp_path}, contains a.zarr; "
        "did you mean 'a.zarr'?",
        f"{tmp_path}/empty: contains no arrays",
    )


def test_too_many_arrays_are_an_error(tmp_path):
    for number in range(41):
        create_volume(tmp_path / f"a.zarr/{number}", Grid.from_nm((1, 1, 1), (4, 4, 4)), "uint8")
    with pytest.raises(UserError) as error:
        layers_of_paths([f"{tmp_path}/a.zarr"])
    assert str(error.value) == f"{tmp_path}/a.zarr: 41 arrays are too many to view at once; name up to 40"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on phantoms: one crop to train on, of which every fourth section is annotated, and one to validate on."""
    folder = tmp_path_factory.mktemp("data") / "phantom.zarr"
    write_phantoms(folder, (8, 48, 48), (8.0, 8.0, 8.0), seed=3, crops=["train/every=4", "validate"])
    config = f"""
        name: tiny
        task: {{type: HotDistance, classes: [mito, pm], scale_nm: 40}}
        architecture: {{type: UNet, input_shape_vx: [8, 32, 32], padding: same}}
        datasplit: {{type: Folder, path: {folder}, scheme: {folder}/scheme.yaml}}
        trainer: {{iterations: 6}}
    """
    return structure(yaml.safe_load(config), Run)


def test_a_run_shows_its_crops(run):
    layers = layers_of_run(run)
    assert summary(layers) == [
        ("train/crop_0 raw", "image", None, True),
        ("train/crop_0 mito", "labels", 0, True),
        ("train/crop_0 pm", "labels", 1, True),
        ("validate/crop_0 raw", "image", None, False),
        ("validate/crop_0 mito", "labels", 0, False),
        ("validate/crop_0 pm", "labels", 1, False),
    ]
    raw, mito, *_ = (layer.levels[0] for layer in layers)
    assert raw.grid == mito.grid
    known = mito.read()
    assert known.shape == (2, 8, 48, 48)
    # every fourth section is annotated
    assert [bool((known[0, z] != UNKNOWN_ID).any()) for z in range(8)] == [False, False, True, False] * 2
    assert set(np.unique(known[1])) == {0, 1, UNKNOWN_ID}
    assert set(layers[2].colours) == {1, UNKNOWN_ID}
    part = mito.grid.roi_of((2, 3, 4), (3, 5, 6))
    np.testing.assert_array_equal(mito.read(part), known[:, 2:5, 3:8, 4:10])


def test_crops_are_chosen_by_name(run):
    assert summary(layers_of_run(run, ["validate/crop_0"]))[0] == ("validate/crop_0 raw", "image", None, True)
    assert len(layers_of_run(run, ["crop_0"])) == 6
    with pytest.raises(UserError) as error:
        layers_of_run(run, ["validate/crop_1"])
    assert str(error.value) == "--crop: run 'tiny' has no crop 'validate/crop_1'; did you mean 'validate/crop_0'?"


def test_many_crops_must_be_chosen(run, monkeypatch):
    monkeypatch.setattr("dacapo_hd.viewing.runs.MANY_CROPS", 1)
    with pytest.raises(UserError) as error:
        layers_of_run(run)
    assert str(error.value) == "run 'tiny' has 2 crops; choose some with --crop: train/crop_0, ..."
