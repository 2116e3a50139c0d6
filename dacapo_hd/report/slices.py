"""Sections of an applied run next to raw and ground truth, ready for `plot_slices`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dacapo_hd.arrays import Volume, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels.block import UNKNOWN
from dacapo_hd.labels.sources import LabelSource
from dacapo_hd.prediction.stored import ATTRIBUTE, read_prediction
from dacapo_hd.report.plots import SliceRow
from dacapo_hd.segmentation.base import kind_of


def read_slices(
    raw: str | Path, labels: Sequence[LabelSource], applied: str | Path, classes: Sequence[str], section: int
) -> list[SliceRow]:
    """Return a row per class of one section (voxels from the first one that was applied).

    `applied` is the output of `dacapo-hd apply`. The prediction shown is the quantity that the segmenter read. Raises
    UserError for a section or a class that is not there.
    """
    prediction = open_volume(str(Path(applied) / "prediction"))
    grid = prediction.grid
    if not 0 <= section < grid.shape_vx[0]:
        raise UserError(f"section {section} is not inside {prediction.path} of {grid.shape_vx[0]} sections")
    shape = (1, *grid.shape_vx[1:])
    part = Grid(shape, grid.voxel_size, grid.roi_of((section, 0, 0), shape).offset)
    image = open_volume(str(raw)).read(part.roi)[0]
    channels = read_prediction(prediction, part.roi)
    ranges = {entry["name"]: (entry["low"], entry["high"]) for entry in prediction.attributes[ATTRIBUTE]}
    truth = _truth(labels, part)
    pixel_nm = grid.voxel_size_nm[2]
    rows = []
    for name in classes:
        segmentation = open_volume(str(Path(applied) / "segmentation" / name))
        channel = _channel(name, channels.channels, segmentation)
        low, high = ranges[channel]
        rows.append(
            SliceRow(
                title=channel,
                raw=image,
                truth=truth.get(name, np.full(shape, UNKNOWN, np.uint8))[0],
                prediction=channels.channel(channel)[0],
                segmentation=segmentation.read(part.roi)[0],
                pixel_nm=pixel_nm,
                low=low,
                high=high,
                aspect=grid.voxel_size_nm[1] / pixel_nm,
            )
        )
    return rows


def _truth(labels: Sequence[LabelSource], part: Grid) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for source in labels:
        opened = source.open(part)
        found |= {name: one.code for name, one in opened.read(part.roi, part).items()}
    return found


def _channel(class_name: str, channels: Sequence[str], segmentation: Volume) -> str:
    found = channel_of(class_name, channels, str(segmentation.attributes.get("segmenter", "")))
    if found is None:
        raise UserError(f"{segmentation.path}: the prediction has no channel of class {class_name!r}")
    return found


def channel_of(class_name: str, channels: Sequence[str], segmenter: str) -> str | None:
    """Return the channel of a class that a segmenter read: the one whose quantity its label names; None without any."""
    own = [name for name in channels if name.rsplit("/", 1)[0] == class_name]
    # whole words: `affinity` is a part of `latent_affinity`
    named = set(re.findall(r"\w+", segmenter))
    return next((name for name in own if kind_of(name) in named), own[0] if own else None)
