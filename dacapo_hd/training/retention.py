"""Which checkpoints are kept."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from dacapo_hd.config import optional, positive
from dacapo_hd.evaluation import selection
from dacapo_hd.evaluation.scores import SCORES
from dacapo_hd.evaluation.selection import ScoredCell


@attrs.frozen(kw_only=True)
class Retention:
    """Keeps the newest `last` checkpoints, those of every `every`-th iteration, and the best ones.

    `best`: the best by each score that is stored; without it, by the task's own score alone, which always counts.
    """

    last: int = attrs.field(default=2, validator=positive)
    every: int | None = attrs.field(default=None, validator=optional(positive))
    best: bool = True

    def best_iterations(
        self, rows: Collection[ScoredCell], task_score: str, iterations: Collection[int]
    ) -> frozenset[int]:
        """Return the iterations that are best by a score: among all of `rows`, and among those of `iterations`.

        They differ when the best of all has lost its checkpoint; then the best one that can still be used counts.
        """
        scores = {task_score} | ({row.score for row in rows} & SCORES.keys() if self.best else set())
        usable = [row for row in rows if row.iteration in iterations]
        found = (selection.best(pool, score) for pool in (rows, usable) for score in scores)
        return frozenset(candidate.iteration for candidate in found if candidate is not None)

    def kept(self, iterations: Collection[int], sound: Collection[int], best: Collection[int]) -> frozenset[int]:
        """Return what to keep of `iterations`: never less than the newest `last` of `sound` and all after them."""
        newest = sorted(set(iterations) & set(sound))[-self.last :]
        oldest_needed = newest[0] if len(newest) == self.last else 0
        return frozenset(
            iteration
            for iteration in iterations
            if iteration >= oldest_needed or iteration in best or (self.every and iteration % self.every == 0)
        )
