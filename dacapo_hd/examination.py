"""What a run would be taught and how it would be scored: errors and warnings that `check` and `train` share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from dacapo_hd.architectures.sizes import bytes_per_input_voxel, memory_estimate_bytes
from dacapo_hd.blockwise.memory import usable_bytes
from dacapo_hd.datasplits.base import Part
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.datasplits.fingerprint import CropFingerprint, unknown_everywhere
from dacapo_hd.datasplits.places import shared_voxels
from dacapo_hd.errors import UserError, said_once
from dacapo_hd.evaluation.scores import score_named
from dacapo_hd.prediction.predict import MEMORY_BYTES
from dacapo_hd.run import Run
from dacapo_hd.sampling.lessons import lessons
from dacapo_hd.sampling.recipe import Recipe, untaught
from dacapo_hd.segmentation.base import InstanceSegmenter
from dacapo_hd.tasks.base import Circumstances, Lesson
from dacapo_hd.training.device import choose_device

# of the intensities where labels are: a share that is clipped, a part of the range that they span
MOSTLY = 0.5
NEARLY_ALL = 0.98
LITTLE_CONTRAST = 0.02
# a labelled box of fewer voxels says nothing of an image
FEW_VX = 64
# of the voxels that are known: less that counts is probably a mistaken setting
LITTLE_TAUGHT = 0.2
# per voxel: a segmentation, and what scores and objects are counted in
WORKING_BYTES = 24

Figures = Mapping[Part, Sequence[CropFingerprint]]
SCORED_PARTS: tuple[Part, ...] = ("validate", "test")


@attrs.define
class Findings:
    """`problems` stop a training, `warnings` may be meant; `lessons` are those of `samples` samples."""

    problems: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)
    samples: int = 0
    lessons: tuple[Lesson, ...] = ()


def examine(run: Run, opened: Mapping[Part, Sequence[OpenCrop]], figures: Figures) -> Findings:
    """Look at the opened crops of a run's parts, with their figures, as they are put together for training."""
    found = Findings()
    _examine_memory(run, found)
    for part, crops in opened.items():
        blank = [one.annotated.least == one.annotated.greatest for one in figures[part]]
        for crop, one in zip(crops, figures[part], strict=True):
            _examine_crop(run, crop, one, all(blank), found)
        found.warnings += said_once((f"crop {crop.name!r}", text) for crop in crops for text in crop.warnings)
    train = opened.get("train", ())
    if train:
        _examine_classes(run, train, figures["train"], found)
        if not found.problems:
            _examine_lessons(run, train, figures["train"], found)
    if "validate" in opened:
        _examine_scoring(run, opened["validate"], figures["validate"], found)
    for part in SCORED_PARTS:
        _examine_scored(run, part, opened.get(part, ()), found)
        found.warnings += shared_voxels(train, opened.get(part, ()), part)
    return found


def _examine_memory(run: Run, found: Findings) -> None:
    needed = memory_estimate_bytes(run.architecture, run.trainer.batch_size, run.task)
    try:
        on_cpu = choose_device(run.trainer.device).type == "cpu"
    except UserError:
        # said by whoever opened the run
        return
    if on_cpu and needed > usable_bytes() > 0:
        found.problems.append(
            f"trainer.batch_size: a batch of {run.trainer.batch_size} takes about {needed / 1e9:.3g} GB, but this "
            f"machine has {usable_bytes() / 1e9:.3g} GB; lower it, or make architecture.input_shape_vx smaller"
        )


def scoring_bytes(run: Run, crop: OpenCrop) -> float:
    """Estimate what scoring a crop holds at once: prediction, labels, what a segmenter works with, and one block."""
    channels, voxels = len(run.task.output_channels()), math.prod(crop.label_grid.shape_vx)
    segmenters = [segmenter for segmenter in run.task.segmenters() if isinstance(segmenter, InstanceSegmenter)]
    own = max((segmenter.bytes_per_channel for segmenter in segmenters), default=0)
    labels = crop.memory()["labels"] / max(voxels, 1)
    block = bytes_per_input_voxel(run.architecture, run.task) * math.prod(crop.raw_grid.shape_vx)
    return voxels * ((4 + own) * channels + labels + WORKING_BYTES) + min(block, MEMORY_BYTES)


def _examine_scored(run: Run, part: Part, crops: Sequence[OpenCrop], found: Findings) -> None:
    """Look for crops that this machine has too little memory to score."""
    for crop in crops:
        needed = scoring_bytes(run, crop)
        if needed > usable_bytes() > 0:
            found.warnings.append(
                f"datasplit.{part}: scoring crop {crop.name!r} takes about {needed / 1e9:.3g} GB, but this machine has "
                f"{usable_bytes() / 1e9:.3g} GB; limit it by `roi_vx`, or give smaller crops"
            )


def _examine_crop(run: Run, crop: OpenCrop, figures: CropFingerprint, all_blank: bool, found: Findings) -> None:
    count = figures.intensities.nonfinite_count
    if count:
        found.problems.append(f"crop {crop.name!r}: {count} voxels of raw are NaN or infinite; replace them by numbers")
    else:
        _examine_intensities(run, crop, figures, all_blank, found)
    if figures.contradiction_count:
        share = figures.contradiction_count / math.prod(figures.label_shape_vx)
        found.warnings.append(
            f"crop {crop.name!r}: annotations contradict the scheme at {figures.contradiction_count} voxels "
            f"({share:.2%}), for example two classes present that exclude each other; there present wins over absent"
        )


def _examine_intensities(run: Run, crop: OpenCrop, figures: CropFingerprint, all_blank: bool, found: Findings) -> None:
    """Look for raw that shows nothing, as a whole, where labels are, or once it is clipped.

    A blank crop is an error if all are: one section among many may be lost.
    """
    raw, chosen, part = f"crop {crop.name!r}: raw {crop.raw.path!r}", figures.intensity_range, figures.annotated
    low, _, high = part.percentiles
    clipped, span = part.share_beyond(chosen), part.span_within(chosen)
    limits = f"{chosen.low:.4g} to {chosen.high:.4g}"
    if low < high and not run.datasplit.depends_on_volume:
        advice = f"set `datasplit.intensity_range: [{low:g}, {high:g}]` (its 1st and 99th percentiles), or `percentile`"
    else:
        advice = f"set `datasplit.intensity_range: [{part.least:g}, {part.greatest:g}]` (all that there is)"
    if math.prod(figures.label_shape_vx) < FEW_VX:
        return
    if part.least == part.greatest:
        whole = figures.intensities
        where = "everywhere" if whole.least == whole.greatest else "everywhere in the labelled box"
        chosen_list = found.problems if all_blank else found.warnings
        chosen_list.append(
            f"{raw}: is {part.least:g} {where}, so that there is nothing to see; correct its path, or fetch or write "
            "the chunks that are missing"
        )
    elif span == 0 and clipped > NEARLY_ALL:
        found.problems.append(
            f"{raw}: {clipped:.0%} of its intensities lie outside of {limits} and become one value; {advice}"
        )
    elif clipped > MOSTLY:
        found.warnings.append(
            f"{raw}: {clipped:.0%} of its intensities lie outside of {limits} and are clipped; {advice}"
        )
    elif span < LITTLE_CONTRAST:
        found.warnings.append(
            f"{raw}: is nearly constant: its 1st and 99th percentiles, {low:g} and {high:g}, span {span:.1%} of "
            f"{limits}; {advice}, or correct its path"
        )


def _examine_classes(run: Run, crops: Sequence[OpenCrop], figures: Sequence[CropFingerprint], found: Findings) -> None:
    """Look for classes of which training crops show nothing, or nothing else."""
    unknown = untaught(run.task, crops)
    if unknown:
        found.problems.append(
            f"no training crop knows a voxel of {', '.join(map(repr, unknown))}; annotate some, or remove the class "
            "from task.classes"
        )
    by_sizes = {name for crop in crops for name in run.task.taught_by(crop)}
    nowhere: list[str] = []
    everywhere: list[str] = []
    for name in run.task.classes:
        shares = [one.fractions[name] for one in figures]
        present, absent = any(one.present > 0 for one in shares), any(one.absent > 0 for one in shares)
        if absent and not present and name not in by_sizes:
            nowhere.append(name)
        if present and not absent and name not in by_sizes:
            everywhere.append(name)
    _nothing_to_tell_apart(run, nowhere, "is present in no crop", found)
    if not run.task.dense:
        _nothing_to_tell_apart(run, everywhere, "is absent in no crop", found)
    elif everywhere and getattr(run.task, "foreground", False):
        found.warnings.append(
            f"datasplit.train: {', '.join(map(repr, everywhere))} fills the crops, so that its foreground cannot be "
            "learnt; set task.foreground: false and task.best_by: cremi_score for objects that fill the volume"
        )


def _nothing_to_tell_apart(run: Run, names: Sequence[str], what: str, found: Findings) -> None:
    if not names:
        return
    text = f"datasplit.train: {', '.join(map(repr, names))} {what}"
    if len(names) == len(run.task.classes):
        found.problems.append(
            f"{text}, so that there is nothing to learn; give crops that show both, or check the labels"
        )
    else:
        found.warnings.append(f"{text}; the network will say the same of it everywhere")


def _examine_lessons(run: Run, crops: Sequence[OpenCrop], figures: Sequence[CropFingerprint], found: Findings) -> None:
    """Draw samples, and look for targets that teach nothing or little."""
    try:
        recipe = Recipe.of(crops, run.task, run.architecture, run.trainer.sampling, run.seed)
        found.samples, found.lessons = lessons(recipe)
    except UserError as error:
        found.problems += error.problems
        return
    with_ids = {name for crop in crops for name in crop.instance_classes}
    for target, name in dict.fromkeys((one.target, one.class_name) for one in found.lessons):
        own = [one for one in found.lessons if (one.target, one.class_name) == (target, name)]
        about = Circumstances(
            recipe.windows.planar, name in with_ids, all(one.fractions[name].absent == 0 for one in figures)
        )
        _examine_target(run, own, about, found)
    found.warnings += run.task.remarks(found.lessons)


def _examine_target(run: Run, own: Sequence[Lesson], about: Circumstances, found: Findings) -> None:
    target, name = own[0].target, own[0].class_name
    known, counted = own[0].known, max(one.counted for one in own)
    where = f"task: target {target!r} of {name!r}"
    remedy = run.task.remedy(target, name, about)
    if known > 0 and counted == 0:
        found.problems.append(f"{where}: no voxel counts in {found.samples} samples, so nothing is learnt; {remedy}")
    elif known > 0 and counted < LITTLE_TAUGHT * known:
        found.warnings.append(f"{where}: only {counted / known:.1%} of the known voxels count; {remedy}")
    else:
        for side in ("present", "absent"):
            shares = [getattr(one, f"of_{side}") for one in own if not math.isnan(getattr(one, f"of_{side}"))]
            if shares and max(shares) < LITTLE_TAUGHT:
                found.warnings.append(f"{where}: only {max(shares):.1%} of its {side} voxels count; {remedy}")


def _examine_scoring(run: Run, crops: Sequence[OpenCrop], figures: Sequence[CropFingerprint], found: Findings) -> None:
    """Look for scores that will be undefined or say nothing."""
    if not crops:
        found.warnings.append("datasplit.validate: no crops, so training will store no scores")
        return
    score = score_named(run.task.score)
    found.warnings += [
        f"datasplit.validate: no voxel of {name!r} is known in any crop, so it will have no scores"
        for name in unknown_everywhere(crops)
    ]
    with_ids = {name for crop in crops for name in crop.instance_classes}
    undefined: dict[str, str] = {}
    for name in run.task.classes:
        present = any(one.fractions[name].present > 0 for one in figures)
        absent = any(one.fractions[name].absent > 0 for one in figures)
        if score.of_instances and name not in with_ids and (present or score.empty_truth == "NaN"):
            undefined[name] = f"no crop has instance ids of {name!r}"
        elif score.empty_truth == "NaN" and not present:
            undefined[name] = f"{name!r} is present in no crop"
        elif present and not absent and not run.task.dense:
            found.warnings.append(
                f"datasplit.validate: {name!r} is absent in no crop, so that predicting it everywhere has the best "
                f"{score.name}; give crops that show both"
            )
    advice = (
        "give ids (InstanceArray, or labels/CLASS_inst in a folder), or set task.best_by"
        if score.of_instances
        else "give validation crops with objects, or set task.best_by (false_positive_rate is defined without)"
    )
    for name, reason in undefined.items():
        text = f"datasplit.validate: {reason}, so that {score.name}, by which checkpoints are chosen, is undefined"
        chosen = found.problems if len(undefined) == len(run.task.classes) else found.warnings
        chosen.append(f"{text}; {advice.replace('CLASS', name)}")
    edge_nm = max(min(crop.raw_grid.voxel_size_nm) for crop in crops)
    if run.trainer.tolerance_nm < edge_nm:
        found.warnings.append(
            f"trainer.tolerance_nm: {run.trainer.tolerance_nm:g} is less than a voxel ({edge_nm:g} nm), so that "
            "f1_tolerance and the cremi scores forgive nothing; set about two voxels"
        )
