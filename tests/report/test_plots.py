"""The pictures: they are written, and they show what they are given."""

from pathlib import Path

import attrs
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.report.plots import MISSED, RIGHT, WRONG, SliceRow, plot_slices


def pixels(path: Path) -> NDArray[np.float32]:
    return matplotlib.image.imread(path)[..., :3]


def has_colour(image: NDArray[np.float32], colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return bool((np.abs(image - wanted).max(-1) < 0.02).sum() > 20)


def row() -> SliceRow:
    rng = np.random.default_rng(0)
    truth = np.full((40, 60), ABSENT, np.uint8)
    truth[10:30, 10:30] = PRESENT
    segmentation = np.zeros((40, 60), np.uint8)
    segmentation[10:30, 20:45] = 1
    return SliceRow("mito", rng.integers(0, 255, (40, 60)), truth, rng.random((40, 60), np.float32), segmentation, 8.0)


def test_slices_show_right_wrong_and_missed(tmp_path: Path) -> None:
    image = pixels(plot_slices(tmp_path / "s.png", [row()]))
    assert all(has_colour(image, colour) for colour in (RIGHT, WRONG, MISSED))


def test_slices_hatch_what_is_not_annotated(tmp_path: Path) -> None:
    dense = row()
    hidden = attrs.evolve(dense, truth=np.where(np.arange(60) < 50, dense.truth, UNKNOWN).astype(np.uint8))
    one, other = (pixels(plot_slices(tmp_path / f"{n}.png", [r])) for n, r in enumerate([dense, hidden]))
    assert one.shape == other.shape
    different = np.abs(one - other).max(-1) > 0.1
    assert 0.002 < different.mean() < 0.2


def test_more_rows_make_a_taller_picture(tmp_path: Path) -> None:
    one, three = (pixels(plot_slices(tmp_path / f"{n}.png", [row()] * n)) for n in (1, 3))
    assert three.shape[0] > 2.2 * one.shape[0]


def test_unwritable_picture_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write the picture .*file/p\.png: "):
        plot_slices(tmp_path / "file" / "p.png", [row()])
