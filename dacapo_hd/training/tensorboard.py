"""What a training stores, as scalars for TensorBoard: an extra, `pip install 'dacapo_hd[tensorboard]'`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.selection import best
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.rows import ScoreRow, StatRow

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)


def require_tensorboard() -> None:
    """Raise UserError if the extra is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs tensorboard; install it by: pip install 'dacapo_hd[tensorboard]'")


class TensorBoardLog:
    """Event files of one run in `folder`, whose scalars are those of the store; close it.

    Statistics have their own names. A score is that of the segmenter which is best by `score`, the task's, on the
    validation crops of the same iteration: `validate/dice` is the mean over classes and crops, `validate/dice/mito`
    that of a class, `test/dice` that on test crops.
    """

    def __init__(self, folder: Path, score: str, writer: SummaryWriter) -> None:
        self.folder, self.score, self.writer = folder, score, writer
        self.works = True

    @classmethod
    def resume(cls, folder: Path, store: Store, run: str, score: str, iteration: int) -> TensorBoardLog:
        """Go on after `iteration`: what event files say of it and of later ones does not count any more.

        What the store has of them is written instead; all of it, where there are no event files. UserError where
        nothing can be written.
        """
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        first = iteration if any(folder.glob("events.out.tfevents.*")) else 0
        try:
            writer = SummaryWriter(str(folder), purge_step=first)
        except OSError as error:
            raise UserError(f"--tensorboard: cannot write in {folder}: {error.strerror}") from error
        log = cls(folder, score, writer)
        log.add_stats([row for row in store.stats(run) if row.iteration >= first])
        log.add_scores([row for row in store.scores(run) if row.iteration >= first])
        return log

    def add_stats(self, rows: Iterable[StatRow]) -> None:
        """Write statistics, and see to it that they are in the file."""
        self._write((row.name, row.value, row.iteration) for row in rows)

    def add_scores(self, rows: Sequence[ScoreRow], known: Sequence[ScoreRow] = ()) -> None:
        """Write the scores of validations; those of `known` also choose the segmenter, for rows of test crops alone."""
        self._write(
            (tag, value, iteration)
            for iteration in sorted({row.iteration for row in rows})
            for tag, value in self._scalars(
                [row for row in rows if row.iteration == iteration],
                [row for row in (*rows, *known) if row.iteration == iteration],
            )
        )

    def close(self) -> None:
        """Close the file."""
        self._guarded(self.writer.close)

    def _scalars(self, rows: Sequence[ScoreRow], choosing: Sequence[ScoreRow]) -> Iterator[tuple[str, float]]:
        chosen = best(choosing, self.score)
        values: dict[str, list[float]] = {}
        for row in rows:
            if chosen and row.segmenter == chosen.segmenter and not math.isnan(row.value):
                for tag in (f"{row.part}/{row.score}", f"{row.part}/{row.score}/{row.class_name}"):
                    values.setdefault(tag, []).append(row.value)
        for tag, found in values.items():
            yield tag, math.fsum(found) / len(found)

    def _write(self, scalars: Iterable[tuple[str, float, int]]) -> None:
        def write() -> None:
            for tag, value, iteration in scalars:
                self.writer.add_scalar(tag, value, iteration)
            self.writer.flush()

        self._guarded(write)

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write; when that fails the training goes on, as it stores everything anyway."""
        if not self.works:
            return
        try:
            write()
        except OSError as error:
            self.works = False
            logger.warning("%s: cannot be written (%s); no more events of this training", self.folder, error.strerror)
