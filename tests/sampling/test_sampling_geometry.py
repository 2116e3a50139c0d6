import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from dacapo_hd.errors import UserError
from dacapo_hd.sampling import Elastic, Geometry, Mirror, Rotate, Sampling, Scale, Space, Transpose
from dacapo_hd.sampling.boxes import Box
from dacapo_hd.sampling.pipeline import SamplePipeline
from dacapo_hd.sampling.recipe import Recipe
from dacapo_hd.sampling.warp import Warp

SMOOTH = (Mirror(), Transpose(), Rotate(), Scale(), Elastic(spacing_vx=8, sigma_vx=1))


def pipeline(crop, task, architecture, *augments):
    sampling = Sampling(locations="uniform", augments=augments, pad_small_crops=True)
    return SamplePipeline(Recipe.of([crop], task, architecture, sampling, seed=3))


def turned(data, order, flips):
    return np.flip(data.transpose(0, *(1 + axis for axis in order)), [1 + axis for axis in flips])


def orientations():
    for order in itertools.permutations(range(3)):
        for n in range(4):
            for flips in itertools.combinations(range(3), n):
                yield order, flips


def source_voxels(crop, raw):
    """Find where each value of raw stands in the crop, whose values are all different."""
    order = np.argsort(crop.data.ravel())
    found = order[np.searchsorted(crop.data.ravel()[order], raw.ravel())]
    assert np.array_equal(crop.data.ravel()[found], raw.ravel())
    return found


def test_mirrors_and_transpositions_move_voxels_bit_for_bit(make_crop, window, codes):
    crop = make_crop((30, 30, 30), (9, 9, 9), (12, 12, 12))
    plain = pipeline(crop, codes(), window())
    moved = pipeline(crop, codes(), window(), Mirror(), Transpose())
    seen = set()
    for index in range(20):
        before, after = plain.sample(index), moved.sample(index)
        matches = [o for o in orientations() if np.array_equal(turned(before.raw, *o), after.raw)]
        assert len(matches) == 1
        assert np.array_equal(turned(before.labels.code, *matches[0]), after.labels.code)
        ids = turned(before.labels.instances["mito"][None], *matches[0])[0]
        assert np.array_equal(ids, after.labels.instances["mito"])
        for name, target in before.targets.items():
            assert np.array_equal(turned(target.value, *matches[0]), after.targets[name].value)
        seen.add(matches[0])
    assert len(seen) > 10


def test_transposition_of_windows_with_odd_and_even_sides_keeps_raw_and_labels_together(make_crop, window, codes):
    crop = make_crop((40, 40, 40))
    crop.code[:] = crop.code.clip(1)
    moved = pipeline(crop, codes(), window((12, 9, 14), (2, 2, 3)), Mirror(), Transpose())
    for index in range(20):
        sample = moved.sample(index)
        found = source_voxels(crop, sample.raw[0, 2:-2, 2:-2, 3:-3])
        code = sample.labels.code.reshape(2, -1)
        # a turned window may reach beyond the volume, where raw is mirrored and labels are unknown
        inside = code[0] != 0
        assert inside.mean() > 0.5
        assert np.array_equal(crop.code.reshape(2, -1)[:, found[inside]], code[:, inside])
        assert np.array_equal(crop.ids.ravel()[found[inside]], sample.labels.instances["mito"].ravel()[inside])


def test_transposition_leaves_axes_of_another_voxel_size(make_crop, window, codes):
    crop = make_crop((40, 40, 40), voxel_size_nm=(40.0, 4.6, 4.6))
    moved = pipeline(crop, codes(context=8.0), window(), Transpose())
    for index in range(10):
        sections = source_voxels(crop, moved.sample(index).raw[0]).reshape(12, -1) // 1600
        assert (sections == sections[:, :1]).all()


def test_transposition_of_named_axes_with_unequal_voxels_is_refused(make_crop, window, codes):
    crop = make_crop((40, 40, 40), voxel_size_nm=(40.0, 4.0, 4.0))
    moved = pipeline(crop, codes(), window(), Transpose(axes=("z", "y")))
    message = "sampling.augments: Transpose of z, y needs equal voxel sizes, got (40.0, 4.0, 4.0) nm; leave `axes` out"
    with pytest.raises(UserError) as caught:
        moved.sample(0)
    assert str(caught.value) == message


def test_a_geometry_that_moves_nothing_resamples_bit_for_bit(make_crop, window, codes):
    crop = make_crop((30, 30, 30), (9, 9, 9), (12, 12, 12))
    plain = pipeline(crop, codes(), window())
    still = pipeline(crop, codes(), window(), Elastic(sigma_vx=0.0), Scale(1.0, 1.0))
    for index in range(5):
        before, after = plain.sample(index), still.sample(index)
        assert np.array_equal(before.raw, after.raw)
        assert np.array_equal(before.labels.code, after.labels.code)


@pytest.mark.parametrize("voxel_size_nm", [(8.0, 8.0, 8.0), (16.0, 8.0, 4.0)])
@pytest.mark.parametrize("part", [Box((0, 0, 0), (21, 18, 25)), Box((5, 3, 9), (9, 12, 8))])
def test_resampling_agrees_with_the_map_evaluated_at_every_voxel(voxel_size_nm, part):
    rng = np.random.default_rng(5)
    box, twice_centre = Box((0, 0, 0), (21, 18, 25)), (20, 17, 24)
    space = Space(voxel_size_nm, False, tuple(n * v for n, v in zip(box.shape, voxel_size_nm, strict=True)))
    geometry = Geometry()
    for augment in (Mirror(), Rotate(about="any"), Scale(0.8, 1.2), Elastic(spacing_vx=20, sigma_vx=1)):
        geometry = geometry.then(augment.draw(rng, space))
    warp = Warp(geometry, box, twice_centre, voxel_size_nm)
    source = warp.source(part)

    indices = [np.arange(b, b + n) for b, n in zip(part.begin, part.shape, strict=True)]
    axes = [(i - c / 2) * v for i, c, v in zip(indices, twice_centre, voxel_size_nm, strict=True)]
    p = np.stack(np.meshgrid(*axes, indexing="ij"))
    q = np.tensordot(geometry.linear, p, 1) + sum(d.at(axes) for d in geometry.displacements)
    column = (3, 1, 1, 1)
    q = np.tensordot(geometry.orientation, q / np.reshape(voxel_size_nm, column), 1)
    q += np.reshape(twice_centre, column) / 2 - np.reshape(source.begin, column)
    assert (q > -0.2).all() and (q < np.reshape(source.shape, column) - 0.8).all()

    data = rng.uniform(-1, 1, (2, *source.shape)).astype(np.float32)
    smooth = gaussian_filter(data, (0, 2, 2, 2))
    expected = np.stack([map_coordinates(d, q, order=1, mode="nearest") for d in smooth])
    # what remains is the lattice's error on the displacements, some hundredths of a voxel
    assert np.abs(warp.linear(smooth, source, part) - expected).max() < 0.1 * smooth.std()
    codes = rng.integers(0, 2**32, (2, *source.shape), dtype=np.uint32)
    nearest = np.floor(q + 0.5).astype(int).clip(0, np.reshape(source.shape, column) - 1)
    same = warp.nearest(codes, source, part) == codes[:, *nearest]
    assert same.mean() > 0.95


def test_rotation_by_a_right_angle_is_rot90():
    geometry = Geometry(linear=Rotation.from_rotvec([np.pi / 2, 0, 0]).as_matrix())
    box = Box((0, 0, 0), (3, 12, 12))
    warp = Warp(geometry, box, (2, 11, 11), (8.0, 8.0, 8.0))
    source = warp.source(box)
    assert source == box
    data = np.random.default_rng(0).uniform(-1, 1, (1, 3, 12, 12)).astype(np.float32)
    # in (z, y, x) a positive turn about z brings y towards x
    assert np.allclose(warp.linear(data, source, box), np.rot90(data, -1, (2, 3)), atol=1e-5)
    assert np.array_equal(warp.nearest(data, source, box), np.rot90(data, -1, (2, 3)))


def test_rotation_keeps_distances_in_nanometres_on_anisotropic_voxels():
    size = (40.0, 4.0, 4.0)
    geometry = Rotate(about="any").draw(np.random.default_rng(1), Space(size, False, (100.0, 100.0, 100.0)))
    assert np.allclose(geometry.linear @ geometry.linear.T, np.eye(3))
    about_z = Rotate().draw(np.random.default_rng(1), Space(size, False, (100.0, 100.0, 100.0)))
    assert np.allclose(about_z.linear[0], (1, 0, 0)) and not np.allclose(about_z.linear, np.eye(3))


def test_single_sections_stay_in_their_section(make_crop, window, codes):
    crop = make_crop((9, 40, 40))
    crop.data[:] = np.linspace(-1, 1, 9, dtype=np.float32)[None, :, None, None]
    moved = pipeline(crop, codes(), window((1, 16, 16), (0, 2, 2)), *SMOOTH)
    for index in range(12):
        sample = moved.sample(index)
        assert sample.raw.shape == (1, 1, 16, 16)
        assert (sample.raw == crop.data[0, sample.begin_vx[0], 0, 0]).all()


def test_raw_is_mirrored_and_labels_unknown_beyond_the_volume(make_crop, window, codes):
    crop = make_crop((6, 6, 6))
    sample = pipeline(crop, codes(), window((20, 12, 12), (4, 2, 2))).sample(0)
    begin = np.subtract(sample.begin_vx, (4, 2, 2))
    padded = np.pad(crop.data[0], 40, mode="reflect")
    expected = padded[tuple(slice(40 + b, 40 + b + n) for b, n in zip(begin, (20, 12, 12), strict=True))]
    assert np.array_equal(sample.raw[0], expected)
    inside = np.zeros((12, 8, 8), bool)
    inside[tuple(slice(-b, -b + 6) for b in sample.begin_vx)] = True
    assert not sample.labels.code[:, ~inside].any()
    assert np.array_equal(sample.labels.code[:, inside], crop.code.reshape(2, -1))


def test_smooth_deformation_moves_raw_and_labels_alike(make_crop, window, codes):
    crop = make_crop((60, 60, 60))
    smooth = np.sin(np.arange(60) / 5).astype(np.float32)
    crop.data[0] = smooth[:, None, None] * smooth[:, None] * smooth
    crop.code[:] = 1 + (crop.data[0] > 0)
    moved = pipeline(crop, codes(), window((32, 32, 32), (4, 4, 4)), *SMOOTH)
    for index in range(6):
        sample = moved.sample(index)
        raw, code = sample.raw[0, 4:-4, 4:-4, 4:-4], sample.labels.code[0]
        sure = np.abs(raw) > 0.2
        assert sure.any()
        known = sure & (code > 0)
        assert np.array_equal(code[known] == 2, raw[known] > 0)
