"""Where the first weights of a run come from: the checkpoint of another run, found, checked and made to fit."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from torch import nn

from dacapo_hd.architectures.network import Network
from dacapo_hd.config import structure
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.selection import best
from dacapo_hd.run import Run
from dacapo_hd.stores.base import Store
from dacapo_hd.tasks.base import Task
from dacapo_hd.training.checkpoint import Checkpoints
from dacapo_hd.training.start import Start, Transfer, match, require


@attrs.frozen(eq=False)
class Beginning:
    """The weights that a run starts with, and which checkpoint they are from."""

    run: str
    iteration: int
    transfer: Transfer

    def into(self, network: nn.Module) -> str:
        """Set the weights; returns what was and was not loaded."""
        self.transfer.into(network)
        return f"starts with the weights of {self.run!r} at iteration {self.iteration}: {self.transfer.report()}"


def find_beginning(run: Run, store: Store) -> Beginning | None:
    """Return what a run starts with, None for random weights.

    UserError for an unknown run, an iteration without a checkpoint, and weights that do not fit. Does not look at the
    run's own checkpoints, which come first.
    """
    if run.start is None:
        return None
    source = run.start.run_for(run.seed)
    if source not in store.names():
        raise UserError(f"start: {_unknown(source, store)}")
    other = structure(dict(store.run(source).config), Run, source=f"stored run {source}")
    iteration = _iteration(run.start, other, store)
    try:
        saved = Checkpoints(store, source).load(iteration)
    except UserError as error:
        raise UserError(*(f"start: {problem}" for problem in error.problems)) from None
    network, theirs = Network(run.architecture, run.task), Network(other.architecture, other.task)
    transfer = match(network, head_rows(network, run.task), saved["network"], head_rows(theirs, other.task))
    require(run.start, transfer, source, network.frozen)
    return Beginning(source, iteration, transfer)


def _unknown(source: str, store: Store) -> str:
    try:
        store.run(source)
    except UserError as error:
        return error.problems[0]
    raise AssertionError(f"run {source!r} appeared meanwhile")


def _iteration(start: Start, other: Run, store: Store) -> int:
    """Return which iteration of the other run is meant."""
    if isinstance(start.iteration, int):
        return start.iteration
    kept = Checkpoints(store, other.name).iterations()
    if not kept:
        raise UserError(f"start: run {other.name!r} has no checkpoint yet; train it first")
    if start.iteration == "latest":
        return kept[-1]
    score = start.score or other.task.score
    found = best([row for row in store.scores(other.name) if row.iteration in kept], score)
    if found is None:
        raise UserError(
            f"start: run {other.name!r} has no {score}, so no iteration of it is best; validate it, or set "
            "start.iteration: latest"
        )
    return found.iteration


def head_rows(network: Network, task: Task) -> Sequence[str] | None:
    """Name the output channels of a head that is one convolution: output/class, else output/number; None for others."""
    from dacapo_hd.tasks.head import SplitHead

    if not isinstance(network.head, SplitHead):
        return None
    return [
        f"{output}/{task.classes[index] if count == len(task.classes) else index}"
        for output, count in network.head.channels.items()
        for index in range(count)
    ]
