"""A picture of augmented samples: raw, known labels, and every target with its weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dacapo_hd.sampling.sampling import Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dacapo_hd.architectures.base import Architecture
    from dacapo_hd.datasplits import OpenCrop
    from dacapo_hd.sampling.pipeline import Sample, Windows
    from dacapo_hd.tasks.base import Target, Task

PANEL_INCHES = 2.2
UNKNOWN = "#d9d9d9"


def preview(
    crops: Sequence[OpenCrop],
    task: Task,
    architecture: Architecture,
    sampling: Sampling,
    seed: int,
    path: str | Path,
    samples: int = 4,
) -> None:
    """Draw the first samples of a seed, one per row, in their central section, into an image file.

    The columns are raw with the output window, the labels (hatched where no class is known), then each channel of
    each target and the weight of that channel; where the weight is 0 the target is masked.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from dacapo_hd.sampling.pipeline import Recipe, SamplePipeline

    recipe = Recipe.of(crops, task, architecture, sampling, seed)
    pipeline = SamplePipeline(recipe)
    made = [pipeline.sample(index) for index in range(samples)]
    columns = 2 + 2 * sum(len(target.channels) for target in made[0].targets.values())
    figure = Figure((columns * PANEL_INCHES, samples * PANEL_INCHES + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(samples, columns, squeeze=False)
    for row, sample in zip(axes, made, strict=True):
        _draw_sample(row, sample, recipe.windows, top=row is axes[0])
    _legend(figure, task.classes)
    figure.savefig(path, dpi=110)


def _draw_sample(row: Sequence[Axes], sample: Sample, windows: Windows, top: bool) -> None:
    for panel in row:
        panel.set_xticks([])
        panel.set_yticks([])
    _draw_raw(row[0], sample, windows)
    _draw_labels(row[1], sample)
    titles = ["raw, output boxed", "labels"]
    panels = iter(row[2:])
    for name, target in sample.targets.items():
        for channel, value, weight in _channels(target):
            _draw_target(next(panels), value, weight)
            _draw_weight(next(panels), weight)
            titles += [f"{name}\n{channel}", "its weight"]
    if top:
        for panel, title in zip(row, titles, strict=True):
            panel.set_title(title, fontsize=8)


def _draw_raw(panel: Axes, sample: Sample, windows: Windows) -> None:
    from matplotlib.patches import Rectangle

    section = windows.output.begin[0] + windows.output.shape[0] // 2
    panel.imshow(sample.raw[0, section], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    (_, y, x), (_, height, width) = windows.output.begin, windows.output.shape
    panel.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="#ffb000", linewidth=1.2))
    where = ", ".join(str(v) for v in sample.begin_vx)
    panel.set_ylabel(f"{sample.crop}\nat voxel {where}", fontsize=7)


def _draw_labels(panel: Axes, sample: Sample) -> None:
    """Paint the raw's section with the colours of the present classes; classes that contain others go below."""
    from matplotlib.colors import to_rgb

    present, known = sample.labels.present, sample.labels.known
    section = known.shape[1] // 2
    picture = np.ones((*known.shape[2:], 3))
    order = np.argsort([-code.sum() for code in present])
    for index in order:
        picture[present[index, section]] = to_rgb(_colour(index))
    unknown = ~np.any(known[:, section], axis=0)
    picture[unknown] = to_rgb(UNKNOWN)
    panel.imshow(picture, interpolation="nearest")
    _hatch(panel, unknown)


def _draw_target(panel: Axes, value: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
    counted = np.ma.masked_where(weight == 0, value)
    low = -1 if counted.count() and counted.min() < 0 else 0
    panel.set_facecolor(UNKNOWN)
    panel.imshow(counted, cmap="RdBu_r" if low < 0 else "viridis", vmin=low, vmax=1, interpolation="nearest")
    _hatch(panel, weight == 0)


def _draw_weight(panel: Axes, weight: NDArray[np.float32]) -> None:
    panel.imshow(weight, cmap="gray", vmin=0, vmax=max(1.0, float(weight.max())), interpolation="nearest")
    panel.set_xlabel(f"{weight.min():.2g} to {weight.max():.2g}, mean {weight.mean():.2g}", fontsize=6)


def _hatch(panel: Axes, mask: NDArray[np.bool_]) -> None:
    if mask.any() and min(mask.shape) > 1:
        drawn = panel.contourf(mask, levels=[0.5, 1.5], colors="none", hatches=["////"])
        drawn.set_edgecolor("#a0a0a0")
        drawn.set_linewidth(0)


def _channels(target: Target) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
    """Yield each channel's name and the central sections of its value and weight."""
    section = target.value.shape[1] // 2
    for index, name in enumerate(target.channels):
        yield name, target.value[index, section], target.weight[index % len(target.weight), section]


def _legend(figure: Any, classes: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=_colour(index), label=name) for index, name in enumerate(classes)]
    patches.append(Patch(facecolor="white", edgecolor="#a0a0a0", label="absent"))
    patches.append(Patch(facecolor=UNKNOWN, edgecolor="#a0a0a0", hatch="////", label="unknown, or weight 0"))
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 8), fontsize=8, frameon=False)


def _colour(index: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](int(index) % 10)
