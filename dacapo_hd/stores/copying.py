"""Copying runs from one store to another: whatever is there already stays, whatever is copied is verified."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import Store, config_differences
from dacapo_hd.stores.lease import HeldError, Lease
from dacapo_hd.stores.rows import CheckpointRow, RunRecord, ScoreRow, StatRow
from dacapo_hd.stores.weights import (
    Progress,
    UnreadableError,
    checkpoint_file,
    difference,
    existing_file,
    listed_checkpoints,
    no_progress,
    partial_file,
    problem_of,
    read_chunks,
    write_chunks,
)
from dacapo_hd.stores.writing import sync_folder

STATISTICS_AT_ONCE = 5000


@attrs.frozen
class Moved:
    """How much was written; all zero if everything was there."""

    statistics: int = 0
    scores: int = 0
    checkpoints: int = 0
    bytes: int = 0


@attrs.frozen
class Outcome:
    """What became of one run; `held` is when another process trains it in the target."""

    name: str
    moved: Moved = Moved()
    problems: tuple[str, ...] = ()
    held: bool = False


@attrs.frozen(slots=False)
class Content:
    """All that a store knows of a run; the weights by their checksums."""

    record: RunRecord
    stats: Sequence[StatRow] = ()
    scores: Sequence[ScoreRow] = ()
    checkpoints: Sequence[CheckpointRow] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything; equal for equal contents in stores of different kinds."""
        digest = hashlib.sha256(self.record.config_hash.encode())
        for row in self.stats:
            digest.update(f"\n{row.iteration} {row.name!r} {row.value!r} {row.seconds!r}".encode())
        for text in sorted(map(repr, self.scores)):
            digest.update(f"\n{text}".encode())
        for checkpoint in self.checkpoints:
            digest.update(f"\n{checkpoint.iteration} {checkpoint.sha256} {checkpoint.bytes}".encode())
        return digest.hexdigest()

    @property
    def newest(self) -> tuple[int, int]:
        """The last iteration that has a checkpoint, and the last that has statistics; 0 for none."""
        return (
            max((row.iteration for row in self.checkpoints), default=0),
            max((row.iteration for row in self.stats), default=0),
        )


def read_content(store: Store, record: RunRecord) -> Content:
    """Read a run; raises UserError for damaged rows."""
    name = record.name
    return Content(record, store.stats(name), store.scores(name), listed_checkpoints(store, name))


def copy_runs(
    source: Store,
    target: Store,
    names: Sequence[str] = (),
    begin: Callable[[str, int], Progress] = lambda name, total_bytes: no_progress,
) -> Iterator[Outcome]:
    """Copy runs (all if none is named), one outcome each; what cannot be copied does not stop the others.

    `begin` is called with a run's name and the size of its weights, and returns what to call with the bytes that are
    done. Raises UserError for unknown names.
    """
    known, there = source.names(), set(target.names())
    if not known:
        raise UserError(f"{source} has no runs to copy")
    for name in names:
        if name not in known:
            source.run(name)
    for name in dict.fromkeys(names or known):
        try:
            yield _copy_run(source, target, name, name in there, begin)
        except UserError as error:
            problems = tuple(_named(problem, name) for problem in error.problems)
            yield Outcome(name, problems=problems, held=isinstance(error, HeldError))


def _named(problem: str, name: str) -> str:
    return problem if repr(name) in problem or problem.startswith(" ") else f"run {name!r}: {problem}"


def _copy_run(
    source: Store, target: Store, name: str, is_there: bool, begin: Callable[[str, int], Progress]
) -> Outcome:
    record = source.run(name)
    if source.checkpoint_folder(name).absolute() == target.checkpoint_folder(name).absolute():
        raise UserError(
            f"{source} and {target} keep the weights of run {name!r} in the same folder "
            f"{target.checkpoint_folder(name)}; give another store, or another folder with --to-weights"
        )
    if is_there:
        _require_same_config(target.run(name), record, target)
    content = read_content(source, record)
    progress = begin(name, sum(row.bytes for row in content.checkpoints))
    target.add_run(record)
    with target.lock(name) as lease:
        had = read_content(target, record)
        _require_extension(had, content, source, target)
        statistics = _copy_stats(had, content, target, lease)
        scores = _copy_scores(content, target, lease)
        files = _Files(source, target, name, lease)
        if not target.checkpoints(name):
            # of schema 1, which has no list
            for row in had.checkpoints:
                target.add_checkpoint(name, row)
        for row in content.checkpoints:
            files.copy(row, progress)
        moved = Moved(statistics, scores, files.checkpoints, files.bytes)
        # what was all there has been compared already
        problems = () if moved == Moved() else tuple(_verify(source, target, content, files.damaged))
    return Outcome(name, moved, (*files.damaged.values(), *problems))


def _require_same_config(there: RunRecord, record: RunRecord, target: Store) -> None:
    if there.config_hash != record.config_hash:
        raise UserError(
            f"{target}: run {record.name!r} is there with another config; {_removal(target, record)}:",
            *(f"  {difference}" for difference in config_differences(there.config, record.config)),
        )


def _removal(target: Store, record: RunRecord) -> str:
    return f"remove it there with `dacapo-hd runs rm {record.name} --store {target}` to copy this one"


def _require_extension(had: Content, content: Content, source: Store, target: Store) -> None:
    """Raise UserError if copying would lose something that only the target has."""
    extra = _by_place(had.scores).keys() - _by_place(content.scores).keys()
    if had.newest > content.newest:
        ahead = f"checkpoint {had.newest[0]} and statistics up to {had.newest[1]}, here {content.newest[0]} and "
        ahead += f"{content.newest[1]}"
    elif extra:
        iteration, crop = min(extra)
        ahead = f"scores of crop {crop!r} at iteration {iteration}"
    else:
        _require_same_past(had, content, target)
        return
    raise UserError(
        f"{target}: run {content.record.name!r} is further there than in {source} ({ahead}); copy the other way, or "
        f"{_removal(target, content.record)}"
    )


def _require_same_past(had: Content, content: Content, target: Store) -> None:
    """Raise UserError if both stores have trained the run; what follows the newest checkpoint may be made again."""
    settled = had.newest[0]
    sums = {row.iteration: row.sha256 for row in content.checkpoints}
    changed = [row.iteration for row in had.checkpoints if sums.get(row.iteration, row.sha256) != row.sha256]
    before = [[row for row in found.stats if row.iteration <= settled] for found in (had, content)]
    if changed or before[0] != before[1]:
        where = f"checkpoint {changed[0]} differs" if changed else f"statistics up to iteration {settled} differ"
        raise UserError(
            f"{target}: run {content.record.name!r} was trained there on its own ({where}); keep it, or "
            f"{_removal(target, content.record)}"
        )


def _copy_stats(had: Content, content: Content, target: Store, lease: Lease) -> int:
    """Bring the statistics of the target up to date; returns how many were written."""
    name = content.record.name
    pairs = zip(had.stats, content.stats, strict=False)
    same = next((place for place, (old, new) in enumerate(pairs) if old != new), len(had.stats))
    rows = content.stats[same:]
    if same < len(had.stats):
        # a resumed run has made those behind the newest checkpoint again
        last = min(row.iteration for row in (*had.stats[same:], *rows)) - 1
        last = max(last, had.newest[0])
        lease.require_held()
        target.truncate(name, last)
        rows = [row for row in content.stats if row.iteration > last]
    for begin in range(0, len(rows), STATISTICS_AT_ONCE):
        lease.require_held()
        target.append_stats(name, rows[begin : begin + STATISTICS_AT_ONCE])
    return len(rows)


def _copy_scores(content: Content, target: Store, lease: Lease) -> int:
    """Write the scores that are missing or others in the target; returns how many."""
    name = content.record.name
    there = _by_place(target.scores(name))
    rows = [
        row for place, found in _by_place(content.scores).items() if not _same(found, there[place]) for row in found
    ]
    if rows:
        lease.require_held()
        target.write_scores(name, rows)
    return len(rows)


def _by_place(rows: Iterable[ScoreRow]) -> defaultdict[tuple[int, str], list[ScoreRow]]:
    found = defaultdict(list)
    for row in rows:
        found[row.iteration, row.crop].append(row)
    return found


def _same(rows: Sequence[ScoreRow], others: Sequence[ScoreRow]) -> bool:
    """Compare in any order; by text, in which an undefined score equals another."""
    return rows == others or sorted(map(repr, rows)) == sorted(map(repr, others))


@attrs.define
class _Files:
    """Copies the checkpoints of one run; counts what was written and words what is damaged."""

    source: Store
    target: Store
    name: str
    lease: Lease
    checkpoints: int = 0
    bytes: int = 0
    damaged: dict[int, str] = attrs.field(factory=dict)

    def copy(self, row: CheckpointRow, progress: Progress) -> None:
        """Copy one checkpoint unless it is there, sound and listed."""
        folder = self.target.checkpoint_folder(self.name)
        path, partial = checkpoint_file(folder, row.iteration), partial_file(folder, row.iteration)
        if not problem_of(path, row, progress):
            if row not in self.target.checkpoints(self.name):
                self.target.add_checkpoint(self.name, row)
            return
        # an interrupted copy may have got as far as the last step
        if problem_of(partial, row) and not self._stream(row, partial, progress):
            return
        self.lease.require_held()
        self.target.add_checkpoint(self.name, row)
        partial.replace(path)
        sync_folder(folder)
        self.checkpoints += 1
        self.bytes += row.bytes

    def _stream(self, row: CheckpointRow, partial: Path, progress: Progress) -> bool:
        """Write the file under its provisional name; False if the source's is damaged or gone."""
        path = existing_file(self.source.checkpoint_folder(self.name), row.iteration)
        try:
            problem = difference(row, *write_chunks(partial, read_chunks(path, progress)))
        except UnreadableError as error:
            problem = str(error)
        if not problem:
            return True
        partial.unlink(missing_ok=True)
        # a run that is trained meanwhile removes old checkpoints
        if row in listed_checkpoints(self.source, self.name):
            self.damaged[row.iteration] = (
                f"run {self.name!r}: {path}: damaged checkpoint ({problem}); it was not copied, all else of the run was"
            )
        return False


def _verify(source: Store, target: Store, content: Content, damaged: Collection[int]) -> Iterator[str]:
    """Read both stores again and yield what is wrong."""
    name = content.record.name
    now = read_content(source, content.record)
    if now.digest != content.digest:
        yield (
            f"run {name!r} changed in {source} while it was copied; what was there at the beginning is copied: run the "
            "same command again"
        )
        return
    listed = [row for row in content.checkpoints if row.iteration not in damaged]
    copied = read_content(target, content.record)
    kept = [row for row in copied.checkpoints if row in listed]
    expected = attrs.evolve(content, checkpoints=listed)
    if attrs.evolve(copied, checkpoints=kept).digest != expected.digest:
        yield f"run {name!r} in {target} differs from {source} after the copy; check both with `dacapo-hd store check`"
