"""Loss and score curves of groups of runs, with their spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.evaluation.scores import Score, score_named
from dacapo_hd.evaluation.selection import best, outcome
from dacapo_hd.report.plots import CYCLE, new_figure, save_figure
from dacapo_hd.stores.rows import ScoreRow, StatRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats: TypeAlias = NDArray[np.float64]

LOSS_PREFIX = "loss/"
# more than a panel has pixels make a picture large and slow, and no better
POINTS = 500
INCHES_PER_LETTER = 0.085
LETTERS_OF_A_TITLE = 42


@attrs.frozen(eq=False)
class RunRows:
    """What is stored of one run."""

    seed: int
    stats: Sequence[StatRow]
    scores: Sequence[ScoreRow]


@attrs.frozen(eq=False)
class Curve:
    """Values at ascending iterations; `mark` is one more, drawn on its own."""

    iterations: Floats
    values: Floats
    mark: tuple[int, float] | None = None


@attrs.frozen
class _Panel:
    """The curves of each group, one per run."""

    title: str
    label: str
    curves: Mapping[str, Sequence[Curve]]
    score: Score | None = None


def plot_curves(groups: Mapping[str, Sequence[RunRows]], path: str | Path, score: str) -> Path:
    """Draw a panel per loss part, and one with a score.

    `groups` holds runs that differ by the seed alone, by what they are called. Of several, the mean is drawn, with a
    band from the lowest to the highest, up to where the first of them ends. Losses are running means. The score is
    that of the best segmenter at each iteration, the mean over classes and validation crops; a diamond is what the
    best of all scored on test crops. Returns the path of the picture. Raises UserError where it cannot be written, and
    for an unknown score.
    """
    meaning = score_named(score)
    colours = {name: CYCLE[index % len(CYCLE)] for index, name in enumerate(groups)}
    styles = {name: ("-", "--", ":", "-.")[index // len(CYCLE) % 4] for index, name in enumerate(groups)}
    panels = [*_loss_panels(groups), *_score_panels(groups, meaning)]
    figure, axes = new_figure(1, max(len(panels), 1), width=4.6, height=3.6)
    for axis, panel in zip(axes[0], panels, strict=False):
        for name, curves in panel.curves.items():
            _draw(axis, curves, colours[name], styles[name], marker="o" if panel.score else None)
        axis.set(title=fill(panel.title, LETTERS_OF_A_TITLE), xlabel="iteration", ylabel=panel.label)
        _scale(axis, panel)
    labels = [f"{name} ({_counted(runs)})" for name, runs in groups.items()]
    handles = [_handle(*one) for one in zip(labels, colours.values(), styles.values(), strict=True)]
    handles += _explained([curves for panel in panels for curves in panel.curves.values()])
    columns = int(figure.get_figwidth() / (INCHES_PER_LETTER * max(len(one.get_label()) for one in handles) + 0.7))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(max(columns, 1), 3), frameon=False)
    return save_figure(figure, path)


def smoothed(iterations: Floats, values: Floats) -> Curve:
    """Return the running mean over about a 25th of the curve to each side, at no more than `POINTS` iterations."""
    means = running_mean(values, max(1, len(values) // 25))
    last = len(values) - 1
    kept = np.unique(np.linspace(0, last, min(len(values), POINTS)).round().astype(int))
    return Curve(iterations[kept], means[kept])


def running_mean(values: Floats, half: int) -> Floats:
    """Return the mean of the values up to `half` places before and after each."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    begin, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    found: Floats = (sums[end] - sums[begin]) / (end - begin)
    return found


def spread(curves: Sequence[Curve]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return iterations, and at each the mean, lowest and highest value of curves, up to where the first of them ends.

    Between its iterations a curve is a straight line. They are empty where no iteration is common to all.
    """
    begin, end = max(curve.iterations[0] for curve in curves), min(curve.iterations[-1] for curve in curves)
    every = np.unique(np.concatenate([curve.iterations for curve in curves]))
    iterations = every[(every >= begin) & (every <= end)]
    table = np.array([np.interp(iterations, curve.iterations, curve.values) for curve in curves])
    return iterations, table.mean(0), table.min(0), table.max(0)


def score_curve(rows: Sequence[ScoreRow], score: str) -> Curve | None:
    """Return the best segmenter's value on validation crops at each iteration; None where there is none.

    It is marked with what the best of all scored on test crops.
    """
    scored = [row for row in rows if row.score == score]
    by_iteration: dict[int, list[ScoreRow]] = {}
    for row in scored:
        by_iteration.setdefault(row.iteration, []).append(row)
    found = [(iteration, best(by_iteration[iteration], score)) for iteration in sorted(by_iteration)]
    values = [(iteration, one.value) for iteration, one in found if one is not None]
    if not values:
        return None
    reported = outcome(scored, score)
    mark = (reported.chosen.iteration, reported.value) if reported and reported.test else None
    iterations, means = np.array(values, float).T
    return Curve(iterations, means, mark)


def _loss_panels(groups: Mapping[str, Sequence[RunRows]]) -> list[_Panel]:
    curves: dict[str, dict[str, list[Curve]]] = {}
    for name, runs in groups.items():
        for run in runs:
            parts: dict[str, list[tuple[int, float]]] = {}
            for row in run.stats:
                if row.name.startswith(LOSS_PREFIX):
                    parts.setdefault(row.name.removeprefix(LOSS_PREFIX), []).append((row.iteration, row.value))
            for part, points in parts.items():
                curve = smoothed(*np.array(points, float).T)
                curves.setdefault(part, {}).setdefault(name, []).append(curve)
    return [_Panel(f"{part} loss", "loss, running mean", curves[part]) for part in sorted(curves)]


def _score_panels(groups: Mapping[str, Sequence[RunRows]], score: Score) -> list[_Panel]:
    found = {name: [score_curve(run.scores, score.name) for run in runs] for name, runs in groups.items()}
    curves = {name: [curve for curve in some if curve] for name, some in found.items()}
    better = "higher" if score.higher_is_better else "lower"
    unit = f" ({score.unit})" if score.unit else ""
    title = f"{score.name} on selection crops ({better} is better)"
    panel = _Panel(title, f"{score.name}{unit}", {name: some for name, some in curves.items() if some}, score)
    return [panel] if panel.curves else []


def _draw(axis: Axes, curves: Sequence[Curve], colour: str, style: str, marker: str | None) -> None:
    iterations, mean, low, high = spread(curves)
    shared_until = iterations[-1] if len(iterations) else -math.inf
    if len(curves) > 1:
        axis.fill_between(iterations, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.plot(iterations, mean, color=colour, linestyle=style, marker=marker, markersize=4, linewidth=2)
    for curve in curves:
        # what goes on when another run of the group has ended
        alone = curve.iterations >= shared_until
        axis.plot(curve.iterations[alone], curve.values[alone], color=colour, linestyle=style, linewidth=0.8)
        if curve.mark:
            axis.plot(*curve.mark, color=colour, marker="D", markersize=6, markeredgecolor="black", linestyle="")


def _scale(axis: Axes, panel: _Panel) -> None:
    """Use a logarithmic axis for losses where all values allow it; leave out what a score cannot be."""
    if panel.score is None:
        values = np.concatenate([curve.values for curves in panel.curves.values() for curve in curves])
        if values.min() > 0 and values.min() < values.max():
            axis.set_yscale("log")
        return
    low, high = axis.get_ylim()
    margin = 0.02 * (panel.score.high - panel.score.low) if math.isfinite(panel.score.high) else 0.0
    axis.set_ylim(max(low, panel.score.low - margin), min(high, panel.score.high + margin))


def _counted(runs: Sequence[RunRows]) -> str:
    seeds = len({run.seed for run in runs})
    return f"{seeds} seed{'' if seeds == 1 else 's'}"


def _explained(drawn: Sequence[Sequence[Curve]]) -> list[Any]:
    """Make the lines of the legend that say what mean, band and marks are, where there are any."""
    handles = []
    if any(len(curves) > 1 for curves in drawn):
        handles.append(_handle("mean; band: lowest to highest; thin: runs that went on", "grey", "-"))
    if any(curve.mark for curves in drawn for curve in curves):
        handles.append(_handle("the best on test crops", "black", "", marker="D"))
    return handles


def _handle(label: str, colour: str, style: Any, marker: str | None = None) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, marker=marker, label=label, linewidth=2)
