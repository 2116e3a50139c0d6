"""The trained network of a run: loaded, wrapped for prediction, scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import torch

from dacapo_hd.architectures.network import Network
from dacapo_hd.config import unstructure
from dacapo_hd.datasplits.base import Part
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.errors import UserError, said_once
from dacapo_hd.evaluation.selection import best
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.run import Run
from dacapo_hd.segmentation.base import Segmentation, Segmenter
from dacapo_hd.stores.base import Store, git_sha
from dacapo_hd.stores.rows import ScoreRow
from dacapo_hd.tasks.scoring import problems_with_segmenters, problems_with_volume
from dacapo_hd.training.checkpoint import Checkpoints
from dacapo_hd.training.device import choose_device, use_bfloat16
from dacapo_hd.training.progress import BlockProgress
from dacapo_hd.training.validation import count_objects, validate_crop

SCORED: tuple[Part, ...] = ("validate", "test")


@attrs.frozen
class SegmentedCount:
    """How many objects of a class a segmenter (as rows name it) found in a crop; of masks how many voxels."""

    crop: str
    segmenter: str
    class_name: str
    count: int
    instances: bool

    def __str__(self) -> str:
        what = "objects" if self.instances else "voxels"
        found = f"{self.count} {what}" if self.count else "nothing was segmented"
        return f"{self.class_name} in {self.crop}: {found}"


def make_predictor(run: Run, network: torch.nn.Module) -> Predictor:
    """Wrap a run's network for inference where it lies."""
    device = next(network.parameters()).device
    return Predictor(network, run.architecture, run.task, device, use_bfloat16(run.trainer.precision, device))


def newest_checkpoint(run: Run, store: Store) -> int:
    """Return the newest iteration that has a sound checkpoint, warning of damaged ones; UserError without any."""
    found = Checkpoints(store, run.name).load_latest()
    if found is None:
        raise _no_checkpoint(run)
    return found[0]


def _no_checkpoint(run: Run) -> UserError:
    return UserError(f"run {run.name!r} has no checkpoint yet; train it with `dacapo-hd train {run.name}`")


def load_network(run: Run, store: Store, iteration: int | None) -> tuple[int, Network, dict[str, Any]]:
    """Load a checkpoint's network (the newest sound one by default) onto the run's device, and the checkpoint."""
    checkpoints = Checkpoints(store, run.name)
    if iteration is None:
        found = checkpoints.load_latest()
        if found is None:
            raise _no_checkpoint(run)
        iteration, saved = found
    else:
        saved = checkpoints.load(iteration)
    network = Network(run.architecture, run.task)
    network.load_state_dict(saved["network"])
    return iteration, network.to(choose_device(run.trainer.device)), saved


def score_network(
    run: Run,
    network: torch.nn.Module,
    crops: Sequence[OpenCrop],
    iteration: int,
    part: Part = "validate",
    progress: Callable[[int, int], None] = lambda done, total: None,
    selection: Sequence[ScoreRow] = (),
    counts: list[SegmentedCount] | None = None,
) -> list[ScoreRow]:
    """Score a network on the crops of a part; what each segmenter found is added to `counts`.

    Segments are kept of the best segmenter by the task's score, by rows of the iteration's validation: these, or
    `selection`.
    """
    predictor = make_predictor(run, network)
    rows: list[ScoreRow] = []
    # once, not per row: there may be thousands of crops
    config_hash, group_hash = run.config_hash, run.group_hash
    for number, crop in enumerate(crops, start=1):
        counted = partial(_count, [] if counts is None else counts, crop.name)
        rows += [
            ScoreRow(
                run=run.name,
                config_hash=config_hash,
                group_hash=group_hash,
                seed=run.seed,
                iteration=iteration,
                crop=crop.name,
                segmenter=stored_segmenter(segmenter),
                class_name=found.class_name,
                score=found.score,
                value=found.value,
                git_sha=git_sha(),
                part=part,
                segments=found.segments,
            )
            for segmenter, found in validate_crop(
                predictor, crop, run.task.segmenters(), run.trainer.tolerance_nm, counted
            )
        ]
        progress(number, len(crops))
    chosen = best([row for row in (*selection, *rows) if row.iteration == iteration], run.task.score)
    return [
        row
        if row.segments is None or (chosen is not None and row.segmenter == chosen.segmenter)
        else attrs.evolve(row, segments=None)
        for row in rows
    ]


def _count(counts: list[SegmentedCount], crop: str, segmenter: Segmenter, segmentation: Segmentation) -> None:
    stored = stored_segmenter(segmenter)
    for name, count in count_objects(segmentation).items():
        counts.append(SegmentedCount(crop, stored, name, count, segmentation.instances))


def stored_segmenter(segmenter: Segmenter) -> str:
    """Write a segmenter as rows of scores name it."""
    return json.dumps(unstructure(segmenter), sort_keys=True)


def validate_checkpoint(
    run: Run, store: Store, iteration: int | None, progress: bool, counts: list[SegmentedCount] | None = None
) -> list[ScoreRow]:
    """Score a stored checkpoint on the validation and test crops and store the rows; see `score_network`."""
    parts: dict[Part, tuple[OpenCrop, ...]] = {part: open_scored(run, part) for part in SCORED}
    if not any(parts.values()):
        raise UserError(f"run {run.name!r}: datasplit.validate has no crops; add some to validate")
    iteration, network, _ = load_network(run, store, iteration)
    rows: list[ScoreRow] = []
    for part, crops in parts.items():
        with BlockProgress(f"{part} {run.name}@{iteration}", "crops", progress) as bar:
            rows += score_network(run, network, crops, iteration, part, bar, rows, counts)
    store.write_scores(run.name, rows)
    return rows


def open_scored(run: Run, part: Part) -> tuple[OpenCrop, ...]:
    """Open the crops of a part to be scored; UserError also for what the network or the segmenters cannot take."""
    crops = run.datasplit.open(part, run.task.classes)
    wanted = run.architecture.in_channels
    problems = [
        f"crop {crop.name!r}: raw has {crop.channels} channels, the architecture takes {wanted}; set "
        "architecture.in_channels"
        for crop in crops
        if crop.channels != wanted
    ]
    if crops:
        problems += problems_with_segmenters(run.task)
    problems += _problems_with_scoring(run, part, crops)
    if problems:
        raise UserError(*problems)
    return crops


def _problems_with_scoring(run: Run, part: Part, crops: Sequence[OpenCrop]) -> list[str]:
    """Say what the task or its segmenters cannot take, each once, with the first crop in which it is met."""
    segmenters = run.task.segmenters()
    return said_once(
        (f"datasplit.{part}: crop {crop.name!r}", problem)
        for crop in crops
        for problem in problems_with_volume(run.task, segmenters, run.architecture, crop.label_grid)
    )
