"""Looking for damage in a store: records, rows, and weights by their checksums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import attrs

from dacapo_hd.stores.base import Damage, DamageError, Store
from dacapo_hd.stores.lease import HeldError
from dacapo_hd.stores.rows import CheckpointRow, ScoreRow, StatRow
from dacapo_hd.stores.weights import (
    Progress,
    checkpoint_file,
    existing_file,
    is_newer,
    listed_checkpoints,
    no_progress,
    orphans,
    problem_of,
)

Begin = Callable[[str, int], Progress]


@attrs.define
class Checked:
    """What has been read without a problem so far."""

    runs: int = 0
    statistics: int = 0
    scores: int = 0
    checkpoints: int = 0
    bytes: int = 0


def check_store(
    store: Store, checked: Checked, begin: Begin = lambda name, total_bytes: no_progress
) -> Iterator[Damage]:
    """Read everything and yield what is damaged, run by run; `checked` is counted up meanwhile.

    `begin` is called with a run's name and the size of its weights, and returns what to call with the bytes read.
    """
    yield from store.damage()
    for name in store.names():
        checked.runs += 1
        yield from check_rows(store, name, checked)
        yield from check_weights(store, name, checked, begin)


def check_rows(store: Store, name: str, checked: Checked) -> Iterator[Damage]:
    """Yield gaps and duplicates of a run's statistics, and scores of other runs or twice there."""
    # first, because the statistics of a run that is trained meanwhile go further than its checkpoints
    checkpoints = listed_checkpoints(store, name)
    try:
        stats, scores = store.stats(name), store.scores(name)
    except DamageError:
        # `Store.damage` has named these rows
        return
    checked.statistics += len(stats)
    checked.scores += len(scores)
    yield from _check_stats(name, stats, max((row.iteration for row in checkpoints), default=0))
    yield from _check_scores(name, scores)


def _check_stats(name: str, stats: Sequence[StatRow], trained: int) -> Iterator[Damage]:
    again = f"train a copy under another name if the curve matters; the weights of {name!r} are not concerned"
    twice = [place for place, count in Counter((row.iteration, row.name) for row in stats).items() if count > 1]
    if twice:
        iteration, statistic = min(twice)
        what = f"{len(twice)} values are there more than once, the first is {statistic} of iteration {iteration}"
        yield Damage(name, "statistics", what, again)
    present = {row.iteration for row in stats}
    last = max(present, default=0)
    missing = [iteration for iteration in range(1, max(last, trained) + 1) if iteration not in present]
    if missing:
        what = f"{len(missing)} of {max(last, trained)} iterations are missing, the first is {missing[0]}"
        yield Damage(name, "statistics", what, again)


def _check_scores(name: str, scores: Sequence[ScoreRow]) -> Iterator[Damage]:
    strangers = sorted({row.run for row in scores} - {name})
    if strangers:
        what = f"scores of {', '.join(map(repr, strangers))} lie among those of {name!r}"
        yield Damage(name, "scores", what, f"validate the iterations again with `dacapo-hd validate {name}`")
    cells = Counter((row.iteration, row.crop, row.class_name, row.segmenter, row.score) for row in scores)
    twice = [cell for cell, count in cells.items() if count > 1]
    if twice:
        iteration, crop, *_ = min(twice)
        what = f"{len(twice)} scores are there more than once, the first of crop {crop!r} at iteration {iteration}"
        advice = f"validate again with `dacapo-hd validate {name} --iteration {iteration}`, which replaces them"
        yield Damage(name, "scores", what, advice)


def check_weights(
    store: Store, name: str, checked: Checked, begin: Begin = lambda name, total_bytes: no_progress
) -> Iterator[Damage]:
    """Yield checkpoints that are missing or not what the store lists, and files of weights that it does not list."""
    folder = store.checkpoint_folder(name)
    rows = listed_checkpoints(store, name)
    progress = begin(name, sum(row.bytes for row in rows))
    for row in rows:
        problem = problem_of(existing_file(folder, row.iteration), row, progress)
        if not problem:
            checked.checkpoints += 1
            checked.bytes += row.bytes
        elif row in listed_checkpoints(store, name):
            # training has not removed it meanwhile
            where = str(checkpoint_file(folder, row.iteration))
            yield Damage(name, where, f"damaged checkpoint: {problem}", _advice(rows, row))
    yield from _check_orphans(store, name)


def _check_orphans(store: Store, name: str) -> Iterator[Damage]:
    folder = store.checkpoint_folder(name)
    if not orphans(folder, listed_checkpoints(store, name)):
        return
    try:
        # a file that is being written is no orphan; what is left under the lock is
        with store.lock(name):
            rows = listed_checkpoints(store, name)
            found = orphans(folder, rows)
    except HeldError:
        return
    newest = max((row.iteration for row in rows), default=0)
    for path in found:
        if path.name.endswith(".damaged"):
            what = "a damaged checkpoint that was put aside when training went on from the one before"
        else:
            what = "a file of weights that the store does not list"
        if is_newer(path, newest):
            advice = f"copy {name!r} from a store that is sound, or move the file away"
        else:
            advice = f"remove it with `dacapo-hd runs prune {name}`"
        yield Damage(name, str(path), what, advice)


def _advice(rows: Sequence[CheckpointRow], damaged: CheckpointRow) -> str:
    if damaged.iteration == rows[-1].iteration:
        return "copy the file from a backup; otherwise `train` goes on from the checkpoint before"
    return "copy the file from a backup; training does not need it, but `apply` and `validate` may"
