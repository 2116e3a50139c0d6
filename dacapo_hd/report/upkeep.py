"""What pruning, copying and checking of stores say on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dacapo_hd.errors import UserError
from dacapo_hd.report.terminal import ByteBar, counted, format_bytes
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.copying import Moved, copy_runs
from dacapo_hd.stores.integrity import Checked, check_store
from dacapo_hd.stores.lease import HeldError

if TYPE_CHECKING:
    from dacapo_hd.training.pruning import Pruned


@contextmanager
def print_pruned(dry_run: bool) -> Iterator[Callable[[Pruned], None]]:
    """Print what is removed of each run, and at the end how much that freed."""
    freed = 0
    verb, sum_of = ("would remove", "would free") if dry_run else ("removed", "freed")

    def report(pruned: Pruned) -> None:
        nonlocal freed
        freed += pruned.bytes
        parts = []
        if pruned.iterations:
            parts.append(f"the {_plural('checkpoint', pruned.iterations)} {', '.join(map(str, pruned.iterations))}")
        if pruned.leftovers:
            names = ", ".join(path.name for path in pruned.leftovers)
            parts.append(f"the {_plural('file', pruned.leftovers)} {names}, which no checkpoint needs")
        if parts:
            print(f"{pruned.name}: {verb} {' and '.join(parts)} ({format_bytes(pruned.bytes)})")

    done = False
    try:
        yield report
        done = True
    finally:
        if freed:
            print(f"{sum_of} {format_bytes(freed)}")
        elif done:
            print("nothing to remove")


def _plural(noun: str, items: Sequence[object]) -> str:
    return noun if len(items) == 1 else f"{noun}s"


def copy_and_print(source: Store, target: Store, names: Sequence[str], progress: bool) -> None:
    """Copy runs and print a line for each; raises UserError with every problem, HeldError if a run is held."""
    problems: list[str] = []
    copied, unchanged, moved_bytes, kind = 0, 0, 0, UserError
    with ByteBar(progress) as bar:
        for outcome in copy_runs(source, target, names, bar.begin):
            problems += outcome.problems
            kind = HeldError if outcome.held else kind
            moved = outcome.moved
            moved_bytes += moved.bytes
            copied += moved != Moved()
            unchanged += moved == Moved() and not outcome.problems
            if moved != Moved():
                bar.print(f"{outcome.name}: copied {_amounts(moved)}")
            elif not outcome.problems:
                bar.print(f"{outcome.name}: nothing to copy, {target} has all of it")
    print(
        f"{counted(copied, 'run')} copied ({format_bytes(moved_bytes)} of weights), "
        f"{unchanged} complete in {target} before"
    )
    if problems:
        raise kind(*problems)


def _amounts(moved: Moved) -> str:
    parts = [counted(moved.statistics, "statistic"), counted(moved.scores, "score")]
    return f"{', '.join(parts)}, {counted(moved.checkpoints, 'checkpoint')} ({format_bytes(moved.bytes)})"


def check_and_print(store: Store, progress: bool) -> None:
    """Check a store and print a line per problem, then what was checked; raises UserError if there is damage."""
    checked, found = Checked(), 0
    with ByteBar(progress) as bar:
        for damage in check_store(store, checked, bar.begin):
            found += 1
            run = f"{damage.run}: " if damage.run else ""
            bar.print(f"{run}{damage.where}: {damage.what}; {damage.advice}")
    print(
        f"checked in {store}: {counted(checked.runs, 'run')}, {counted(checked.statistics, 'statistic')}, "
        f"{counted(checked.scores, 'score')}, {counted(checked.checkpoints, 'sound checkpoint')} "
        f"({format_bytes(checked.bytes)} read)"
    )
    if found:
        raise UserError(f"{store}: {counted(found, 'problem')} found")
    print("no damage found")
