"""Pictures of sections: what a prediction looks like next to the truth.

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
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG, MISSED, NOT_KNOWN = "#009E73", "#D55E00", "#56B4E9", "#999999"
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


def plot_slices(path: str | Path, rows: Sequence[SliceRow]) -> Path:
    """Draw for each row: raw, ground truth, prediction, and the segmentation against the truth, with a scale bar.

    Returns the path of the picture. Raises UserError where it cannot be written.
    """
    from matplotlib.patches import Patch

    columns = ("raw", "ground truth", "prediction", "segmentation")
    figure, axes = new_figure(len(rows), len(columns), width=3.0, height=3.0)
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
    return save_figure(figure, path)


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """Make a figure with panels of a width and a height in inches."""
    from matplotlib.figure import Figure

    # a Figure without pyplot draws with Agg whatever the display, and leaves no state behind
    figure = Figure(figsize=(width * columns, height * rows + 0.5), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, and make its folder; UserError where that is not possible."""
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {file}: {error}") from error
    return file


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
