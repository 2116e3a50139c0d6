"""Phantoms on disk, and what hiding annotation does."""

from pathlib import Path

import numpy as np
import pytest

from dacapo_hd.arrays import open_volume
from dacapo_hd.datasplits.folder import Folder
from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.labels.scheme import ClassScheme
from dacapo_hd.phantom import Annotation, Phantom, PhantomCrop, write_phantom, write_phantom_dataset, write_phantoms
from dacapo_hd.phantom.noise import Noise
from dacapo_hd.phantom.options import parse_crop

PHANTOM = Phantom((10, 32, 36), (8.0, 4.6, 4.6), seed=7, offset_nm=(40.0, 2.3, -4.6))


def read(path: Path) -> np.ndarray:
    return open_volume(str(path)).read()


def test_dense_phantom_is_written_as_drawn_with_fractional_voxels(tmp_path: Path) -> None:
    drawn = write_phantom(tmp_path / "p.zarr", PHANTOM)
    raw = open_volume(str(tmp_path / "p.zarr/raw"))
    assert raw.grid == PHANTOM.grid
    np.testing.assert_array_equal(raw.read(), drawn.raw)
    for name in ("mito", "pm", "cell"):
        stored = open_volume(str(tmp_path / f"p.zarr/labels/{name}"))
        assert stored.grid == PHANTOM.grid
        assert stored.attributes["encoding"] == {"absent": 0, "present": 1, "unknown": 255}
        np.testing.assert_array_equal(stored.read(), drawn.mask(name))
    np.testing.assert_array_equal(read(tmp_path / "p.zarr/labels/cell_inst"), drawn.instances["cell"])


def test_hidden_planes_and_boxes_become_unknown(tmp_path: Path) -> None:
    annotation = Annotation(("cell",), every_nth_plane=4, boxes_vx=(((0, 0, 0), (10, 16, 36)),))
    drawn = write_phantom(tmp_path / "p.zarr", PHANTOM, annotation)
    known = np.zeros(PHANTOM.shape_vx, bool)
    known[2::4, :16] = True
    mask, ids = read(tmp_path / "p.zarr/labels/cell"), open_volume(str(tmp_path / "p.zarr/labels/cell_inst"))
    np.testing.assert_array_equal(mask, np.where(known, drawn.mask("cell"), 255))
    unknown = ids.attributes["encoding"]["unknown"]
    assert unknown == np.iinfo(ids.dtype).max
    np.testing.assert_array_equal(ids.read(), np.where(known, drawn.instances["cell"], unknown))


def test_hidden_classes_have_no_array(tmp_path: Path) -> None:
    write_phantom(tmp_path / "p.zarr", PHANTOM, Annotation(("nuc",)))
    assert sorted(p.name for p in (tmp_path / "p.zarr/labels").iterdir() if p.is_dir()) == ["nuc", "nuc_inst"]


def test_thin_crop_keeps_one_plane() -> None:
    assert Annotation(every_nth_plane=50).known((3, 4, 4)).any((1, 2)).tolist() == [False, True, False]


def test_annotation_refuses_unknown_classes_and_boxes_outside() -> None:
    with pytest.raises(UserError, match=r"^unknown class 'mitos'; did you mean 'mito'\?$"):
        Annotation(("mitos",))
    with pytest.raises(UserError) as error:
        Annotation(boxes_vx=(((0, 0, 0), (4, 4, 9)),)).known((4, 4, 8))
    assert str(error.value) == "box 0:4,0:4,0:9 is not inside the phantom of shape (4, 4, 8) voxels"


def test_dataset_follows_the_folder_convention(tmp_path: Path) -> None:
    sparse, exclusive = Annotation(("cell", "nuc"), 5), Annotation(("nuc",))
    train = [PhantomCrop(PHANTOM, sparse), PhantomCrop(PHANTOM, exclusive)]
    file = write_phantom_dataset(tmp_path / "d.zarr", train, [PhantomCrop(PHANTOM)], [PhantomCrop(PHANTOM)])
    split = Folder(scheme=ClassScheme.from_file(str(file)), path=str(tmp_path / "d.zarr"))
    first, second = split.open("train", ("nuc", "mito"))
    code = first.read_labels(first.label_grid.roi).code
    assert (code[:, [0, 1, 3, 4]] == UNKNOWN).all()
    assert (code[0, 2] != UNKNOWN).all()
    nucleus, mito = second.read_labels(second.label_grid.roi).code
    assert (nucleus != UNKNOWN).all()
    assert (nucleus == PRESENT).any()
    # the exclusive class is a true negative of the other, and says nothing elsewhere
    np.testing.assert_array_equal(mito, np.where(nucleus == PRESENT, ABSENT, UNKNOWN))
    (validate,) = split.open("validate", ("nuc", "mito"))
    assert (validate.read_labels(validate.label_grid.roi).code != UNKNOWN).all()
    assert (tmp_path / "d.zarr/test/test_0/raw").is_dir()


def test_options_make_crops_with_rising_seeds(tmp_path: Path) -> None:
    written = write_phantoms(
        tmp_path / "d.zarr", (4, 16, 16), seed=3, crops=["validate/only=pm", "train/every=2", "test"]
    )
    places = ["train/crop_0", "validate/crop_0", "test/test_0"]
    assert [str(p.relative_to(tmp_path / "d.zarr")) for p in written] == places
    assert all((place / "raw").is_dir() for place in written)
    single = write_phantoms(tmp_path / "s.zarr", (4, 16, 16), seed=4)
    np.testing.assert_array_equal(read(single[0] / "raw"), read(written[0] / "raw"))
    assert (tmp_path / "s.zarr/scheme.yaml").is_file()


def test_existing_output_is_kept_unless_overwritten(tmp_path: Path) -> None:
    small = Phantom((2, 8, 8))
    write_phantom(tmp_path / "p.zarr", small, Annotation(("pm",)))
    with pytest.raises(UserError, match="exists; give --overwrite to replace it"):
        write_phantom(tmp_path / "p.zarr", small, Annotation(("pm",)))
    write_phantom(tmp_path / "p.zarr", small, Annotation(("pm",)), overwrite=True)


def test_crop_options_are_read() -> None:
    assert parse_crop("test") == ("test", Annotation())
    part, annotation = parse_crop("train/every=4/only=mito+pm/box=0:2,0:3,1:4/box=2:3,0:1,0:1")
    boxes = (((0, 0, 1), (2, 3, 4)), ((2, 0, 0), (3, 1, 1)))
    assert (part, annotation) == ("train", Annotation(("mito", "pm"), 4, boxes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian", "crop 'trian': unknown part 'trian'; did you mean 'train'?; give PART"),
        ("train/evry=2", "crop 'train/evry=2': unknown option 'evry'; did you mean 'every'?; give PART"),
        ("train/every=two", "crop 'train/every=two': every: expected a whole number, got 'two'"),
        ("train/every=0", "crop 'train/every=0': every: must be > 0, got 0"),
        ("train/only=mto", "crop 'train/only=mto': only: unknown class 'mto'; did you mean 'mito'?"),
        ("train/box=0:2", "crop 'train/box=0:2': box: expected z:z,y:y,x:x, got '0:2'"),
    ],
)
def test_wrong_crop_options_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_crop(text)
    assert str(error.value).startswith(message)


def test_noise_is_standardised_and_seamless() -> None:
    noise = Noise.make(np.random.default_rng(0), (600.0, 600.0, 600.0), 20.0)
    axes = [np.arange(0, 600, 12.0)] * 3
    whole = noise.sample(axes)
    assert abs(whole.mean()) < 0.05
    assert abs(whole.std() - 1) < 0.05
    assert np.abs(whole).max() <= noise.bound
    np.testing.assert_array_equal(noise.sample([axes[0][17:30], *axes[1:]]), whole[17:30])


def test_noise_derivative_matches_differences() -> None:
    noise = Noise.make(np.random.default_rng(1), (80.0, 90.0, 100.0), (10.0, 15.0, 20.0))
    axes = [np.linspace(5, 70, 9)] * 3
    for axis in range(3):
        nudge = (
            [a + 0.05 * (i == axis) for i, a in enumerate(axes)],
            [a - 0.05 * (i == axis) for i, a in enumerate(axes)],
        )
        difference = (noise.sample(nudge[0]).astype(float) - noise.sample(nudge[1])) / 0.1
        np.testing.assert_allclose(noise.sample(axes, derivative=axis), difference, atol=2e-3)
