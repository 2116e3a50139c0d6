"""Removing runs, with a look at what that loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import DamageError, Store
from dacapo_hd.stores.weights import listed_checkpoints


@attrs.frozen
class Size:
    """How much there is of a run; `problems` name rows that cannot be counted because they are damaged."""

    name: str
    iterations: int
    checkpoints: int
    bytes: int
    scores: int
    problems: tuple[str, ...] = ()


def size_of(store: Store, name: str) -> Size:
    """Count what is stored of a run, also of a damaged one; `bytes` are those of all files of weights."""
    problems: list[str] = []

    def rows(read: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        try:
            return read()
        except UserError as error:
            problems.extend(error.problems)
            return ()

    scores, checkpoints = rows(lambda: store.scores(name)), rows(lambda: listed_checkpoints(store, name))
    iterations = rows(lambda: [store.newest_iteration(name)])
    newest = max((*iterations, *(row.iteration for row in checkpoints)), default=0)
    files = [path for path in store.checkpoint_folder(name).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return Size(name, newest, len(checkpoints), size, len(scores), tuple(problems))


def remove_runs(store: Store, names: Sequence[str], agree: Callable[[Sequence[Size]], bool]) -> tuple[str, ...]:
    """Remove runs if `agree` says so to what will be lost; returns which were removed.

    Nothing is removed if a name is unknown (UserError) or a run is being trained (HeldError).
    """
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        # a run that cannot be read may be removed
        with suppress(DamageError):
            store.run(name)
    with ExitStack() as held:
        for name in chosen:
            held.enter_context(store.lock(name))
        if not agree([size_of(store, name) for name in chosen]):
            return ()
        for name in chosen:
            store.remove_run(name)
    return chosen
