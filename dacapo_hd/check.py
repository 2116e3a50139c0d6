"""`dacapo-hd check`: open everything that a run needs, say what is there and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
from rich.table import Table

from dacapo_hd.architectures.sizes import memory_estimate_bytes, parameter_count
from dacapo_hd.arrays import Volume
from dacapo_hd.datasplits.base import PARTS
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.datasplits.fingerprint import CropFingerprint, fingerprint, unknown_everywhere
from dacapo_hd.datasplits.intensity import Statistics
from dacapo_hd.datasplits.places import shared_voxels
from dacapo_hd.errors import UserError, said_once
from dacapo_hd.evaluation.scores import score_named
from dacapo_hd.geometry import format_shape
from dacapo_hd.inference import SCORED, open_scored
from dacapo_hd.report.terminal import console
from dacapo_hd.run import Run
from dacapo_hd.sampling.pipeline import SamplePipeline
from dacapo_hd.sampling.recipe import Recipe, untaught
from dacapo_hd.training.device import choose_device

SHOWN_CROPS = 50
# of the intensities where labels are: a share that is clipped, a part of the range that they span
MOSTLY = 0.5
LITTLE_CONTRAST = 0.02


@attrs.define
class CheckReport:
    """What a check found; `problems` stop a training, `warnings` may be meant."""

    problems: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)
    crops: dict[str, list[CropFingerprint]] = attrs.field(factory=dict)
    arrays: dict[str, list[str]] = attrs.field(factory=dict)


def check_runs(runs: Sequence[Run]) -> None:
    """Check runs and print the findings; raises UserError with every problem."""
    problems: list[str] = []
    for run in runs:
        report = check_run(run)
        _print(run, report)
        problems += [problem for problem in report.problems if problem not in problems]
    if problems:
        raise UserError(*problems)


def check_run(run: Run) -> CheckReport:
    """Open a run's data and look for all that would go wrong in training."""
    report = CheckReport()
    try:
        choose_device(run.trainer.device)
    except UserError as error:
        report.problems += error.problems
    opened_parts: dict[str, Sequence[OpenCrop]] = {}
    for part in PARTS:
        try:
            scored = part in SCORED
            opened = open_scored(run, part) if scored else run.datasplit.open(part, run.task.classes, run.seed)
        except UserError as error:
            report.problems += [problem for problem in error.problems if problem not in report.problems]
            continue
        opened_parts[part] = opened
        seen: dict[Volume, Statistics] = {}
        try:
            report.crops[part] = [_fingerprint(crop, report, seen) for crop in opened]
        except UserError as error:
            # an array that opens may be damaged further inside
            report.problems += error.problems
            continue
        report.arrays[part] = _array_lines(opened, report.crops[part])
        report.warnings += said_once((f"crop {crop.name!r}", warning) for crop in opened for warning in crop.warnings)
        _check_part(run, part, opened, report)
    for part in ("validate", "test"):
        report.warnings += shared_voxels(opened_parts.get("train", ()), opened_parts.get(part, ()), part)
    return report


def _array_lines(crops: Sequence[OpenCrop], found: Sequence[CropFingerprint]) -> list[str]:
    """Say how each array was understood, and what becomes of the intensities of raw."""
    lines: dict[str, None] = {}
    for crop, one in list(zip(crops, found, strict=True))[:SHOWN_CROPS]:
        low, high, limit = one.intensity_range
        deviations = "" if limit == 1 else f" (z-scores, clipped at {limit:g})"
        raw, *others = crop.notes
        line = (
            f"{raw}; intensities {low:.4g} to {high:.4g} become -1 to 1{deviations}: "
            f"{one.intensities.share_beyond(one.intensity_range):.1%} are clipped, the 1st to 99th percentiles span "
            f"{one.intensities.span_within(one.intensity_range):.0%} of what is left"
        )
        lines |= dict.fromkeys((line, *others))
    return list(lines)


def _fingerprint(crop: OpenCrop, report: CheckReport, seen: dict[Volume, Statistics]) -> CropFingerprint:
    found = fingerprint(crop, seen=seen)
    count = found.intensities.nonfinite_count
    if count:
        report.problems.append(
            f"crop {crop.name!r}: {count} voxels of raw are NaN or infinite; replace them by numbers"
        )
    else:
        _check_intensities(crop, found, report)
    if found.contradiction_count:
        share = found.contradiction_count / math.prod(found.label_shape_vx)
        report.warnings.append(
            f"crop {crop.name!r}: annotations contradict the scheme at {found.contradiction_count} voxels "
            f"({share:.2%}), for example two classes present that exclude each other; there present wins over absent"
        )
    return found


def _check_intensities(crop: OpenCrop, found: CropFingerprint, report: CheckReport) -> None:
    """Look for raw that shows nothing, as a whole, where labels are, or once it is clipped."""
    raw, chosen, part = f"crop {crop.name!r}: raw {crop.raw.path!r}", found.intensity_range, found.annotated
    low, _, high = part.percentiles
    clipped, span = part.share_beyond(chosen), part.span_within(chosen)
    limits = f"{chosen.low:.4g} to {chosen.high:.4g}"
    if part.least == part.greatest:
        where = (
            "everywhere" if found.intensities.least == found.intensities.greatest else "everywhere in the labelled box"
        )
        report.problems.append(
            f"{raw}: is {part.least:g} {where}, so that there is nothing to see; correct its path, or fetch or write "
            "the chunks that are missing"
        )
    elif low < high and span == 0:
        report.problems.append(
            f"{raw}: {clipped:.0%} of its intensities lie outside of {limits} and become one value; set "
            f"`datasplit.intensity_range: [{low:g}, {high:g}]` (its 1st and 99th percentiles), or `percentile`"
        )
    elif clipped > MOSTLY:
        report.warnings.append(
            f"{raw}: {clipped:.0%} of its intensities lie outside of {limits} and are clipped; set "
            f"`datasplit.intensity_range: [{low:g}, {high:g}]` (its 1st and 99th percentiles), or `percentile`"
        )
    elif span < LITTLE_CONTRAST:
        report.warnings.append(
            f"{raw}: is nearly constant: its 1st and 99th percentiles, {low:g} and {high:g}, span {span:.1%} of "
            f"{limits}; set `datasplit.intensity_range: percentile`, or correct its path"
        )


def _check_part(run: Run, part: str, crops: Sequence[OpenCrop], report: CheckReport) -> None:
    """Look at what only shows when data, task and network are put together."""
    if not crops and part == "validate":
        report.warnings.append("datasplit.validate: no crops, so training will store no scores")
    unknown = untaught(run.task, crops) if part == "train" else unknown_everywhere(crops)
    for class_name in unknown:
        message = f"datasplit.{part}: no voxel of {class_name!r} is known in any crop"
        if part == "train":
            report.warnings.append(f"{message}; `train` will refuse this")
        else:
            report.warnings.append(f"{message}, so it will have no scores")
    if part == "train":
        _check_presence(run, report)
    if part == "validate":
        _check_scoring(run, crops, report)
    if crops and part == "train":
        try:
            recipe = Recipe.of(crops, run.task, run.architecture, run.trainer.sampling, run.seed)
            SamplePipeline(recipe).sample(0)
        except UserError as error:
            report.problems += error.problems


def _check_scoring(run: Run, crops: Sequence[OpenCrop], report: CheckReport) -> None:
    """Warn of scores that will be undefined or say nothing."""
    score = run.task.score
    if score_named(score).of_instances:
        with_ids = {name for crop in crops for name in crop.instance_classes}
        report.warnings += [
            f"datasplit.validate: no crop has instance ids of {name!r}, so that {score}, by which checkpoints are "
            f"chosen, is undefined; give ids (InstanceArray, or labels/{name}_inst in a folder), or set task.best_by"
            for name in run.task.classes
            if crops and name not in with_ids
        ]
    edge_nm = max((min(crop.raw_grid.voxel_size_nm) for crop in crops), default=0.0)
    if run.trainer.tolerance_nm < edge_nm:
        report.warnings.append(
            f"trainer.tolerance_nm: {run.trainer.tolerance_nm:g} is less than a voxel ({edge_nm:g} nm), so that "
            "f1_tolerance and the cremi scores forgive nothing; set about two voxels"
        )


def _check_presence(run: Run, report: CheckReport) -> None:
    """Warn of classes that are annotated, but nowhere present."""
    for class_name in run.task.classes:
        found = [crop.fractions[class_name] for crop in report.crops["train"]]
        if found and all(share.present == 0 for share in found) and any(share.absent > 0 for share in found):
            report.warnings.append(f"datasplit.train: {class_name!r} is present in no crop")


def _print(run: Run, report: CheckReport) -> None:
    out = console()
    out.rule(f"run {run.name}  (config {run.config_hash})")
    for part, crops in report.crops.items():
        if crops:
            out.print(_crop_table(part, crops))
            for line in report.arrays[part]:
                out.print(line, highlight=False, soft_wrap=True, markup=False)
    shape = run.architecture.input_shape_vx
    output = run.architecture.output_shape_vx(shape)
    memory = memory_estimate_bytes(run.architecture, run.trainer.batch_size, run.task)
    parameters = parameter_count(run.architecture, run.task)
    out.print(
        f"network {type(run.architecture).__name__}: input {format_shape(shape)} -> output {format_shape(output)} vx, "
        f"context {format_shape(run.architecture.context_vx)} vx; {parameters:,} parameters; about "
        f"{memory / 1e9:.2f} GB for a batch of {run.trainer.batch_size}",
        highlight=False,
        soft_wrap=True,
    )
    least = f", at least {format_shape(run.task.context_vx)} vx" if any(run.task.context_vx) else ""
    out.print(
        f"task {type(run.task).__name__}: classes {', '.join(run.task.classes)}; "
        f"labels are seen {run.task.context_nm:g} nm beyond the output{least}",
        highlight=False,
        soft_wrap=True,
    )
    for warning in report.warnings:
        out.print(f"warning: {warning}", highlight=False, soft_wrap=True, markup=False, style="yellow")
    if not report.problems:
        found = "no problems found" if not report.warnings else "no errors found; see the warnings above"
        out.print(found, style="green" if not report.warnings else "yellow")


def _crop_table(part: str, crops: Sequence[CropFingerprint]) -> Table:
    table = Table(
        "crop", "raw shape (vx)", "voxel size (nm)", "intensity 1/50/99%", "class", "present", "absent", "unknown"
    )
    table.title = part
    for crop in crops[:SHOWN_CROPS]:
        first = True
        for class_name, (present, absent, unknown) in crop.fractions.items():
            head = (
                (
                    crop.name,
                    format_shape(crop.shape_vx),
                    ", ".join(f"{size:g}" for size in crop.voxel_size_nm),
                    " / ".join(f"{value:.4g}" for value in crop.intensities.percentiles),
                )
                if first
                else ("", "", "", "")
            )
            table.add_row(*head, class_name, f"{present:.1%}", f"{absent:.1%}", f"{unknown:.1%}")
            first = False
    if len(crops) > SHOWN_CROPS:
        table.add_row(f"and {len(crops) - SHOWN_CROPS} more")
    return table
