import numpy as np
import pytest

from dacapo_hd.sampling import Defects, Gamma, IntensityScaleShift, Noise


def rng():
    return np.random.default_rng(2)


def raw(sections=6):
    return rng().uniform(-1, 1, (2, sections, 16, 16)).astype(np.float32)


def test_scale_and_shift():
    changed = IntensityScaleShift(scale=(2, 2), shift=(0.5, 0.5)).apply(raw(), rng())
    assert np.allclose(changed, raw() * 2 + 0.5)


def test_gamma_bends_between_fixed_ends_and_keeps_the_order():
    ramp = np.linspace(-1.2, 1.2, 101, dtype=np.float32).reshape(1, 1, 1, 101)
    bent = Gamma(range=(2, 2)).apply(ramp.copy(), rng())
    unit = (ramp + 1) / 2
    assert np.allclose((bent + 1) / 2, np.sign(unit) * unit**2, atol=1e-6)
    assert (np.diff(bent.ravel()) > 0).all()


def test_noise_has_the_drawn_standard_deviation():
    noisy = Noise(sigma=(0.3, 0.3)).apply(np.zeros((1, 20, 50, 50), np.float32), rng())
    assert noisy.std() == pytest.approx(0.3, rel=0.02)
    assert noisy.mean() == pytest.approx(0, abs=0.01)


def only(**chance):
    return Defects(**{"missing": 0.0, "low_contrast": 0.0, "blurred": 0.0, "stripes": 0.0, **chance})


def test_missing_sections_are_black_but_never_the_only_one():
    assert (only(missing=1.0).apply(raw(), rng()) == -1).all()
    assert np.array_equal(only(missing=1.0).apply(raw(1), rng()), raw(1))


def test_low_contrast_keeps_the_mean():
    changed = only(low_contrast=1.0).apply(raw(), rng())
    assert np.allclose(changed.mean((2, 3)), raw().mean((2, 3)), atol=1e-5)
    ratio = changed.std((2, 3)) / raw().std((2, 3))
    assert ((ratio > 0.09) & (ratio < 0.51)).all()


def test_blur_smooths_within_the_section():
    blurred = only(blurred=1.0).apply(raw(), rng())
    assert (blurred.std((2, 3)) < 0.6 * raw().std((2, 3))).all()


def test_stripes_run_along_y():
    added = only(stripes=1.0).apply(raw(), rng()) - raw()
    assert np.allclose(added, added[:, :, :1], atol=1e-5)
    assert (added.std(axis=-1) > 0.01).all()


def test_defects_strike_sections_as_often_as_asked():
    sections = only(missing=0.25).apply(np.zeros((1, 4000, 1, 1), np.float32), rng())
    assert (sections == -1).mean() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("augment", [IntensityScaleShift(), Gamma(), Noise(), Defects(blurred=0.5, stripes=0.5)])
def test_the_generator_alone_decides(augment):
    assert np.array_equal(augment.apply(raw(), rng()), augment.apply(raw(), rng()))
    assert augment.apply(raw(), rng()).dtype == np.float32
