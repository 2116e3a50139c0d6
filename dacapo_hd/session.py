"""One training session: data, network, checkpoints and validation of a run, put together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import attrs
import torch

from dacapo_hd.architectures.network import Network
from dacapo_hd.config import unstructure
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.datasplits.fingerprint import unknown_everywhere
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.selection import best
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.run import Run
from dacapo_hd.sampling.loader import load_batches
from dacapo_hd.sampling.recipe import Recipe
from dacapo_hd.stores.base import ScoreRow, Store, git_sha
from dacapo_hd.training.checkpoint import Checkpoints
from dacapo_hd.training.device import choose_device, use_bfloat16
from dacapo_hd.training.loop import Callbacks, TrainingState, fit
from dacapo_hd.training.progress import BlockProgress, TrainingProgress
from dacapo_hd.training.validation import validate_crop


def make_predictor(run: Run, network: torch.nn.Module) -> Predictor:
    """Wrap a run's network for inference where it lies."""
    device = next(network.parameters()).device
    return Predictor(network, run.architecture, run.task, device, use_bfloat16(run.trainer.precision, device))


def newest_checkpoint(run: Run, store: Store) -> int:
    """Return the newest iteration that has a checkpoint; raises UserError when there is none."""
    iterations = Checkpoints(store.checkpoint_folder(run.name)).iterations()
    if not iterations:
        raise _no_checkpoint(run)
    return iterations[-1]


def _no_checkpoint(run: Run) -> UserError:
    return UserError(f"run {run.name!r} has no checkpoint yet; train it with `dacapo-hd train {run.name}`")


def load_network(run: Run, store: Store, iteration: int | None) -> tuple[int, Network, dict[str, Any]]:
    """Load a checkpoint's network (the newest by default) onto the run's device; also returns the checkpoint."""
    checkpoints = Checkpoints(store.checkpoint_folder(run.name))
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


def validate_network(
    run: Run,
    store: Store,
    network: torch.nn.Module,
    crops: Sequence[OpenCrop],
    iteration: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ScoreRow]:
    """Score a network on crops and store the rows."""
    predictor = make_predictor(run, network)
    rows: list[ScoreRow] = []
    for number, crop in enumerate(crops, start=1):
        rows += [
            ScoreRow(
                run=run.name,
                config_hash=run.config_hash,
                group_hash=run.group_hash,
                seed=run.seed,
                iteration=iteration,
                crop=crop.name,
                segmenter=json.dumps(unstructure(segmenter), sort_keys=True),
                class_name=found.class_name,
                score=found.score,
                value=found.value,
                git_sha=git_sha(),
            )
            for segmenter, found in validate_crop(predictor, crop, run.task.segmenters(), run.trainer.tolerance_nm)
        ]
        progress(number, len(crops))
    store.write_scores(run.name, rows)
    return rows


def validate_checkpoint(run: Run, store: Store, iteration: int | None, progress: bool) -> list[ScoreRow]:
    """Score a stored checkpoint on the validation crops."""
    crops = open_validation(run)
    if not crops:
        raise UserError(f"run {run.name!r}: datasplit.validate has no crops; add some to validate")
    iteration, network, _ = load_network(run, store, iteration)
    with BlockProgress(f"validate {run.name}@{iteration}", "crops", progress) as bar:
        return validate_network(run, store, network, crops, iteration, bar)


def open_validation(run: Run) -> tuple[OpenCrop, ...]:
    """Open the validation crops; UserError also for those that the network cannot take."""
    crops = run.datasplit.open("validate", run.task.classes)
    wanted = run.architecture.in_channels
    problems = [
        f"crop {crop.name!r}: raw has {crop.channels} channels, the architecture takes {wanted}; set "
        "architecture.in_channels"
        for crop in crops
        if crop.channels != wanted
    ]
    if problems:
        raise UserError(*problems)
    return crops


@attrs.frozen
class TrainingSession:
    """A run with its data open; nothing is written before `train`."""

    run: Run
    store: Store
    recipe: Recipe
    train_crops: tuple[OpenCrop, ...]
    validate_crops: tuple[OpenCrop, ...]
    device: torch.device

    @classmethod
    def prepare(cls, run: Run, store: Store) -> TrainingSession:
        """Open the data; raises UserError with everything that would stop the training later."""
        device = choose_device(run.trainer.device)
        train = run.datasplit.open("train", run.task.classes)
        unknown = unknown_everywhere(train)
        if unknown:
            raise UserError(
                f"no training crop knows a voxel of {', '.join(map(repr, unknown))}; annotate some, or "
                "remove the class from task.classes"
            )
        recipe = Recipe.of(train, run.task, run.architecture, run.trainer.sampling, run.seed)
        return cls(run, store, recipe, train, open_validation(run), device)

    def train(self, progress: bool) -> None:
        """Train to the end, from the last checkpoint if there is one; the caller holds the run's lock."""
        run = self.run
        torch.manual_seed(run.seed)
        state = TrainingState.start(run.trainer, Network(run.architecture, run.task).to(self.device))
        saved = self._checkpoints.load_latest(self.device)
        if saved is not None:
            state.restore(saved[1])
        self.store.truncate(run.name, state.iteration)
        with TrainingProgress(run.name, run.trainer.iterations, state.iteration, progress) as bar:
            if state.iteration > 0:
                bar.note(f"continues from iteration {state.iteration}")
            if self._validation_is_missing(state.iteration) and self._validate(state, bar):
                return
            self._fit(state, bar)

    def _fit(self, state: TrainingState, bar: TrainingProgress) -> None:
        run, trainer = self.run, self.run.trainer
        if state.iteration >= trainer.iterations or self._patience_is_over(state.iteration):
            bar.note(f"finished at iteration {state.iteration}")
            return
        callbacks = Callbacks(
            record=lambda rows: self.store.append_stats(run.name, rows),
            checkpoint=self._save,
            validate=lambda state: self._validate(state, bar),
        )
        loader = load_batches(self.recipe, trainer.batch_size, trainer.workers, first_batch=state.iteration)
        with closing(loader):
            fit(trainer, run.task, state, loader, callbacks, bar)

    @property
    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.store.checkpoint_folder(self.run.name))

    def _save(self, state: TrainingState) -> None:
        if not all(bool(parameter.isfinite().all()) for parameter in state.network.parameters()):
            raise UserError(
                f"iteration {state.iteration}: the weights are not finite; lower trainer.learning_rate or set "
                "trainer.clip_gradient_norm; the same command goes on from the checkpoint before"
            )
        crop = self.train_crops[0]
        data = {
            "voxel_size_nm": list(crop.raw_grid.voxel_size_nm),
            "intensity_range": list(crop.intensity_range),
            "dtype": str(crop.raw.dtype),
        }
        self._checkpoints.save(state.iteration, {**state.to_dict(), "data": data})
        scored = {row.iteration for row in self.store.scores(self.run.name)}
        self._checkpoints.prune(keep=scored)

    def _validation_is_missing(self, iteration: int) -> bool:
        trainer = self.run.trainer
        due = iteration == trainer.iterations or iteration % trainer.validation_interval == 0
        return iteration > 0 and due and all(row.iteration != iteration for row in self.store.scores(self.run.name))

    def _validate(self, state: TrainingState, bar: TrainingProgress) -> bool:
        """Validate and tell whether to stop."""
        if not self.validate_crops:
            bar.note("no validation crops: datasplit.validate is empty, so there will be no scores")
            return False
        rows = validate_network(self.run, self.store, state.network, self.validate_crops, state.iteration)
        score = self.run.task.score
        now, ever = best(rows, score), best(self.store.scores(self.run.name), score)
        if now is None or ever is None:
            bar.note(f"validation at {state.iteration}: {score} is undefined on the validation crops")
            return False
        bar.note(
            f"validation at {state.iteration}: {score} {now.value:.4f} (best {ever.value:.4f} at {ever.iteration})"
        )
        return self._patience_is_over(state.iteration)

    def _patience_is_over(self, iteration: int) -> bool:
        patience = self.run.trainer.stop_patience
        found = best(self.store.scores(self.run.name), self.run.task.score)
        if patience is None or found is None:
            return False
        return iteration - found.iteration >= patience * self.run.trainer.validation_interval
