import numpy as np
import pytest
from matplotlib.image import imread

from dacapo_hd.labels.block import ABSENT, PRESENT
from dacapo_hd.sampling import Sampling
from dacapo_hd.sampling.preview import preview
from dacapo_hd.tasks import Affinities, Embeddings, LatentMasks, MaskBranch, OneHot


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


CLASSES = ("mito",)
MASKS = LatentMasks(CLASSES, offsets=((-1, 0, 0),), branches=(MaskBranch(0, (3, 1, 1)),), foreground=False)
ONE = Affinities(CLASSES, offsets=((-1, 0, 0),), foreground=False)


def colours_at(path, column, row, size):
    """Return the colours that fill a panel of `size` cells, with their shares, of at most 64 levels each."""
    picture = np.rint(imread(path)[..., :3] * 255).astype(int) // 4
    left, top = int((column + 0.1) * 150), int((row + 0.2) * 150)
    panel = picture[top : top + int((size - 0.25) * 150), left : left + int((size - 0.12) * 150)]
    colours, counts = np.unique(panel.reshape(-1, 3), axis=0, return_counts=True)
    shares = zip(map(tuple, colours.tolist()), counts / counts.sum(), strict=True)
    return {colour: share for colour, share in shares if share > 0.05}


@pytest.mark.parametrize(
    ("task", "target_row"),
    [(Embeddings(CLASSES), 1), (MASKS, 0), (ONE, None)],
    ids=["embeddings", "masks", "affinities"],
)
def test_preview_gives_each_object_a_colour(task, target_row, make_crop, window, tmp_path):
    code = np.full((1, 12, 24, 24), PRESENT, np.uint8)
    ids = np.broadcast_to(np.repeat(np.array([3, 70000, 3, 41], np.uint32), 6), (12, 24, 24))
    crop = make_crop((12, 24, 24), classes=CLASSES, code=code, ids=ids)
    path = tmp_path / "objects.png"
    preview([crop], task, window((12, 24, 24), (0, 0, 0)), Sampling(augments=()), 0, path, 1)
    labels = colours_at(path, 2, 0, 2)
    assert sorted(labels.values()) == pytest.approx([0.25, 0.25, 0.5], abs=0.04)
    assert all(max(colour) - min(colour) > 10 for colour in labels)
    if target_row is not None:
        assert labels.keys() <= colours_at(path, 4, target_row, 1).keys()


def test_preview_of_other_tasks_shows_classes(make_crop, window, tmp_path):
    code = np.full((1, 12, 24, 24), PRESENT, np.uint8)
    path = tmp_path / "classes.png"
    architecture = window((12, 24, 24), (0, 0, 0))
    crop = make_crop((12, 24, 24), classes=CLASSES, code=code)
    preview([crop], OneHot(CLASSES), architecture, Sampling(augments=()), 0, path, 1)
    assert list(colours_at(path, 2, 0, 2).values()) == pytest.approx([1], abs=0.08)
