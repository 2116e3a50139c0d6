"""A picture of augmented samples: raw, known labels, and every target with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.segmentation.base import kind_of
from dacapo_hd.tasks.base import OBJECT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dacapo_hd.architectures.base import Architecture
    from dacapo_hd.datasplits import OpenCrop
    from dacapo_hd.sampling.pipeline import Sample
    from dacapo_hd.sampling.recipe import Windows
    from dacapo_hd.tasks.base import Task

PANEL_INCHES = 1.5
LEGEND_INCHES = 0.5
MAX_PAIRS = 4
UNKNOWN = "#d9d9d9"
PARTLY_KNOWN = "#efefef"
# turning the hue by the golden section keeps those of few objects far apart
HUE_STEP = (5**0.5 - 1) / 2


@attrs.frozen(eq=False)
class Channel:
    """One section of a target's channel: what the network should say, and where that counts."""

    name: str
    value: NDArray[np.float32]
    weight: NDArray[np.float32]


def preview(
    crops: Sequence[OpenCrop],
    task: Task,
    architecture: Architecture,
    sampling: Sampling,
    seed: int,
    path: str | Path,
    samples: int = 4,
) -> None:
    """Draw the first samples of a seed, each in its central section, into an image file.

    Raw with the output window and the labels (hatched where no class is known) stand at the left; then each channel
    of each target with its weight. Where the weight is 0 the target is hatched. Objects have a colour each, also among
    the labels if the task needs instances. Channels that belong to no class are no pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from dacapo_hd.sampling.pipeline import SamplePipeline
    from dacapo_hd.sampling.recipe import Recipe

    recipe = Recipe.of(crops, task, architecture, sampling, seed)
    pipeline = SamplePipeline(recipe)
    made = [pipeline.sample(index) for index in range(samples)]
    rows = _rows(made[0])
    big = max(2, len(rows))
    columns = 2 * big + 2 * max(map(len, rows))
    figure = Figure(((columns + 0.1) * PANEL_INCHES, samples * big * PANEL_INCHES + LEGEND_INCHES))
    FigureCanvasAgg(figure)
    for index, sample in enumerate(made):
        sheet = Sheet(figure, index * big)
        _draw_raw(sheet.panel(0, 0, big), sample, recipe.windows)
        _draw_labels(sheet.panel(big, 0, big), sample, task.needs_instances)
        for line, row in enumerate(_rows(sample)):
            for pair, channel in enumerate(row):
                _draw_target(sheet.panel(2 * (big + pair), line), channel)
                _draw_weight(sheet.panel(2 * (big + pair) + 1, line), channel.weight)
    _legend(figure, [f"{name} without id" if task.needs_instances else name for name in task.classes])
    figure.savefig(path, dpi=100)


@attrs.frozen(eq=False)
class Sheet:
    """A grid of square panels in a figure, from a row of the figure downwards."""

    figure: Figure
    top: int

    def panel(self, column: int, row: int, size: int = 1) -> Axes:
        """Add a panel of `size` by `size` cells without ticks, with room for its title."""
        width, height = self.figure.get_size_inches() / PANEL_INCHES
        left, bottom = column + 0.1, height - self.top - row - size + 0.05
        axes = self.figure.add_axes((left / width, bottom / height, (size - 0.1) / width, (size - 0.22) / height))
        axes.set_xticks([])
        axes.set_yticks([])
        return axes


def _rows(sample: Sample) -> list[list[Channel]]:
    """Arrange the channels of all targets in rows: those that share their weights under one another."""
    rows = []
    for name, target in sample.targets.items():
        section = target.value.shape[1] // 2
        count = len(target.weight)
        channels = [
            Channel(f"{name}: {channel}", target.value[i, section], target.weight[i % count, section])
            for i, channel in enumerate(target.channels)
            if "/" in channel
        ]
        length = min(count, MAX_PAIRS)
        rows += [channels[i : i + length] for i in range(0, len(channels), length)]
    return rows


def _draw_raw(panel: Axes, sample: Sample, windows: Windows) -> None:
    from matplotlib.patches import Rectangle

    section = windows.output.begin[0] + windows.output.shape[0] // 2
    panel.imshow(sample.raw[0, section], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    (_, y, x), (_, height, width) = windows.output.begin, windows.output.shape
    panel.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="#ffb000", linewidth=1.2))
    where = ", ".join(str(v) for v in sample.begin_vx)
    panel.set_title(f"raw of {sample.crop!r}, boxed: output at {where}", fontsize=7, loc="left")


def _draw_labels(panel: Axes, sample: Sample, objects: bool) -> None:
    """Paint the output's section with the colours of the present classes; classes that contain others go below.

    With `objects` voxels that have an id take the colour of their object.
    """
    from matplotlib.colors import to_rgb

    present, known = sample.labels.present, sample.labels.known
    section = known.shape[1] // 2
    picture = np.ones((*known.shape[2:], 3))
    picture[~np.all(known[:, section], axis=0)] = to_rgb(PARTLY_KNOWN)
    order = np.argsort([-code.sum() for code in present])
    for index in order:
        picture[present[index, section]] = to_rgb(_colour(index))
        ids = sample.labels.instances.get(sample.labels.classes[index])
        if objects and ids is not None:
            numbered = present[index, section] & (ids[section] > 0)
            picture[numbered] = _object_colours(np.where(numbered, ids[section], 0))[numbered]
    unknown = ~np.any(known[:, section], axis=0)
    picture[unknown] = to_rgb(UNKNOWN)
    panel.imshow(picture, interpolation="nearest")
    _hatch(panel, unknown)
    panel.set_title("objects of the output" if objects else "labels of the output", fontsize=8)


def _object_colours(numbers: NDArray[Any]) -> NDArray[np.float64]:
    """Return a picture (y, x, 3) of objects (y, x), white where the number is 0.

    The n-th object from the top left has the n-th colour, however objects are numbered.
    """
    from matplotlib.colors import hsv_to_rgb

    found, first, order = np.unique(numbers, return_index=True, return_inverse=True)
    first[found <= 0] = -1
    rank = np.argsort(np.argsort(first))
    hue = rank * HUE_STEP % 1
    colours = hsv_to_rgb(np.stack([hue, np.where(rank % 2, 0.9, 0.6), np.where(rank % 3, 0.9, 0.65)], axis=1))
    colours[found <= 0] = 1
    return colours[order.reshape(numbers.shape)]


def _draw_target(panel: Axes, channel: Channel) -> None:
    from matplotlib.colors import to_rgb

    panel.set_title(channel.name, fontsize=7)
    if kind_of(channel.name) == OBJECT:
        picture = _object_colours(channel.value)
        picture[channel.weight == 0] = to_rgb(UNKNOWN)
        panel.imshow(picture, interpolation="nearest")
        _hatch(panel, channel.weight == 0)
        return
    counted = np.ma.masked_where(channel.weight == 0, channel.value)
    signed = channel.value.min() < 0
    most = 1.0 if signed else max(1.0, float(channel.value.max()))
    panel.set_facecolor(UNKNOWN)
    panel.imshow(
        counted, cmap="RdBu_r" if signed else "viridis", vmin=-1 if signed else 0, vmax=most, interpolation="nearest"
    )
    _hatch(panel, channel.weight == 0)
    if most > 1:
        panel.set_title(f"{channel.name}, up to {most:g}", fontsize=7)


def _draw_weight(panel: Axes, weight: NDArray[np.float32]) -> None:
    panel.imshow(weight, cmap="gray", vmin=0, vmax=max(1.0, float(weight.max())), interpolation="nearest")
    panel.set_title(f"weight, mean {weight.mean():.2g}", fontsize=7)


def _hatch(panel: Axes, mask: NDArray[np.bool_]) -> None:
    if mask.any() and min(mask.shape) > 1:
        drawn = panel.contourf(mask, levels=[0.5, 1.5], colors="none", hatches=["////"])
        drawn.set_edgecolor("#a0a0a0")
        drawn.set_linewidth(0)


def _legend(figure: Figure, classes: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=_colour(index), label=name) for index, name in enumerate(classes)]
    patches.append(Patch(facecolor="white", edgecolor="#a0a0a0", label="all absent"))
    patches.append(Patch(facecolor=PARTLY_KNOWN, edgecolor="#a0a0a0", label="some unknown"))
    patches.append(Patch(facecolor=UNKNOWN, edgecolor="#a0a0a0", hatch="////", label="all unknown; weight 0"))
    figure.legend(handles=patches, loc="lower center", ncols=min(len(patches), 10), fontsize=8, frameon=False)


def _colour(index: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](int(index) % 10)
