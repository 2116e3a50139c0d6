"""What a command means: which checkpoint and segmenter, which volume, where to work."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
import yaml

from dacapo_hd.arrays import ArrayRef, Volume
from dacapo_hd.arrays.naming import IN_MASK, Advice
from dacapo_hd.blockwise import Compute, Local
from dacapo_hd.config import load, structure
from dacapo_hd.datasplits.intensity import IntensityRange, trained_intensities
from dacapo_hd.datasplits.places import swapped
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.selection import best
from dacapo_hd.geometry import Grid, format_nm
from dacapo_hd.inference import newest_checkpoint
from dacapo_hd.prediction.inside import check_mask
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.segmentation.reading import one_voxel, unreadable
from dacapo_hd.tasks.per_class import PerClassTask
from dacapo_hd.tasks.scoring import problems_with_volume

if TYPE_CHECKING:
    from dacapo_hd.manager import RunManager
    from dacapo_hd.run import Run

logger = logging.getLogger(__name__)


def choose(
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


def open_source(
    run: Run, ref: ArrayRef, trained: Mapping[str, Any], intensity_range: tuple[float, float] | None
) -> Volume:
    """Open the volume to predict; UserError if it does not suit what the run was trained on."""
    trained_nm, source = tuple(trained["voxel_size_nm"]), ref.path
    volume = ref.open(wanted_voxel_size_nm=trained_nm)
    if volume.grid.voxel_size_nm != trained_nm:
        raise UserError(
            f"{source}: voxel size {format_nm(volume.grid.voxel_size_nm)}, but run {run.name!r} was trained at "
            f"{format_nm(trained_nm)}; give a pyramid with that level, or resample the volume"
        )
    by_dtype = run.datasplit.intensity_range is None and run.datasplit.intensity == "range"
    if by_dtype and intensity_range is None and str(volume.dtype) != trained["dtype"]:
        low, high, _ = trained_intensities(trained)
        raise UserError(
            f"{source}: the dtype is {volume.dtype}, but run {run.name!r} was trained on {trained['dtype']} with "
            f"intensities {low:g} to {high:g}; give --intensity-range, convert the volume, or train with "
            "datasplit.intensity_range"
        )
    channels = volume.channels or 1
    if channels != run.architecture.in_channels:
        raise UserError(
            f"{source}: {channels} channels, but the network of {run.name!r} takes {run.architecture.in_channels}"
        )
    return volume


def choose_range(
    run: Run, volume: Volume, trained: Mapping[str, Any], given: tuple[float, float] | None
) -> IntensityRange:
    """Return the given range of intensities, else the volume's own if the datasplit says so, else that of training."""
    before = trained_intensities(trained)
    if given is not None:
        return IntensityRange(*given, before.limit)
    if run.datasplit.depends_on_volume:
        return run.datasplit.intensity_range_of(volume)
    return before


def warn_of_copies(run: Run, source: str, grid: Grid) -> None:
    """Warn if all the sections around that the network sees would be copies of the only one."""
    context = run.architecture.context_vx[0]
    if grid.shape_vx[0] == 1 and context > 0:
        logger.warning(
            "%s: a single section, but the network of run %r sees %d more on either side, which are copies of it here; "
            "expect less than in a volume",
            source,
            run.name,
            context,
        )


def require_readable(segmenter: Segmenter, run: Run) -> Mapping[str, np.dtype[Any]]:
    """Let a segmenter that needs what the task does not predict fail before anything is computed.

    Returns the dtype of each class's labels.
    """
    channels = [channel.name for channel in run.task.output_channels()]
    problem = unreadable(segmenter, channels, type(run.task).__name__)
    if problem is not None:
        raise _unsuitable(segmenter, run, problem)
    return {name: labels.dtype for name, labels in segmenter.segment(one_voxel(channels)).labels.items()}


def _unsuitable(segmenter: Segmenter, run: Run, problem: object) -> UserError:
    return UserError(f"{segmenter.label}: does not suit the task of run {run.name!r}: {problem}")


def require_suitable(segmenter: Segmenter, run: Run, grid: Grid) -> None:
    """Let a segmenter fail before anything is computed that the grid of the task could not hold for such a volume."""
    require_readable(segmenter, run)
    task = run.task
    if isinstance(task, PerClassTask):
        # whatever its fields say of each other
        try:
            task = attrs.evolve(task, grid=(segmenter,))
        except ValueError as error:
            raise _unsuitable(segmenter, run, error) from None
    problems = problems_with_volume(task, (segmenter,), run.architecture, grid)
    if problems:
        raise UserError(*problems)


def choose_compute(text: str | None, workers: int | None) -> Compute:
    """Return where to work: `text` is YAML or a YAML file, `workers` replaces how many; raises UserError."""
    if text is None:
        return Local(workers or 1)
    if Path(text).suffix in {".yaml", ".yml"}:
        compute = load(text, Compute)
    else:
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError:
            data = text
        if not isinstance(data, dict):
            raise UserError(f"--compute: expected a YAML file or '{{type: Slurm, workers: 8, ...}}', got {text!r}")
        compute = structure(data, Compute, source="--compute")
    return compute if workers is None else attrs.evolve(compute, workers=workers)  # type: ignore[misc]


@attrs.frozen
class MaskRef(ArrayRef):
    """An array that --mask names."""

    advice: ClassVar[Advice] = IN_MASK


def _mask_ref(text: str) -> MaskRef:
    if not text.lstrip().startswith("{"):
        return MaskRef(text)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        data = None
    if not isinstance(data, dict):
        raise UserError(f"--mask: expected a path, or YAML such as '{{path: mask.tif, axes: zyx}}', got {text!r}")
    return structure(data, MaskRef, source="--mask")


def open_mask(path: str, source: Volume) -> Volume:
    """Open a mask at the source's voxel size where it has such a level, else its finest; UserError if it is none.

    `path` is that of an array, or an ArrayRef in YAML.
    """
    ref = _mask_ref(path)
    try:
        mask = ref.open(wanted_voxel_size_nm=source.grid.voxel_size_nm)
    except UserError:
        mask = ref.open()
    check_mask(mask)
    problem = swapped(mask, source) if ref.axes is None else None
    if problem is not None:
        raise UserError(f"--mask: {path}: {problem}")
    if mask.grid.roi.intersect(source.grid.roi).empty:
        raise UserError(f"--mask: {path} lies at {mask.grid}, outside of {source.path} at {source.grid}")
    return mask
