"""Removing the checkpoints of finished or interrupted runs that their retention does not keep."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.rows import CheckpointRow, ScoreRow
from dacapo_hd.stores.weights import (
    existing_file,
    is_newer,
    listed_checkpoints,
    orphans,
    problem_of,
    side_file,
)
from dacapo_hd.training.retention import Retention


@attrs.frozen
class Keep:
    """What the command line says instead of a run's own retention; `None` and no scores leave the run's."""

    last: int | None = None
    every: int | None = None
    best: tuple[str, ...] = ()

    def kept(
        self,
        own: Retention,
        task_score: str,
        rows: Collection[ScoreRow],
        iterations: Sequence[int],
        sound: Sequence[int],
    ) -> frozenset[int]:
        """Return what to keep of `iterations`; `sound` are the newest whose files are what the store lists."""
        retention = attrs.evolve(own, last=self.last or own.last, every=self.every or own.every)
        if not self.best:
            return retention.kept(iterations, sound, retention.best_iterations(rows, task_score, iterations))
        named = attrs.evolve(retention, best=False)
        best = {number for score in self.best for number in named.best_iterations(rows, score, iterations)}
        return retention.kept(iterations, sound, best)


@attrs.frozen
class Pruned:
    """What was removed of a run, or would be: checkpoints, and files that no checkpoint needs."""

    name: str
    iterations: tuple[int, ...]
    leftovers: tuple[Path, ...]
    bytes: int


def prune_run(store: Store, name: str, own: Retention, task_score: str, keep: Keep, dry_run: bool = False) -> Pruned:
    """Remove what is not kept of a run; HeldError while it is trained, UserError if its list of checkpoints is lost."""
    with store.lock(name) as lease:
        folder, rows = store.checkpoint_folder(name), listed_checkpoints(store, name)
        iterations = [row.iteration for row in rows]
        newest = max(iterations, default=0)
        leftovers = orphans(folder, rows)
        lost = [path for path in leftovers if is_newer(path, newest)]
        if lost:
            raise UserError(
                f"run {name!r}: the store does not list {lost[-1]}, so nothing was removed; see `dacapo-hd store check`"
            )
        last = keep.last or own.last
        kept = keep.kept(own, task_score, store.scores(name), iterations, list(_sound(folder, rows, last)))
        removed = [iteration for iteration in iterations if iteration not in kept]
        files = [side_file(folder, iteration) for iteration in removed]
        files += [existing_file(folder, iteration) for iteration in removed]
        freed = sum(path.stat().st_size for path in (*files, *leftovers) if path.is_file())
        if not dry_run:
            lease.require_held()
            # first the lists, those of schema 1 being the side files, so that whatever is listed has its file
            store.remove_checkpoints(name, removed)
            for path in (*files, *leftovers):
                path.unlink(missing_ok=True)
    return Pruned(name, tuple(removed), tuple(leftovers), freed)


def _sound(folder: Path, rows: Sequence[CheckpointRow], count: int) -> Iterator[int]:
    """Yield the newest iterations whose files are sound, up to `count`."""
    for row in reversed(rows):
        if count and not problem_of(existing_file(folder, row.iteration), row):
            count -= 1
            yield row.iteration
