"""What a phantom promises: same recipe, same bytes; labels that agree with each other; an image that needs learning."""

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dacapo_hd.phantom import CLASSES, INSTANCE_CLASSES, Phantom, PhantomVolume, anatomy, appearance, make, scheme
from dacapo_hd.phantom.scheme import ATOMS, COMPOSITES

SMALL = (12, 40, 48)


def assert_same(one: PhantomVolume, other: PhantomVolume) -> None:
    np.testing.assert_array_equal(one.raw, other.raw)
    np.testing.assert_array_equal(one.semantic, other.semantic)
    assert one.instances.keys() == other.instances.keys()
    for name, ids in one.instances.items():
        np.testing.assert_array_equal(ids, other.instances[name])


def test_same_seed_gives_same_bytes_and_another_seed_others() -> None:
    first, again, other = (make(Phantom(SMALL, seed=seed)) for seed in (3, 3, 4))
    assert_same(first, again)
    assert (first.semantic != other.semantic).mean() > 0.1
    assert (first.raw != other.raw).mean() > 0.9


def test_drawing_in_slabs_makes_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    phantom = Phantom((72, 30, 40), (8.0, 8.0, 8.0), seed=5)
    whole = make(phantom)
    monkeypatch.setattr(anatomy, "SLAB_VOXELS", 1)
    monkeypatch.setattr(appearance, "SLAB_VOXELS", 1)
    pieces = make(phantom)
    np.testing.assert_array_equal(pieces.semantic, whole.semantic)
    for name, ids in whole.instances.items():
        np.testing.assert_array_equal(pieces.instances[name], ids)
    # float32 sums may round differently where vector instructions begin elsewhere
    np.testing.assert_allclose(pieces.raw.astype(int), whole.raw.astype(int), atol=1)


def test_shapes_types_and_ranges(volume: PhantomVolume) -> None:
    assert volume.raw.shape == volume.semantic.shape == (40, 144, 144)
    assert volume.raw.dtype == volume.semantic.dtype == np.uint8
    assert set(np.unique(volume.semantic)) == set(range(1, len(ATOMS) + 1))
    for name in INSTANCE_CLASSES:
        ids = volume.instances[name]
        assert ids.shape == volume.raw.shape
        assert ids.dtype in (np.uint16, np.uint32)
        assert ids.max() < np.iinfo(ids.dtype).max


def test_atoms_partition_the_volume(volume: PhantomVolume) -> None:
    assert np.all(sum(volume.mask(atom).astype(int) for atom in ATOMS) == 1)


def test_composites_are_the_union_of_their_parts(volume: PhantomVolume) -> None:
    for name, parts in COMPOSITES.items():
        union = np.logical_or.reduce([volume.mask(part) for part in parts])
        np.testing.assert_array_equal(volume.mask(name), union)


def test_every_class_is_there_but_none_everywhere(volume: PhantomVolume) -> None:
    fractions = {name: volume.mask(name).mean() for name in CLASSES}
    assert all(0 < fraction < 1 for fraction in fractions.values()), fractions


def test_scheme_names_every_class_and_only_known_parts() -> None:
    found = scheme()
    assert tuple(found) == CLASSES
    assert {part for parts in found.values() for part in parts} <= set(ATOMS)


def test_instances_cover_their_class_exactly(volume: PhantomVolume) -> None:
    for name in INSTANCE_CLASSES:
        np.testing.assert_array_equal(volume.instances[name] > 0, volume.mask(name))


@pytest.mark.parametrize("name", ["cell", "mito", "nuc"])
def test_each_instance_is_one_connected_piece(volume: PhantomVolume, name: str) -> None:
    ids = volume.instances[name]
    pieces = cc3d.connected_components(ids, connectivity=6)
    assert pieces.max() == ids.max() == len(np.unique(ids)) - 1


def test_each_vesicle_is_small_and_inside_one_cell(volume: PhantomVolume) -> None:
    vesicles, cells = volume.instances["ves"], volume.instances["cell"]
    boxes = ndimage.find_objects(vesicles)
    assert len(boxes) == vesicles.max() > 10
    for number, box in enumerate(boxes, start=1):
        assert max(side.stop - side.start for side in box) * 8 <= 2 * 55 + 16
        assert len(np.unique(cells[box][vesicles[box] == number])) == 1


def test_organelles_do_not_touch_the_plasma_membrane(volume: PhantomVolume) -> None:
    around = ndimage.binary_dilation(volume.mask("mito") | volume.mask("nuc"))
    assert not (around & (volume.mask("pm") | volume.mask("ecs"))).any()


def test_membranes_are_darker_than_what_they_enclose(volume: PhantomVolume) -> None:
    grey = {name: float(volume.raw[volume.mask(name)].mean()) for name in ATOMS}
    assert grey["pm"] < grey["cytosol"] - 30
    assert grey["er_mem"] < grey["er_lum"] - 10
    assert grey["ne_mem"] < grey["ne_lum"] - 10
    assert grey["mito_lum"] < grey["cytosol"] - 20


def test_no_intensity_window_segments_mitochondria(volume: PhantomVolume) -> None:
    mito = volume.mask("mito")
    smooth = ndimage.gaussian_filter(volume.raw.astype(np.float32), 2)
    edges = np.arange(40, 220, 8)
    inside = np.array([np.histogram(smooth[mito], edges)[0], np.histogram(smooth[~mito], edges)[0]])
    sums = np.concatenate([np.zeros((2, 1)), inside.cumsum(1)], axis=1)
    windows = [sums[:, b] - sums[:, a] for a in range(len(edges)) for b in range(a + 1, len(edges))]
    best = max(2 * hit / (hit + false + mito.sum()) for hit, false in windows)
    assert best < 0.5


def test_degradation_zero_leaves_no_noise_between_sections() -> None:
    clean, noisy = (make(Phantom(SMALL, seed=1, degradation=d)) for d in (0.0, 1.0))
    np.testing.assert_array_equal(clean.semantic, noisy.semantic)
    steps = [float(np.abs(np.diff(v.raw.astype(float), axis=0)).mean()) for v in (clean, noisy)]
    assert steps[0] < 0.7 * steps[1]


@given(
    shape=st.tuples(*[st.integers(1, 24)] * 3),
    voxel_size=st.tuples(*[st.sampled_from([2.0, 4.6, 8.0, 9.8, 30.0])] * 3),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=8, derandomize=True)
def test_any_shape_and_voxel_size_gives_consistent_labels(
    shape: tuple[int, ...], voxel_size: tuple[float, ...], seed: int
) -> None:
    volume = make(Phantom(shape, voxel_size, seed))
    assert volume.raw.shape == shape
    assert volume.semantic.min() >= 1
    assert volume.semantic.max() <= len(ATOMS)
    for name in INSTANCE_CLASSES:
        np.testing.assert_array_equal(volume.instances[name] > 0, volume.mask(name))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shape_vx": (8, 8)}, "must have 3 values (z, y, x), got 2"),
        ({"shape_vx": (8, 0, 8)}, "must be > 0 on every axis, got (8, 0, 8)"),
        ({"voxel_size_nm": (8.0, -8.0, 8.0)}, "must be > 0 on every axis, got (8.0, -8.0, 8.0)"),
        ({"seed": -1}, "must be >= 0, got -1"),
    ],
)
def test_invalid_recipes_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Phantom(**fields)  # type: ignore[arg-type]
    assert str(error.value) == message
