"""The best and the worst crop of a run, predicted again to be looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from dacapo_hd.config import structure
from dacapo_hd.datasplits.base import PARTS
from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.selection import Best
from dacapo_hd.report.page.cells import RankedCrop
from dacapo_hd.report.page.encoding import FINEST
from dacapo_hd.report.page.sections import Sections, capture
from dacapo_hd.run import Run
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.stores.base import Store
from dacapo_hd.stores.rows import RunRecord


@attrs.frozen(eq=False)
class Shown:
    """A crop of a run to look at; where `sections` is None, `problem` says why."""

    run: str
    crop: RankedCrop
    iteration: int
    segmenter: str
    sections: Sections | None = None
    problem: str = ""

    @property
    def key(self) -> str:
        return json.dumps([self.run, self.crop.part, self.crop.name])

    def described(self, encoded: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the document says of it."""
        crop = self.crop
        return {
            "run": self.run,
            "part": crop.part,
            "crop": crop.name,
            "rank": crop.rank,
            "value": crop.value,
            "iteration": self.iteration,
            "segmenter": self.segmenter,
            "problem": self.problem,
            "sections": encoded,
        }


def show(
    store: Store,
    record: RunRecord,
    best: Best,
    crops: Sequence[RankedCrop],
    segmenter_label: str,
    device: str | None,
) -> list[Shown]:
    """Predict crops with a run's best checkpoint; a checkpoint or crop that cannot be used says so in its place."""
    empty = [Shown(record.name, crop, best.iteration, segmenter_label) for crop in crops]
    try:
        run = structure(dict(record.config), Run, source=f"stored run {record.name}")
        if device is not None:
            run = attrs.evolve(run, trainer=attrs.evolve(run.trainer, device=device))
        return _predicted(store, run, best, empty)
    except UserError as error:
        return [attrs.evolve(one, problem="; ".join(error.problems)) for one in empty]


def _predicted(store: Store, run: Run, best: Best, empty: Sequence[Shown]) -> list[Shown]:
    from dacapo_hd.inference import load_network, make_predictor

    segmenter = structure(json.loads(best.segmenter), Segmenter, source="stored segmenter")
    _, network, _ = load_network(run, store, best.iteration)
    predictor = make_predictor(run, network)
    found = []
    for one in empty:
        try:
            sections = capture(predictor, _open(run, one.crop), segmenter, FINEST.sections, FINEST.longest_px)
            found.append(attrs.evolve(one, sections=sections))
        except UserError as error:
            found.append(attrs.evolve(one, problem="; ".join(error.problems)))
    return found


def _open(run: Run, wanted: RankedCrop) -> OpenCrop:
    from dacapo_hd.inference import open_scored

    part = next(part for part in PARTS if part == wanted.part)
    for crop in open_scored(run, part):
        if crop.name == wanted.name:
            return crop
    raise UserError(f"datasplit.{part} has no crop {wanted.name!r} any more")
