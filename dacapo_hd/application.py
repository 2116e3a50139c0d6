"""Apply a trained run to a volume: choose the checkpoint, predict, segment, write."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from dacapo_hd.arrays import ArrayRef, Volume, create_volume, open_volume
from dacapo_hd.config import structure
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.selection import best
from dacapo_hd.geometry import Grid, format_box, format_nm, format_shape
from dacapo_hd.prediction.predict import create_prediction, predict, read_prediction
from dacapo_hd.segmentation.base import Prediction, Segmenter
from dacapo_hd.session import load_network, make_predictor, newest_checkpoint
from dacapo_hd.training.progress import BlockProgress

if TYPE_CHECKING:
    from dacapo_hd.manager import RunManager
    from dacapo_hd.run import Run

BLOCK_SHAPE_VX = (128, 256, 256)


def apply_run(
    manager: RunManager,
    name: str,
    source: str,
    output: str,
    *,
    roi: str | None = None,
    iteration: str | int = "best",
    parameters: str | None = None,
    score: str | None = None,
    voxel_size_nm: tuple[float, ...] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Write `OUTPUT/prediction` (uint8) and `OUTPUT/segmentation/CLASS`; returns the paths of what was written.

    `roi` is `z:z,y:y,x:x` in voxels of the source, or in nm with `nm` at the end. `parameters` is a segmenter in YAML,
    by default the best one of the chosen iteration. Raises UserError for anything that does not fit.
    """
    run = manager.load(name)
    chosen, segmenter = _choose(manager, run, iteration, parameters, score)
    chosen, network, saved = load_network(run, manager.store, chosen)
    volume = _open_source(run, source, voxel_size_nm, saved["data"])
    grid = parse_roi(roi, volume.grid)
    _require_readable(segmenter, run)
    _require_free(Path(output), overwrite)
    predictor = make_predictor(run, network)
    provenance = {"run": name, "iteration": chosen, "config_hash": run.config_hash, "source": source}
    prediction = create_prediction(f"{output}/prediction", grid, run.task, overwrite=overwrite, attributes=provenance)
    with BlockProgress(f"predict {name}@{chosen}", "blocks", progress) as bar:
        predict(predictor, volume, prediction, grid.roi, tuple(saved["data"]["intensity_range"]), progress=bar)
    written = [Path(output, "prediction")]
    with BlockProgress(f"segment {segmenter.label}", "blocks", progress) as bar:
        written += _segment(prediction, segmenter, output, overwrite, provenance, bar)
    return written


def parse_roi(text: str | None, grid: Grid) -> Grid:
    """Return the part of a grid that `z:z,y:y,x:x` names; nm are widened to whole voxels; raises UserError."""
    if text is None:
        return grid
    in_nm = text.strip().endswith("nm")
    parts = text.strip().removesuffix("nm").split(",")
    whole = grid.roi.begin, grid.roi.end
    try:
        bounds = [tuple(None if not end.strip() else float(end) for end in part.split(":")) for part in parts]
        if len(bounds) != 3 or any(len(bound) != 2 for bound in bounds):
            raise ValueError
        if any(bound is not None and not math.isfinite(bound) for pair in bounds for bound in pair):
            raise ValueError
    except ValueError:
        raise UserError(f"--roi: expected z:z,y:y,x:x (voxels, or nm with nm at the end), got {text!r}") from None
    begin, end = [], []
    for axis, (low, high) in enumerate(bounds):
        size, corner = grid.voxel_size[axis], grid.offset[axis]
        scale = 1_000_000 if in_nm else size
        zero = 0 if in_nm else corner
        low_fm = whole[0][axis] if low is None else zero + round(low * scale)
        high_fm = whole[1][axis] if high is None else zero + round(high * scale)
        begin.append((low_fm - corner) // size)
        end.append(-((corner - high_fm) // size))
    try:
        return grid.part(begin, end)
    except UserError:
        raise UserError(
            f"--roi: {text} is voxels {format_box(begin, end)}, which is not inside the volume of shape "
            f"{format_shape(grid.shape_vx)} voxels"
        ) from None


def _choose(
    manager: RunManager, run: Run, iteration: str | int, parameters: str | None, score: str | None
) -> tuple[int, Segmenter]:
    """Choose the iteration and the segmenter."""
    score = score or run.task.score
    rows = manager.store.scores(run.name)
    if iteration == "best":
        found = manager.best(run.name, score)
        number = found.iteration
    else:
        if iteration != "latest" and not str(iteration).isdigit():
            raise UserError(f"--iteration: expected best, latest or a number, got {iteration!r}")
        number = newest_checkpoint(run, manager.store) if iteration == "latest" else int(iteration)
        here = [row for row in rows if row.iteration == number]
        found_here = best(here, score) or best(rows, score)
        if parameters is None and found_here is None:
            return number, run.task.segmenters()[0]
        found = found_here  # type: ignore[assignment]
    if parameters is None:
        return number, structure(json.loads(found.segmenter), Segmenter, source="stored segmenter")
    return number, _parse_segmenter(parameters)


def _parse_segmenter(text: str) -> Segmenter:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        data = text
    if not isinstance(data, dict):
        raise UserError(
            f"--parameters: expected a segmenter such as '{{type: Threshold, threshold: 0.1}}', got {text!r}"
        )
    return structure(data, Segmenter, source="--parameters")


def _open_source(run: Run, source: str, voxel_size_nm: tuple[float, ...] | None, trained: Mapping[str, Any]) -> Volume:
    trained_nm = tuple(trained["voxel_size_nm"])
    volume = ArrayRef(path=source, voxel_size_nm=voxel_size_nm).open(wanted_voxel_size_nm=trained_nm)
    if volume.grid.voxel_size_nm != trained_nm:
        raise UserError(
            f"{source}: voxel size {format_nm(volume.grid.voxel_size_nm)}, but run {run.name!r} was trained at "
            f"{format_nm(trained_nm)}; give a pyramid with that level, or resample the volume"
        )
    if run.datasplit.intensity_range is None and str(volume.dtype) != trained["dtype"]:
        low, high = trained["intensity_range"]
        raise UserError(
            f"{source}: the dtype is {volume.dtype}, but run {run.name!r} was trained on {trained['dtype']} with "
            f"intensities {low:g} to {high:g}; convert the volume, or train with datasplit.intensity_range"
        )
    channels = volume.channels or 1
    if channels != run.architecture.in_channels:
        raise UserError(
            f"{source}: {channels} channels, but the network of {run.name!r} takes {run.architecture.in_channels}"
        )
    return volume


def _require_readable(segmenter: Segmenter, run: Run) -> None:
    """Let a segmenter that needs what the task does not predict fail before anything is computed."""
    channels = tuple(channel.name for channel in run.task.output_channels())
    segmenter.segment(Prediction(channels, np.zeros((len(channels), 1, 1, 1), np.float32), (1.0, 1.0, 1.0)))


def _require_free(output: Path, overwrite: bool) -> None:
    """Refuse an existing output before anything is computed, or remove what an earlier `apply` segmented.

    Arrays that `apply` did not write stay: somebody may keep ground truth beside them.
    """
    for part in ("prediction", "segmentation"):
        if (output / part).exists() and not overwrite:
            raise UserError(f"{output / part} exists; give --overwrite to replace it")
    for folder in (output / "segmentation").glob("*/"):
        try:
            ours = "segmenter" in open_volume(str(folder)).attributes
        except UserError:
            continue
        if ours:
            shutil.rmtree(folder)


def _segment(
    prediction: Volume,
    segmenter: Segmenter,
    output: str,
    overwrite: bool,
    provenance: dict[str, object],
    bar: BlockProgress,
) -> list[Path]:
    """Segment block by block where the method looks at single voxels only, else the whole volume at once."""
    grid = prediction.grid
    parts = list(_blocks(grid)) if segmenter.pointwise else [grid]
    targets: dict[str, Volume] = {}
    for number, part in enumerate(parts, start=1):
        found = segmenter.segment(read_prediction(prediction, part.roi))
        for class_name, labels in found.labels.items():
            if class_name not in targets:
                dtype = np.uint32 if found.instances else np.uint8
                attributes = {**provenance, "segmenter": segmenter.label}
                path = f"{output}/segmentation/{class_name}"
                targets[class_name] = create_volume(path, grid, dtype, overwrite=overwrite, attributes=attributes)
            targets[class_name].write(part.roi, labels)
        bar(number, len(parts))
    return [Path(output, "segmentation", class_name) for class_name in targets]


def _blocks(grid: Grid) -> Iterator[Grid]:
    counts = [-(-n // block) for n, block in zip(grid.shape_vx, BLOCK_SHAPE_VX, strict=True)]
    for index in np.ndindex(*counts):
        begin = [i * block for i, block in zip(index, BLOCK_SHAPE_VX, strict=True)]
        end = [min(b + block, n) for b, block, n in zip(begin, BLOCK_SHAPE_VX, grid.shape_vx, strict=True)]
        yield grid.part(begin, end)
