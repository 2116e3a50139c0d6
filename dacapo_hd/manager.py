"""Train, validate and apply runs: the only place that knows store, training and prediction together."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dacapo_hd.config import structure, unstructure
from dacapo_hd.errors import UserError, unexpected
from dacapo_hd.evaluation.selection import Best, best
from dacapo_hd.provenance import provenance
from dacapo_hd.run import Run
from dacapo_hd.stores.base import Store, git_sha
from dacapo_hd.stores.lease import HeldError
from dacapo_hd.stores.rows import RunRecord, ScoreRow
from dacapo_hd.training.interruption import Interrupted, Signals
from dacapo_hd.training.tensorboard import require_tensorboard

if TYPE_CHECKING:
    from dacapo_hd.inference import SegmentedCount
    from dacapo_hd.report.best import BestFound
    from dacapo_hd.report.compare import Comparison
    from dacapo_hd.report.query import Selected
    from dacapo_hd.report.segments import RunSegments
    from dacapo_hd.training.pruning import Keep, Pruned


PICTURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")


def record_of(run: Run) -> RunRecord:
    """Make what the store keeps of a run."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return RunRecord(
        name=run.name,
        config=unstructure(run),
        config_hash=run.config_hash,
        group_hash=run.group_hash,
        seed=run.seed,
        created=now,
        git_sha=git_sha(),
        provenance=provenance(sys.argv),
    )


def _run_of(record: RunRecord) -> Run:
    return structure(dict(record.config), Run, source=f"stored run {record.name}")


def _no_score(name: str, score: str) -> str:
    return f"run {name!r} has no {score} yet; run `dacapo-hd validate {name}`"


@attrs.frozen
class RunManager:
    """Does with the runs of one store what the command line offers."""

    store: Store

    def load(self, name: str) -> Run:
        """Return a stored run; raises UserError for an unknown name."""
        return _run_of(self.store.run(name))

    def train_all(
        self, runs: Sequence[Run], progress: bool = True, replace: bool = False, tensorboard: Path | None = None
    ) -> None:
        """Train runs one after the other; one of several that fails does not stop the others, and is reported last.

        `tensorboard` is a folder for event files, with a folder for each run.
        Raises HeldError if nothing worse happened than that other processes hold some of them.
        """
        if tensorboard is not None:
            require_tensorboard()
        if len(runs) == 1:
            self.train(runs[0], progress, replace, tensorboard)
            return
        problems: list[str] = []
        only_held = True
        for run in runs:
            try:
                self.train(run, progress, replace, tensorboard)
            except HeldError as error:
                problems += error.problems
            except Interrupted:
                raise
            except UserError as error:
                only_held = False
                # an indented line belongs to the problem before
                named = (line if line.startswith(" ") else f"run {run.name!r}: {line}" for line in error.problems)
                problems += named
            except Exception as error:
                only_held = False
                problems.append(f"run {run.name!r}: {unexpected(error)}")
        if problems:
            raise HeldError(*problems) if only_held else UserError(*problems)

    def train(self, run: Run, progress: bool = True, replace: bool = False, tensorboard: Path | None = None) -> None:
        """Train a run to its end, from its last checkpoint if it has one.

        With `replace`, a stored run of that name with another config is archived first.
        """
        from dacapo_hd.session import TrainingSession

        session = TrainingSession.prepare(run, self.store)
        if replace:
            self._archive_other(run)
        self.store.add_run(record_of(run))
        with Signals() as signals, self.store.lock(run.name) as lease:
            # again: it may have been replaced or removed before it was locked
            self.store.add_run(record_of(run))
            session.train(progress, lease, signals, tensorboard)

    def _archive_other(self, run: Run) -> None:
        """Rename the stored run of that name if its config is another one, and say to what."""
        found = {record.name: record.config_hash for record in self.store.runs()}
        if found.get(run.name, run.config_hash) == run.config_hash:
            return
        with self.store.lock(run.name):
            now = datetime.datetime.now(datetime.UTC)
            first = f"{run.name}.archived-{now:%Y%m%dT%H%M%S}"
            archived = next(name for name in chain([first], (f"{first}-{n}" for n in count(2))) if name not in found)
            old = self.store.run(run.name)
            config = {**old.config, "name": archived}
            stamp = now.isoformat(timespec="seconds")
            self.store.rename_run(run.name, attrs.evolve(old, name=archived, config=config, archived=stamp))
        print(f"{run.name}: the stored run has another config and is now {archived!r}", file=sys.stderr)

    def validate(
        self,
        name: str,
        iteration: int | None = None,
        progress: bool = True,
        counts: list[SegmentedCount] | None = None,
    ) -> list[ScoreRow]:
        """Score a checkpoint (the newest by default) on the validation crops, store and return the rows.

        What each segmenter found is added to `counts`.
        """
        from dacapo_hd.inference import validate_checkpoint

        return validate_checkpoint(self.load(name), self.store, iteration, progress, counts)

    def best(self, name: str, score: str | None = None) -> Best:
        """Return the best (iteration, segmenter) of a run by a score, the task's own by default."""
        score = score or self.load(name).task.score
        found = best(self.store.scores(name), score)
        if found is None:
            raise UserError(f"{_no_score(name, score)}, or name an iteration with --iteration")
        return found

    def find_best(self, name: str, score: str | None = None) -> BestFound:
        """Find the best of a run by a score, the task's own by default, also of those with a checkpoint alone."""
        from dacapo_hd.report.best import BestFound

        score = score or self.load(name).task.score
        checkpoints = [row.iteration for row in self.store.checkpoints(name)]
        found = BestFound.of(name, score, self.store.scores(name), checkpoints)
        if found.ever is None:
            raise UserError(_no_score(name, score))
        return found

    def compare(self, names: Sequence[str] = (), score: str | None = None, each: bool = False) -> Comparison:
        """Compare runs, all of the store but the archived ones if none is named.

        With a run come those that differ from it by the seed alone, unless `each` run is to stand for itself.
        """
        from dacapo_hd.report.compare import compare

        records = self._compared(names, each)
        rows = {record.name: self.store.scores(record.name) for record in records}
        return compare(records, rows, score or self.load(records[0].name).task.score)

    def segments(self, comparison: Comparison) -> list[RunSegments]:
        """Return how uncertain and how wrong the segments of each compared run are; runs without any are left out."""
        from dacapo_hd.report.segments import segments_of

        return segments_of(self.store, comparison)

    def plot(self, names: Sequence[str], picture: Path, score: str | None = None, each: bool = False) -> Path:
        """Draw loss and score curves of the runs that `compare` would compare."""
        from dacapo_hd.report.compare import group_name
        from dacapo_hd.report.curves import RunRows, plot_curves

        require_picture(picture)
        records = self._compared(names, each)
        members: dict[str, list[RunRecord]] = {}
        for record in records:
            members.setdefault(record.name if each else record.group_hash, []).append(record)
        groups = {
            group_name([record.name for record in group]): [
                RunRows(record.seed, self.store.stats(record.name), self.store.scores(record.name)) for record in group
            ]
            for group in members.values()
        }
        return plot_curves(groups, picture, score or self.load(records[0].name).task.score)

    def report(
        self, names: Sequence[str], path: Path, score: str | None = None, each: bool = False, **options: Any
    ) -> Path:
        """Write a report of the runs that `compare` would compare, as one HTML file.

        See `dacapo_hd.report.page.Options` for the options. Raises UserError.
        """
        from dacapo_hd.report.page import Options, require_writable, write_report

        require_writable(path)
        records = self._compared(names, each)
        score = score or self.load(records[0].name).task.score
        baseline = names[0] if len(names) > 1 else None
        return write_report(self.store, records, score, path, Options(baseline=baseline, **options))

    def _compared(self, names: Sequence[str], each: bool) -> list[RunRecord]:
        """Return the named runs and their repetitions, in the order of the names; UserError if there are none."""
        named = [self.store.run(name) for name in dict.fromkeys(names)]
        if named and each:
            return named
        stored = [record for record in self.store.runs() if not record.archived]
        if not named and not stored:
            raise UserError(f"{self.store} has no runs; train one with `dacapo-hd train FILE`")
        if not named:
            return stored
        groups = {record.group_hash for record in named}
        repetitions = [record for record in stored if record.group_hash in groups]
        return list({record.name: record for record in (*named, *repetitions)}.values())

    def select(self, condition: str) -> Selected:
        """Return the runs that fulfil a condition such as `task=HotDistance and dice>0.8` (docs/commands.md)."""
        from dacapo_hd.evaluation.selection import outcome
        from dacapo_hd.report.query import Selected, parse_query, values_of

        records = self.store.runs()
        known: list[dict[str, Any]] = [values_of(record) for record in records]
        query = parse_query(condition, {key for values in known for key in values})
        for values in known:
            if "iteration" in query.keys.values():
                values["iteration"] = self.store.newest_iteration(values["name"])
            for score in query.scores:
                found = outcome(self.store.scores(values["name"], score=score), score)
                values[score] = found.value if found else None
        return Selected.of(query, records, known)

    def prune(self, names: Sequence[str], keep: Keep, report: Callable[[Pruned], None], dry_run: bool = False) -> None:
        """Remove what the retention of runs (all if none is named) does not keep; a failure does not stop the others.

        Raises HeldError if a run is being trained, UserError for other problems.
        """
        from dacapo_hd.training.pruning import prune_run

        records = [self.store.run(name) for name in names] if names else self.store.runs()
        problems: list[str] = []
        kind = UserError
        for record in records:
            try:
                run = _run_of(record)
                report(prune_run(self.store, run.name, run.trainer.retention, run.task.score, keep, dry_run))
            except UserError as error:
                problems += error.problems
                kind = HeldError if isinstance(error, HeldError) else kind
        if problems:
            raise kind(*problems)

    def apply(self, name: str, source: str, output: str, **options: Any) -> list[Path]:
        """Predict and segment a volume; see `dacapo_hd.application.apply_run` for the options."""
        from dacapo_hd.application import apply_run

        return apply_run(self, name, source, output, **options)


def preview_run(run: Run, picture: Path, samples: int = 4) -> None:
    """Draw augmented training samples of a run with their targets and weights."""
    from dacapo_hd.sampling.preview import preview

    require_picture(picture)
    crops = run.datasplit.open("train", run.task.classes, run.seed)
    preview(crops, run.task, run.architecture, run.trainer.sampling, run.seed, picture, samples)


def require_picture(path: Path) -> None:
    """Raise UserError for a file that no picture can be written to."""
    if path.suffix not in PICTURE_SUFFIXES:
        raise UserError(f"{path}: not a picture that can be written; end the name with {', '.join(PICTURE_SUFFIXES)}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
