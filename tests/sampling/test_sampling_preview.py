import numpy as np
from matplotlib.image import imread

from dacapo_hd.labels.block import ABSENT
from dacapo_hd.sampling import Sampling
from dacapo_hd.sampling.preview import preview


def test_preview_draws_every_sample(make_crop, window, codes, tmp_path):
    crop = make_crop((40, 40, 40))
    crop.code[:, :, 20:] = 0
    architecture = window((16, 24, 24), (4, 4, 4))
    path = tmp_path / "samples.png"
    preview([crop], codes(), architecture, Sampling(), 0, path, samples=3)
    picture = imread(path)
    assert picture.shape[0] > 3 * 300
    # each sample's raw stands at the left: grey, and not white
    for third in np.array_split(picture[:-50, : picture.shape[1] // 5, :3], 3):
        assert ((third.min(axis=2) == third.max(axis=2)) & (third.max(axis=2) < 0.95)).mean() > 0.3


def test_preview_masks_what_does_not_count(make_crop, window, codes, tmp_path):
    crop = make_crop((40, 40, 40))
    pictures = []
    for value in (ABSENT, 0):
        crop.code[1] = value
        path = tmp_path / f"{value}.png"
        preview([crop], codes(), window(), Sampling(augments=()), 0, path, 1)
        pictures.append(imread(path))
    # the second class's weight turns black, its target hatched
    assert (pictures[1] == 0).mean() > (pictures[0] == 0).mean() + 0.005
    assert not np.array_equal(*pictures)
