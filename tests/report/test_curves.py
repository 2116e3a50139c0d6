"""Curves of groups: what is drawn is the mean, the lowest and the highest of the runs, and the legend says so."""

import re
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.report.curves import Curve, RunRows, plot_curves, running_mean, score_curve, smoothed, spread
from dacapo_hd.report.plots import CYCLE
from dacapo_hd.stores.rows import ScoreRow, StatRow


def pixels(path: Path) -> NDArray[np.float32]:
    return matplotlib.image.imread(path)[..., :3]


def has_colour(image: NDArray[np.float32], colour: str, alpha: float = 1.0, more_than: int = 20) -> bool:
    wanted = [1 - alpha + alpha * int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return bool((np.abs(image - wanted).max(-1) < 0.02).sum() > more_than)


def stats(*names: str, factor: float = 1.0) -> list[StatRow]:
    return [StatRow(i, f"loss/{name}", factor / (1 + i), 0.0) for i in range(50) for name in names]


def score(iteration: int, value: float, segmenter: str = "{}", part: str = "validate") -> ScoreRow:
    return ScoreRow("run", "h", "g", 0, iteration, f"{part}_0", segmenter, "mito", "dice", value, "sha", part)


def curve(iterations: list[float], values: list[float]) -> Curve:
    return Curve(np.array(iterations, float), np.array(values, float))


def test_losses_of_each_group_have_its_colour(tmp_path: Path) -> None:
    groups = {"a": [RunRows(0, stats("one_hot", "distance"), ())], "b": [RunRows(0, stats("one_hot", factor=2), ())]}
    image = pixels(plot_curves(groups, tmp_path / "deep/loss.png", "dice"))
    assert has_colour(image, CYCLE[0])
    assert has_colour(image, CYCLE[1])
    assert not has_colour(image, CYCLE[2])


def test_several_runs_have_a_band_and_one_has_none(tmp_path: Path) -> None:
    runs = [RunRows(seed, stats("one_hot", factor=1 + seed), ()) for seed in range(3)]
    three, one = (pixels(plot_curves({"a": some}, tmp_path / "a.png", "dice")) for some in (runs, runs[:1]))
    assert has_colour(three, CYCLE[0], alpha=0.2, more_than=5000)
    assert not has_colour(one, CYCLE[0], alpha=0.2, more_than=100)


def test_a_run_that_goes_on_alone_is_still_drawn(tmp_path: Path) -> None:
    short, long = (RunRows(seed, stats("one_hot")[:end], ()) for seed, end in enumerate((10, 50)))
    image = pixels(plot_curves({"a": [short, long]}, tmp_path / "a.png", "dice"))
    right = image[:400, image.shape[1] // 2 :]
    assert has_colour(right, CYCLE[0])
    assert not has_colour(right, CYCLE[0], alpha=0.2, more_than=100)


def test_scores_add_a_panel(tmp_path: Path) -> None:
    rows = stats("one_hot")
    without = pixels(plot_curves({"a": [RunRows(0, rows, ())]}, tmp_path / "1.png", "dice"))
    scores = [score(10, 0.4), score(20, 0.6)]
    with_scores = pixels(plot_curves({"a": [RunRows(0, rows, scores)]}, tmp_path / "2.png", "dice"))
    assert with_scores.shape[1] > 1.8 * without.shape[1]
    assert has_colour(with_scores[:, without.shape[1] :], CYCLE[0])


def test_the_legend_says_what_the_band_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # text as text, not as outlines
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    scores = [score(10, 0.4), score(10, 0.3, part="test")]
    groups = {
        "a": [RunRows(seed, stats("one_hot"), scores) for seed in (0, 1)],
        "b": [RunRows(0, stats("one_hot"), ())],
    }
    svg = plot_curves(groups, tmp_path / "c.svg", "dice").read_text()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {
        "a (2 seeds)",
        "b (1 seed)",
        "mean; band: lowest to highest; thin: runs that went on",
        "the best on test crops",
        "dice on selection crops (higher is better)",
        "one_hot loss",
        "loss, running mean",
    } <= set(texts)


def test_no_rows_still_make_a_picture(tmp_path: Path) -> None:
    assert pixels(plot_curves({"a": [RunRows(0, (), ())]}, tmp_path / "loss.png", "dice")).std() > 0


def test_an_unknown_score_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^unknown score 'dise'; did you mean 'dice'\?$"):
        plot_curves({}, tmp_path / "c.png", "dise")


def test_the_spread_is_up_to_where_the_first_ends_with_straight_lines_between() -> None:
    iterations, mean, low, high = spread([curve([0, 10, 20], [0, 10, 0]), curve([0, 20, 30], [4, 4, 9])])
    np.testing.assert_allclose(iterations, [0, 10, 20])
    np.testing.assert_allclose(mean, [2, 7, 2])
    np.testing.assert_allclose(low, [0, 4, 0])
    np.testing.assert_allclose(high, [4, 10, 4])


def test_runs_without_a_common_iteration_are_drawn_alone(tmp_path: Path) -> None:
    assert all(len(values) == 0 for values in spread([curve([10], [1]), curve([20, 30], [4, 5])]))
    runs = [RunRows(seed, (), [score(10 + 10 * seed, 0.4), score(11 + 10 * seed, 0.6)]) for seed in (0, 1)]
    assert has_colour(pixels(plot_curves({"a": runs}, tmp_path / "a.png", "dice")), CYCLE[0])


def test_the_score_curve_is_of_the_best_segmenter_at_each_iteration() -> None:
    rows = [
        score(10, 0.4, "a"),
        score(10, 0.6, "b"),
        score(20, 0.5, "a"),
        score(20, 0.1, "b"),
        score(20, 1.0, "a", "test"),
    ]
    found = score_curve(rows, "dice")
    assert found is not None
    np.testing.assert_allclose(found.iterations, [10, 20])
    np.testing.assert_allclose(found.values, [0.6, 0.5])
    assert found.mark is None, "the best of all, at 10, was not scored on test crops"
    marked = score_curve([*rows, score(10, 0.3, "b", "test")], "dice")
    assert marked is not None and marked.mark == (10, 0.3)
    assert score_curve(rows, "voi") is None


def test_a_long_curve_has_few_points() -> None:
    values = np.sin(np.arange(100_000) / 20_000)
    found = smoothed(np.arange(100_000.0), values)
    assert len(found.values) == 500
    assert (found.iterations[0], found.iterations[-1]) == (0, 99_999)
    np.testing.assert_allclose(found.values[50:-50], values[found.iterations.astype(int)][50:-50], atol=0.01)


def test_running_mean_keeps_constants_and_lines() -> None:
    np.testing.assert_allclose(running_mean(np.full(9, 2.5), 3), 2.5)
    line = np.arange(20.0)
    np.testing.assert_allclose(running_mean(line, 4)[4:-4], line[4:-4])
    np.testing.assert_allclose(running_mean(line, 0), line)
