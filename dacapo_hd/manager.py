"""Train, validate and apply runs: the only place that knows store, training and prediction together."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dacapo_hd.config import structure, unstructure
from dacapo_hd.errors import UserError, unexpected
from dacapo_hd.evaluation.selection import Best, best
from dacapo_hd.run import Run
from dacapo_hd.stores.base import RunRecord, ScoreRow, Store, git_sha

if TYPE_CHECKING:
    from dacapo_hd.report.compare import Comparison


PICTURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")


def record_of(run: Run) -> RunRecord:
    """Make what the store keeps of a run."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return RunRecord(run.name, unstructure(run), run.config_hash, run.group_hash, run.seed, now, git_sha())


@attrs.frozen
class RunManager:
    """Does with the runs of one store what the command line offers."""

    store: Store

    def load(self, name: str) -> Run:
        """Return a stored run; raises UserError for an unknown name."""
        record = self.store.run(name)
        return structure(dict(record.config), Run, source=f"stored run {name}")

    def train_all(self, runs: Sequence[Run], progress: bool = True) -> None:
        """Train runs one after the other; one of several that fails does not stop the others, and is reported last."""
        if len(runs) == 1:
            self.train(runs[0], progress)
            return
        problems: list[str] = []
        for run in runs:
            try:
                self.train(run, progress)
            except UserError as error:
                problems += [f"run {run.name!r}: {problem}" for problem in error.problems]
            except Exception as error:
                problems.append(f"run {run.name!r}: {unexpected(error)}")
        if problems:
            raise UserError(*problems)

    def train(self, run: Run, progress: bool = True) -> None:
        """Train a run to its end, from its last checkpoint if it has one."""
        from dacapo_hd.session import TrainingSession

        session = TrainingSession.prepare(run, self.store)
        self.store.add_run(record_of(run))
        with self.store.lock(run.name):
            session.train(progress)

    def validate(self, name: str, iteration: int | None = None, progress: bool = True) -> list[ScoreRow]:
        """Score a checkpoint (the newest by default) on the validation crops, store and return the rows."""
        from dacapo_hd.session import validate_checkpoint

        return validate_checkpoint(self.load(name), self.store, iteration, progress)

    def best(self, name: str, score: str | None = None) -> Best:
        """Return the best (iteration, segmenter) of a run by a score, the task's own by default."""
        score = score or self.load(name).task.score
        found = best(self.store.scores(name), score)
        if found is None:
            raise UserError(
                f"run {name!r} has no {score} yet; run `dacapo-hd validate {name}`, or name an iteration "
                "with --iteration"
            )
        return found

    def compare(self, names: Sequence[str] = (), score: str | None = None) -> Comparison:
        """Compare runs, all of the store if none is named."""
        from dacapo_hd.report.compare import compare

        records = [self.store.run(name) for name in names] if names else list(self.store.runs())
        if not records:
            raise UserError(f"{self.store} has no runs; train one with `dacapo-hd train FILE`")
        rows = {record.name: self.store.scores(record.name) for record in records}
        return compare(records, rows, score or self.load(records[0].name).task.score)

    def apply(self, name: str, source: str, output: str, **options: Any) -> list[Path]:
        """Predict and segment a volume; see `dacapo_hd.application.apply_run` for the options."""
        from dacapo_hd.application import apply_run

        return apply_run(self, name, source, output, **options)


def preview_run(run: Run, picture: Path, samples: int = 4) -> None:
    """Draw augmented training samples of a run with their targets and weights."""
    from dacapo_hd.sampling.preview import preview

    if picture.suffix not in PICTURE_SUFFIXES:
        raise UserError(
            f"{picture}: not a picture that can be written; end the name with {', '.join(PICTURE_SUFFIXES)}"
        )
    if not picture.parent.is_dir():
        raise UserError(f"{picture}: there is no folder {picture.parent}; make it first")

    crops = run.datasplit.open("train", run.task.classes)
    preview(crops, run.task, run.architecture, run.trainer.sampling, run.seed, picture, samples)
