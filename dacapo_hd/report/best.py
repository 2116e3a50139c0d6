"""The best checkpoint and segmenter of a run in words, and the command that applies them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.datasplits.base import Part
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.scores import score_named
from dacapo_hd.evaluation.selection import Best, Cell, Outcome, outcome
from dacapo_hd.report.compare import format_value, segmenter_label
from dacapo_hd.run import Run
from dacapo_hd.stores.rows import ScoreRow

OF_THE_RUN: tuple[Part, ...] = ("test", "validate")


@attrs.frozen
class BestFound:
    """The best of all that was scored, and of that whose checkpoint is still there; None where nothing is."""

    run: str
    score: str
    ever: Outcome | None
    usable: Outcome | None

    @classmethod
    def of(cls, run: str, score: str, rows: Collection[ScoreRow], checkpoints: Collection[int]) -> BestFound:
        """Find both; `checkpoints` are the iterations that have one. Raises UserError for an unknown score."""
        usable = [row for row in rows if row.iteration in checkpoints]
        return cls(run, score, outcome(rows, score), outcome(usable, score))

    @property
    def lines(self) -> Iterator[str]:
        """What to tell of the one that can be used."""
        found = self.usable
        if found is None:
            return
        meaning = score_named(self.score)
        yield f"{self.run} by {self.score} ({'higher' if meaning.higher_is_better else 'lower'} is better)"
        yield f"  iteration {found.chosen.iteration}, {segmenter_label(found.chosen.segmenter)}"
        yield (
            f"  selection crops: {format_value(found.chosen.value, meaning)}, {_extent(found.chosen.cells)}; "
            "chosen on these: optimistic"
        )
        if found.test:
            yield f"  test crops: {format_value(found.value, meaning)}, {_extent(found.test)}"

    @property
    def warnings(self) -> Iterator[str]:
        """What is wrong with it."""
        if self.ever is None or self.ever == self.usable:
            return
        gone, left = self.ever.chosen, self.usable
        value = format_value(gone.value, score_named(self.score))
        advice = f"iteration {left.chosen.iteration} is the best of those that are left" if left else "none is left"
        yield (
            f"run {self.run!r}: the checkpoint of iteration {gone.iteration}, the best by {self.score} ({value}), is "
            f"gone; {advice}"
        )


def apply_command(run: str, best: Best, source: Sequence[str], output: str, place: Sequence[str] = ()) -> str:
    """Write the command that applies a candidate, quoted for a shell; `source` and `place` are more arguments."""
    path, *options = source
    chosen = ["--iteration", str(best.iteration), "--parameters", best.segmenter]
    return shlex.join(["dacapo-hd", "apply", run, path, output, *options, *chosen, *place])


def output_for(run: str, source: str) -> str:
    """Name the folder for what is applied: never one that holds the raw data."""
    usual = f"{run}.zarr"
    inside = Path(usual).resolve() in (Path(source).resolve(), *Path(source).resolve().parents)
    return f"{run}_applied.zarr" if inside else usual


def source_of(run: Run) -> list[str] | None:
    """Return the arguments that name the raw data of a run's first test crop, or validation crop; None without any."""
    for part in OF_THE_RUN:
        try:
            crops = run.datasplit.drawn_from(part)
        except UserError:
            # of a folder that is not on this machine
            continue
        if crops:
            return _arguments(crops[0].raw)
    return None


def _arguments(raw: ArrayRef) -> list[str]:
    try:
        path = raw.place
    except UserError:
        # of a variable that is not set on this machine: who reads the command sees which
        path = raw.path
    named = {
        "--axes": raw.axes,
        "--voxel-size": raw.voxel_size_nm,
        "--assumed-voxel-size": raw.assumed_voxel_size_nm,
        "--offset": raw.offset_nm,
        "--channel": None if raw.channel is None else str(raw.channel),
    }
    options = [
        part
        for option, value in named.items()
        if value is not None
        for part in (option, value if isinstance(value, str) else ",".join(f"{size:.15g}" for size in value))
    ]
    return [path if raw.level is None else f"{path}/{raw.level}", *options]


def _extent(cells: Mapping[Cell, float]) -> str:
    crops, classes = ({cell[index] for cell in cells} for index in (0, 1))
    return f"mean over {_counted(len(crops), 'crop', 'crops')} and {_counted(len(classes), 'class', 'classes')}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
