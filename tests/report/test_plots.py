"""The pictures: they are written, and they show what they are given."""

from pathlib import Path

import attrs
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.report.plots import CYCLE, MISSED, RIGHT, WRONG, SliceRow, plot_losses, plot_slices, running_mean
from dacapo_hd.stores.rows import ScoreRow, StatRow


def pixels(path: Path) -> NDArray[np.float32]:
    return matplotlib.image.imread(path)[..., :3]


def has_colour(image: NDArray[np.float32], colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return bool((np.abs(image - wanted).max(-1) < 0.02).sum() > 20)


def stats(*names: str) -> list[StatRow]:
    return [StatRow(i, f"loss/{name}", 1 / (1 + i), 0.0) for i in range(50) for name in names]


def score(run: str, iteration: int, value: float) -> ScoreRow:
    return ScoreRow(run, "h", "g", 0, iteration, "crop", "{}", "mito", "dice", value, "sha")


def row() -> SliceRow:
    rng = np.random.default_rng(0)
    truth = np.full((40, 60), ABSENT, np.uint8)
    truth[10:30, 10:30] = PRESENT
    segmentation = np.zeros((40, 60), np.uint8)
    segmentation[10:30, 20:45] = 1
    return SliceRow("mito", rng.integers(0, 255, (40, 60)), truth, rng.random((40, 60), np.float32), segmentation, 8.0)


def test_losses_of_each_run_have_its_colour(tmp_path: Path) -> None:
    picture = plot_losses({"a": stats("one_hot", "distance"), "b": stats("one_hot")}, tmp_path / "deep/loss.png")
    image = pixels(picture)
    assert has_colour(image, CYCLE[0])
    assert has_colour(image, CYCLE[1])
    assert not has_colour(image, CYCLE[2])


def test_scores_add_a_panel(tmp_path: Path) -> None:
    runs = {"a": stats("one_hot")}
    without = pixels(plot_losses(runs, tmp_path / "1.png"))
    scores = {"a": [score("a", 10, 0.4), score("a", 20, 0.6)]}
    with_scores = pixels(plot_losses(runs, tmp_path / "2.png", scores))
    assert with_scores.shape[1] > 1.8 * without.shape[1]
    assert has_colour(with_scores[:, without.shape[1] :], CYCLE[0])


def test_losses_without_rows_still_make_a_picture(tmp_path: Path) -> None:
    assert pixels(plot_losses({"a": []}, tmp_path / "loss.png")).std() > 0


def test_running_mean_keeps_constants_and_lines() -> None:
    np.testing.assert_allclose(running_mean(np.full(9, 2.5), 3), 2.5)
    line = np.arange(20.0)
    np.testing.assert_allclose(running_mean(line, 4)[4:-4], line[4:-4])
    np.testing.assert_allclose(running_mean(line, 0), line)


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
