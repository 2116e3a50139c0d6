"""`dacapo-hd check`: open everything that a run needs, say what is there and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
from rich.table import Table
from rich.text import Text

from dacapo_hd.architectures.sizes import memory_estimate_bytes, parameter_count
from dacapo_hd.arrays import Volume
from dacapo_hd.datasplits.base import PARTS, Part
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.datasplits.fingerprint import CropFingerprint, fingerprint
from dacapo_hd.datasplits.intensity import Statistics
from dacapo_hd.errors import UserError
from dacapo_hd.examination import examine, scoring_bytes
from dacapo_hd.geometry import format_shape
from dacapo_hd.inference import SCORED, open_scored
from dacapo_hd.prediction.plan import DEFAULT_MEMORY_BYTES, Plan
from dacapo_hd.report.terminal import console, format_bytes
from dacapo_hd.run import Run
from dacapo_hd.starting import find_beginning
from dacapo_hd.stores.base import Store
from dacapo_hd.tasks.base import Lesson
from dacapo_hd.training.device import choose_device

SHOWN_CROPS = 50
# crops whose memory is printed, the largest
SHOWN_MEMORY = 3
SHOWN_LESSONS = 60


@attrs.define
class CheckReport:
    """What a check found; `problems` stop a training, `warnings` may be meant."""

    problems: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)
    crops: dict[Part, list[CropFingerprint]] = attrs.field(factory=dict)
    arrays: dict[Part, list[str]] = attrs.field(factory=dict)
    memory: list[str] = attrs.field(factory=list)
    samples: int = 0
    lessons: tuple[Lesson, ...] = ()


def check_runs(runs: Sequence[Run], store: Store | None = None) -> None:
    """Check runs and print the findings; raises UserError with every problem.

    `store` is where a run that another one starts from is looked for.
    """
    problems: list[str] = []
    for run in runs:
        report = check_run(run, store)
        _print(run, report)
        problems += [problem for problem in report.problems if problem not in problems]
    if problems:
        raise UserError(*problems)


def check_run(run: Run, store: Store | None = None) -> CheckReport:
    """Open a run's data and look for all that would go wrong in training."""
    report = CheckReport()
    for work in (lambda: choose_device(run.trainer.device), lambda: _check_start(run, store)):
        try:
            work()
        except UserError as error:
            report.problems += error.problems
    opened: dict[Part, Sequence[OpenCrop]] = {}
    unopened: list[str] = []
    for part in PARTS:
        try:
            scored = part in SCORED
            crops = open_scored(run, part) if scored else run.datasplit.open(part, run.task.classes, run.seed)
            seen: dict[Volume, Statistics] = {}
            report.crops[part] = [fingerprint(crop, seen=seen) for crop in crops]
        except UserError as error:
            unopened += error.problems
            continue
        opened[part] = crops
        report.arrays[part] = _array_lines(crops, report.crops[part])
        if scored:
            largest = sorted(crops, key=lambda crop: scoring_bytes(run, crop), reverse=True)
            report.memory += [_memory_line(run, part, crop) for crop in largest[:SHOWN_MEMORY]]
            if len(crops) > SHOWN_MEMORY:
                report.memory.append(f"memory: the other {len(crops) - SHOWN_MEMORY} {part} crops take at most as much")
    found = examine(run, opened, report.crops)
    report.problems = list(dict.fromkeys((*report.problems, *found.problems, *unopened)))
    report.warnings += found.warnings
    report.samples, report.lessons = found.samples, found.lessons
    return report


def _memory_line(run: Run, part: Part, crop: OpenCrop) -> str:
    """Say what it takes to score a crop, and to apply the run to its whole image."""
    plan = Plan(run.architecture, run.task, crop.raw, crop.raw_grid.roi, DEFAULT_MEMORY_BYTES)
    try:
        applied = f"about {format_bytes(round(plan.worker_bytes(plan.grid())))}"
    except UserError as error:
        applied = f"more than it has by default ({error})"
    return (
        f"memory: scoring {part} crop {crop.name!r} takes about {format_bytes(round(scoring_bytes(run, crop)))}; "
        f"`apply` to its image takes {applied}"
    )


def _check_start(run: Run, store: Store | None) -> None:
    if run.start is None:
        return
    if store is None:
        raise UserError(f"start: there is no store yet, so no run {run.start.run_for(run.seed)!r}; give --store")
    find_beginning(run, store)


def _array_lines(crops: Sequence[OpenCrop], found: Sequence[CropFingerprint]) -> list[str]:
    """Say how each array was understood, and what becomes of the intensities of raw."""
    lines: dict[str, None] = {}
    for crop, one in list(zip(crops, found, strict=True))[:SHOWN_CROPS]:
        raw, *others = crop.notes
        line = (
            f"{raw}; {one.intensity_range.described()}: "
            f"{one.intensities.share_beyond(one.intensity_range):.1%} are clipped, the 1st to 99th percentiles span "
            f"{one.intensities.span_within(one.intensity_range):.0%} of what is left"
        )
        lines |= dict.fromkeys((line, *others))
    return list(lines)


def _print(run: Run, report: CheckReport) -> None:
    out = console()
    out.rule(f"run {run.name}  (config {run.config_hash})")
    for part, crops in report.crops.items():
        if crops:
            out.print(_crop_table(part, crops))
            for line in report.arrays.get(part, ()):
                out.print(line, highlight=False, soft_wrap=True, markup=False)
    if report.lessons:
        out.print(_lesson_table(report))
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
    for line in report.memory:
        out.print(line, highlight=False, soft_wrap=True, markup=False)
    for warning in report.warnings:
        out.print(f"warning: {warning}", highlight=False, soft_wrap=True, markup=False, style="yellow")
    if not report.problems:
        found = "no problems found" if not report.warnings else "no errors found; see the warnings above"
        out.print(found, style="green" if not report.warnings else "yellow")


def _lesson_table(report: CheckReport) -> Table:
    table = Table("target", "channel", "known", "counts", "present", "absent", "values")
    table.title = f"taught by {report.samples} samples"
    for one in report.lessons[:SHOWN_LESSONS]:
        values = "-" if math.isnan(one.low) else f"{one.low:.3g} to {one.high:.3g}"
        shares = (one.known, one.counted, one.present, one.absent)
        cells = ("-" if math.isnan(share) else f"{share:.1%}" for share in shares)
        table.add_row(Text(one.target), Text(one.channel), *cells, values)
    if len(report.lessons) > SHOWN_LESSONS:
        table.add_row(f"and {len(report.lessons) - SHOWN_LESSONS} more")
    return table


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
