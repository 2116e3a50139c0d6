"""Pictures of runs: loss and score curves, and what a prediction looks like next to the truth.

Colours are those of Okabe and Ito (2008), which people with any kind of colour vision can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.scores import score_named
from dacapo_hd.evaluation.selection import best
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.stores.rows import ScoreRow, StatRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG, MISSED, NOT_KNOWN = "#009E73", "#D55E00", "#56B4E9", "#999999"
LOSS_PREFIX = "loss/"
DPI = 130


@attrs.frozen(eq=False)
class SliceRow:
    """One class in one section, all (y, x).

    `raw` is any intensity; `truth` holds the codes of `LabelBlock`; `prediction` spans `low`..`high`; `segmentation` is
    true or nonzero where the class was found. `pixel_nm` is the edge of a pixel along x, `aspect` y over x.
    """

    title: str
    raw: NDArray[Any]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.float32]
    segmentation: NDArray[Any]
    pixel_nm: float
    low: float = 0.0
    high: float = 1.0
    aspect: float = 1.0


def plot_losses(
    stats_by_run: Mapping[str, Sequence[StatRow]],
    path: str | Path,
    scores_by_run: Mapping[str, Sequence[ScoreRow]] | None = None,
    score: str = "dice",
) -> Path:
    """Draw a panel per loss part, faint values under their running mean, and one with the validation score.

    The score is that of the best segmenter at each iteration, the mean over classes and crops. Returns the path of the
    picture. Raises UserError where it cannot be written.
    """
    parts = sorted({r.name for rows in stats_by_run.values() for r in rows if r.name.startswith(LOSS_PREFIX)})
    scored = {name: _score_curve(rows, score) for name, rows in (scores_by_run or {}).items()}
    scored = {name: curve for name, curve in scored.items() if curve}
    colours = {name: CYCLE[i % len(CYCLE)] for i, name in enumerate({**stats_by_run, **scored})}
    panels = len(parts) + bool(scored)
    figure, axes = _figure(1, max(panels, 1), width=4.6, height=3.6)
    for axis, part in zip(axes[0], parts, strict=False):
        for name, rows in stats_by_run.items():
            _draw_loss(axis, [r for r in rows if r.name == part], colours[name])
        axis.set(title=f"{part.removeprefix(LOSS_PREFIX)} loss", xlabel="iteration", ylabel="loss")
        _scale_losses(axis, stats_by_run, part)
    if scored:
        _draw_scores(axes[0][-1], scored, colours, score)
    handles = [_line(colour, name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), frameon=False)
    return _save(figure, path)


def plot_slices(path: str | Path, rows: Sequence[SliceRow]) -> Path:
    """Draw for each row: raw, ground truth, prediction, and the segmentation against the truth, with a scale bar.

    Returns the path of the picture. Raises UserError where it cannot be written.
    """
    from matplotlib.patches import Patch

    columns = ("raw", "ground truth", "prediction", "segmentation")
    figure, axes = _figure(len(rows), len(columns), width=3.0, height=3.0)
    for line, row in zip(axes, rows, strict=True):
        _draw_row(figure, line, row)
        line[0].set_ylabel(row.title)
        for axis in line:
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title)
    meanings = {RIGHT: "present and found", WRONG: "found, but absent", MISSED: "present, but not found"}
    handles = [Patch(color=colour, label=label) for colour, label in meanings.items()]
    handles.append(Patch(facecolor="white", edgecolor=NOT_KNOWN, hatch="////", label="not annotated"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return _save(figure, path)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    from matplotlib.figure import Figure

    # a Figure without pyplot draws with Agg whatever the display, and leaves no state behind
    figure = Figure(figsize=(width * columns, height * rows + 0.5), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Figure, path: str | Path) -> Path:
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {file}: {error}") from error
    return file


def _line(colour: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, label=label, linewidth=2)


def _draw_loss(axis: Axes, rows: Sequence[StatRow], colour: str) -> None:
    iterations = np.array([row.iteration for row in rows])
    values = np.array([row.value for row in rows])
    if not len(rows):
        return
    axis.plot(iterations, values, color=colour, alpha=0.25, linewidth=0.8)
    axis.plot(iterations, running_mean(values, max(1, len(values) // 25)), color=colour, linewidth=2)


def running_mean(values: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Return the mean of the values up to `half` places before and after each."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    begin, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    found: NDArray[np.float64] = (sums[end] - sums[begin]) / (end - begin)
    return found


def _scale_losses(axis: Axes, stats_by_run: Mapping[str, Sequence[StatRow]], part: str) -> None:
    """Use a logarithmic axis where all values allow it; single outliers below the bulk do not stretch it."""
    values = [row.value for rows in stats_by_run.values() for row in rows if row.name == part]
    low, high = np.percentile(values, 2), max(values)
    if min(values) > 0 and low < high:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.3, high * 1.1)


def _score_curve(rows: Sequence[ScoreRow], score: str) -> list[tuple[int, float]]:
    iterations = sorted({row.iteration for row in rows})
    found = [(i, best([row for row in rows if row.iteration == i], score)) for i in iterations]
    return [(i, one.value) for i, one in found if one is not None]


def _draw_scores(
    axis: Axes, curves: Mapping[str, list[tuple[int, float]]], colours: Mapping[str, str], score: str
) -> None:
    meaning = score_named(score)
    for name, curve in curves.items():
        axis.plot(*zip(*curve, strict=True), color=colours[name], marker="o", markersize=4, linewidth=2)
    better = "higher" if meaning.higher_is_better else "lower"
    unit = f" ({meaning.unit})" if meaning.unit else ""
    axis.set(title=f"validation: {score} ({better} is better)", xlabel="iteration", ylabel=f"{score}{unit}")
    if math.isfinite(meaning.low):
        axis.set_ylim(bottom=meaning.low)
    if math.isfinite(meaning.high):
        axis.set_ylim(top=meaning.high)


def _draw_row(figure: Figure, axes: Sequence[Axes], row: SliceRow) -> None:
    low, high = np.percentile(row.raw, [0.5, 99.5])
    for axis in (axes[0], axes[1], axes[3]):
        axis.imshow(row.raw, cmap="gray", aspect=row.aspect, interpolation="nearest", vmin=low, vmax=high)
    shown = axes[2].imshow(
        row.prediction, cmap="cividis", aspect=row.aspect, interpolation="nearest", vmin=row.low, vmax=row.high
    )
    figure.colorbar(shown, ax=axes[2], fraction=0.046, pad=0.02)
    found, present, known = row.segmentation > 0, row.truth == PRESENT, row.truth != UNKNOWN
    _tint(axes[1], {RIGHT: present}, row.aspect)
    mistakes = {RIGHT: found & present, WRONG: found & (row.truth == ABSENT), MISSED: present & ~found}
    _tint(axes[3], {**mistakes, NOT_KNOWN: found & ~known}, row.aspect)
    for axis in (axes[1], axes[3]):
        if not known.all():
            axis.contourf(~known, levels=[0.5, 1.5], colors="none", hatches=["////"])
    _scale_bar(axes[0], row)


def _tint(axis: Axes, masks: Mapping[str, NDArray[np.bool_]], aspect: float) -> None:
    from matplotlib.colors import to_rgb

    shape = next(iter(masks.values())).shape
    layer = np.zeros((*shape, 4))
    for colour, mask in masks.items():
        layer[mask] = (*to_rgb(colour), 0.5)
    axis.imshow(layer, aspect=aspect, interpolation="nearest")


def _scale_bar(axis: Axes, row: SliceRow) -> None:
    """Draw a bar of a round length, about a quarter of the picture."""
    height, width = row.raw.shape
    wanted = width * row.pixel_nm / 4
    power = 10.0 ** math.floor(math.log10(wanted))
    length = next(step * power for step in (5, 2, 1) if step * power <= wanted)
    x, y = 0.05 * width, 0.93 * height
    for colour, thick in (("black", 5), ("white", 3)):
        axis.plot([x, x + length / row.pixel_nm], [y, y], color=colour, linewidth=thick, solid_capstyle="butt")
    label = f"{length:g} nm" if length < 1000 else f"{length / 1000:g} µm"
    box = {"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1.5}
    axis.text(x, y - 0.03 * height, label, color="white", fontsize=9, va="bottom", bbox=box)
