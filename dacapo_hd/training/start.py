"""Beginning a training with the weights of another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from dacapo_hd.config import non_empty
from dacapo_hd.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 8


def _iteration(instance: Any, attribute: attrs.Attribute[Any], value: int | str) -> None:
    if isinstance(value, int) and value < 1:
        raise ValueError(f"must be best, latest or an iteration > 0, got {value!r}")


@attrs.frozen
class Start:
    """Which weights a run begins with; without it, random ones.

    `run` is a run of the same store; `{seed}` in it stands for the seed of the run that starts. `iteration: best` goes
    by that run's own score (its `best_by`), or by `score`. With `load: full` every weight must be there in the same
    shape; with `load: matching` those that are, and channels of the head by their names, are taken over and the others
    stay random.
    """

    run: str = attrs.field(validator=non_empty)
    iteration: int | Literal["best", "latest"] = attrs.field(default="best", validator=_iteration)
    load: Literal["full", "matching"] = "full"
    score: str | None = None

    def run_for(self, seed: int) -> str:
        """Return the name of the run that one with a seed starts from."""
        return self.run.replace("{seed}", str(seed))


@attrs.frozen(eq=False)
class Transfer:
    """What of other weights goes into a network: whole tensors, and rows (channels) of the head's tensors."""

    tensors: Mapping[str, Tensor]
    loaded: tuple[str, ...]
    left: tuple[str, ...]
    unused: tuple[str, ...]

    def into(self, network: nn.Module) -> None:
        """Set the weights."""
        network.load_state_dict(dict(self.tensors))

    def report(self) -> str:
        """Say what was and was not loaded."""
        parts = [f"{len(self.loaded)} of {len(self.loaded) + len(self.left)} weights loaded"]
        if self.left:
            parts.append(f"random: {_listed(self.left)}")
        if self.unused:
            parts.append(f"not used: {_listed(self.unused)}")
        return "; ".join(parts)


def match(
    network: nn.Module,
    rows: Sequence[str] | None,
    saved: Mapping[str, Tensor],
    saved_rows: Sequence[str] | None,
) -> Transfer:
    """Find what of `saved` fits a network by name and shape.

    `rows` and `saved_rows` name the output channels of both heads (`head.project`), None where they have no names:
    those of one name are taken over even if the heads differ. Statistics of normalisation count as weights.
    """
    named = rows is not None and saved_rows is not None
    own = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    pieces, theirs = _pieces(own, rows if named else None), _pieces(saved, saved_rows if named else None)
    loaded = [name for name, piece in pieces.items() if name in theirs and theirs[name].shape == piece.shape]
    for name in loaded:
        pieces[name].copy_(theirs[name])
    left = tuple(name for name in pieces if name not in loaded)
    return Transfer(own, tuple(loaded), left, tuple(name for name in theirs if name not in loaded))


def _pieces(state: Mapping[str, Tensor], rows: Sequence[str] | None) -> dict[str, Tensor]:
    """Name the tensors of a network, and each row of the head's as `TENSOR[ROW]` if rows have names."""
    pieces: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if rows is not None and name.startswith("head.project."):
            pieces |= {f"{name}[{row}]": tensor[index] for index, row in enumerate(rows)}
        else:
            pieces[name] = tensor
    return pieces


def require(start: Start, transfer: Transfer, name: str, frozen: Sequence[str] = ()) -> None:
    """Raise UserError if a transfer is not what `start` asks for; `name` is the other run.

    Weights of `frozen` modules must be there in any case.
    """
    random = [left for left in transfer.left if any(left.startswith(f"{module}.") for module in frozen)]
    if random:
        raise UserError(
            f"start: run {name!r} has no weights for what the task takes as frozen: {_listed(random)}; give both runs "
            "the same architecture, and the same branches and channels"
        )
    if start.load == "full" and (transfer.left or transfer.unused):
        raise UserError(
            f"start: the weights of run {name!r} do not fit ({transfer.report()}); give both runs the same network, or "
            "set start.load: matching"
        )
    if not transfer.loaded:
        raise UserError(f"start: no weight of run {name!r} fits this network; leave `start` out")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
