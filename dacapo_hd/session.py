"""One training session: data, network, checkpoints and validation of a run, put together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch

from dacapo_hd.architectures.network import Network
from dacapo_hd.datasplits.base import Part
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.datasplits.fingerprint import fingerprint
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.selection import best
from dacapo_hd.examination import examine
from dacapo_hd.inference import SegmentedCount, open_scored, score_network
from dacapo_hd.run import Run
from dacapo_hd.sampling.loader import load_batches
from dacapo_hd.sampling.recipe import Recipe
from dacapo_hd.starting import Beginning, find_beginning
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.lease import Lease
from dacapo_hd.stores.rows import ScoreRow, StatRow
from dacapo_hd.training.checkpoint import Checkpoints
from dacapo_hd.training.device import choose_device, settle_threads
from dacapo_hd.training.interruption import Signals
from dacapo_hd.training.loop import Callbacks, TrainingState, fit, validation_is_due
from dacapo_hd.training.progress import TrainingProgress
from dacapo_hd.training.randomness import seed_everything
from dacapo_hd.training.tensorboard import TensorBoardLog

logger = logging.getLogger(__name__)

# of each image, before a training; `check` looks at all of it
LOOKED_AT_VX = 1 << 26


@attrs.frozen
class TrainingSession:
    """A run with its data open; nothing is written before `train`."""

    run: Run
    store: Store
    recipe: Recipe
    train_crops: tuple[OpenCrop, ...]
    validate_crops: tuple[OpenCrop, ...]
    test_crops: tuple[OpenCrop, ...]
    device: torch.device
    beginning: Beginning | None

    @classmethod
    def prepare(cls, run: Run, store: Store) -> TrainingSession:
        """Open the data; raises UserError with everything that would stop the training later.

        What another run's weights are for, a run with checkpoints has behind it: they need not be there any more.
        """
        device = choose_device(run.trainer.device)
        train = run.datasplit.open("train", run.task.classes, run.seed)
        recipe = Recipe.of(train, run.task, run.architecture, run.trainer.sampling, run.seed)
        begun = run.name in store.names() and Checkpoints(store, run.name).iterations()
        beginning = None if begun else find_beginning(run, store)
        validate, test = open_scored(run, "validate"), open_scored(run, "test")
        if not begun:
            _examine(run, {"train": train, "validate": validate, "test": test})
        return cls(run, store, recipe, train, validate, test, device, beginning)

    @property
    def trained_on(self) -> dict[str, Any]:
        """What `apply` must know of the data."""
        crop = self.train_crops[0]
        found: dict[str, Any] = {
            "voxel_size_nm": list(crop.raw_grid.voxel_size_nm),
            "intensity_range": crop.intensity_range.to_list(),
            "dtype": str(crop.raw.dtype),
        }
        if self.run.datasplit.depends_on_volume:
            crops = (*self.train_crops, *self.validate_crops, *self.test_crops)
            found["intensity_ranges"] = {crop.name: crop.intensity_range.to_list() for crop in crops}
        return found

    def train(self, progress: bool, lease: Lease, signals: Signals, tensorboard: Path | None = None) -> None:
        """Train to the end, from the newest sound checkpoint if there is one, while `lease` holds the run.

        `tensorboard` is a folder for event files, in a folder of the run's name.
        """
        run = self.run
        settle_threads()
        seed_everything(run.seed)
        state = TrainingState.start(run.trainer, Network(run.architecture, run.task).to(self.device))
        lease.require_held()
        with signals.deferred():
            began = self._resume(state)
            signals.stop()
            with (
                TrainingProgress(run.name, run.trainer.iterations, state.iteration, progress) as bar,
                self._log(tensorboard, state.iteration) as log,
            ):
                bar.note(began)
                _Course(self, state, lease, signals, bar, log).train()

    @contextmanager
    def _log(self, tensorboard: Path | None, iteration: int) -> Iterator[TensorBoardLog | None]:
        if tensorboard is None:
            yield None
            return
        name = self.run.name
        with closing(
            TensorBoardLog.resume(tensorboard / name, self.store, name, self.run.task.score, iteration)
        ) as log:
            yield log

    def _resume(self, state: TrainingState) -> str:
        """Bring the state and the store to the newest sound checkpoint, and say where that is."""
        name = self.run.name
        # drops damaged rows and nothing else
        self.store.truncate(name, self.run.trainer.iterations)
        found = Checkpoints(self.store, name).resume()
        if found is not None:
            state.restore(found[1])
            self.store.truncate(name, state.iteration)
            self._warn_of_gaps(state.iteration)
            return f"continues from iteration {state.iteration}"
        reached = max((row.iteration for row in self.store.stats(name)), default=0)
        if reached > self.run.trainer.checkpoint_interval or self.store.scores(name):
            raise UserError(
                f"run {name!r} has statistics up to iteration {reached} but no checkpoint; restore "
                f"{self.store.checkpoint_folder(name)}, or remove the run with `dacapo-hd runs rm {name}` to train it "
                "from the start"
            )
        self.store.truncate(name, 0)
        if reached:
            # not a note, which --quiet leaves out
            stopped = f"run {name!r} was stopped at iteration {reached}, before its first checkpoint"
            logger.warning("%s; it starts from iteration 0 again", stopped)
        # not prepared for a run that had checkpoints then, and has lost them meanwhile
        beginning = self.beginning or find_beginning(self.run, self.store)
        return "starts from iteration 0" + (f"; {beginning.into(state.network)}" if beginning is not None else "")

    def _warn_of_gaps(self, iteration: int) -> None:
        """Name statistics and scores up to an iteration that are not there, as training does not make them again."""
        where = f"{self.store}: run {self.run.name!r}"
        reached = self.store.newest_iteration(self.run.name)
        if reached < iteration:
            logger.warning("%s has no statistics of iterations %d to %d", where, reached + 1, iteration)
        interval = self.run.trainer.validation_interval
        scored = {row.iteration for row in self.store.scores(self.run.name)}
        missing = [number for number in range(interval, iteration, interval) if number not in scored]
        if missing and self.validate_crops:
            count = f"{len(missing)} of its validations, the first of iteration {missing[0]}"
            logger.warning("%s has no scores of %s", where, count)


def _examine(run: Run, opened: Mapping[Part, Sequence[OpenCrop]]) -> None:
    """Refuse what `check` refuses, and print what it warns of; of large images a part is looked at."""
    figures = {part: [fingerprint(crop, most_voxels=LOOKED_AT_VX) for crop in crops] for part, crops in opened.items()}
    found = examine(run, opened, figures)
    if found.problems:
        raise UserError(*found.problems)
    for warning in found.warnings:
        logger.warning("%s", warning)


class _Course:
    """A training on its way: what the loop calls back."""

    def __init__(
        self,
        session: TrainingSession,
        state: TrainingState,
        lease: Lease,
        signals: Signals,
        bar: TrainingProgress,
        log: TensorBoardLog | None,
    ) -> None:
        self.session, self.state, self.lease, self.signals, self.bar = session, state, lease, signals, bar
        self.log = log
        self.run, self.store = session.run, session.store
        self.checkpoints = Checkpoints(self.store, self.run.name)
        self.read_scores()
        self.tell_signals()

    def train(self) -> None:
        """Go on to the end; a validation that was lost is made first. Then the test crops are scored."""
        run, trainer, state = self.run, self.run.trainer, self.state
        if self.validation_is_missing():
            self.validate(state)
        if state.iteration >= trainer.iterations or self.patience_is_over():
            self.bar.note(f"finished at iteration {state.iteration}")
        else:
            callbacks = Callbacks(self.record, self.save, self.validate)
            first_batch = state.iteration
            # signals wait until the workers have somebody who ends them
            with closing(load_batches(self.session.recipe, trainer.batch_size, trainer.workers, first_batch)) as loader:
                fit(trainer, run.task, state, loader, callbacks, self.bar, self.signals)
        self.test()

    def test(self) -> None:
        """Score the test crops at the iterations that a score has chosen, or at the last one; what is there stays."""
        crops = self.session.test_crops
        if not crops:
            return
        kept = self.best.intersection(self.checkpoints.iterations()) or {self.state.iteration}
        for iteration in sorted(kept):
            done = {row.crop for row in self.scores if row.iteration == iteration}
            if done.issuperset(crop.name for crop in crops):
                continue
            network = Network(self.run.architecture, self.run.task)
            network.load_state_dict(self.checkpoints.load(iteration)["network"])
            with self.signals.at_once():
                network.to(self.session.device)
                rows = score_network(self.run, network, crops, iteration, "test", selection=self.scores)
            self.write_scores(rows)
            self.bar.note(f"test crops are scored at iteration {iteration}")

    def record(self, rows: Sequence[StatRow]) -> None:
        """Store statistics."""
        self.lease.require_held()
        self.store.append_stats(self.run.name, rows)
        if self.log:
            self.log.add_stats(rows)

    def write_scores(self, rows: Sequence[ScoreRow]) -> None:
        """Store scores."""
        self.lease.require_held()
        self.store.write_scores(self.run.name, rows)
        if self.log:
            self.log.add_scores(rows, self.scores)

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint, and remove those that it replaces."""
        state.require_finite()
        self.lease.require_held()
        identity = {"config_hash": self.run.config_hash, "data": self.session.trained_on}
        self.checkpoints.save(state.iteration, {**state.to_dict(), **identity})
        self.tell_signals()
        self.prune()

    def validate(self, state: TrainingState) -> bool:
        """Validate and tell whether to stop."""
        crops, score = self.session.validate_crops, self.run.task.score
        if not crops:
            self.bar.note("no validation crops: datasplit.validate is empty, so there will be no scores")
            return False
        counts: list[SegmentedCount] = []
        with self.signals.at_once():
            rows = score_network(self.run, state.network, crops, state.iteration, counts=counts)
        self.write_scores(rows)
        self.read_scores()
        self.prune()
        now, ever = best(rows, score), best(self.scores, score)
        if now is None or ever is None:
            self.bar.note(f"validation at {state.iteration}: {score} is undefined on the validation crops")
            return False
        self.bar.note(
            f"validation at {state.iteration}: {score} {now.value:.4f} (best {ever.value:.4f} at {ever.iteration})"
            + ("" if any(one.count for one in counts if one.segmenter == now.segmenter) else "; nothing was segmented")
        )
        return self.patience_is_over()

    def validation_is_missing(self) -> bool:
        iteration = self.state.iteration
        done = {row.crop for row in self.scores if row.iteration == iteration}
        return (
            iteration > 0
            and validation_is_due(self.run.trainer, iteration)
            and not done.issuperset(crop.name for crop in self.session.validate_crops)
        )

    def patience_is_over(self) -> bool:
        patience = self.run.trainer.stop_patience
        found = best(self.scores, self.run.task.score)
        if patience is None or found is None:
            return False
        return self.state.iteration - found.iteration >= patience * self.run.trainer.validation_interval

    def read_scores(self) -> None:
        # once per validation: checkpoints may be much more frequent, and scores many
        self.scores = self.store.scores(self.run.name)
        iterations = self.checkpoints.iterations()
        self.best = self.run.trainer.retention.best_iterations(self.scores, self.run.task.score, iterations)

    def prune(self) -> None:
        self.checkpoints.prune(self.run.trainer.retention, self.best)

    def tell_signals(self) -> None:
        if self.state.iteration > 0:
            self.signals.reached = (
                f"at iteration {self.state.iteration} of {self.run.trainer.iterations}; the checkpoint is written"
            )
