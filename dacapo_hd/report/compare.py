"""Runs and groups of repetitions side by side: what they reached by one score, and what differs in their configs."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.evaluation.scores import Score, score_named
from dacapo_hd.evaluation.selection import Best, Outcome, outcome
from dacapo_hd.evaluation.statistics import Summary, Training, by_seed, summarize
from dacapo_hd.report.config_keys import NOTHING, differing_keys
from dacapo_hd.stores.rows import RunRecord, ScoreRow

PART_NAMES = {"validate": "selection", "test": "test"}


@attrs.frozen
class ComparedRun:
    """One run's line; where `outcome` is None, `why_none` says why.

    `seeds` counts the compared runs with a value that differ from this one by the seed alone, this one included;
    `differing` has a text for every key of the comparison's `keys`.
    """

    name: str
    seed: int
    outcome: Outcome | None
    segmenter: str
    seeds: int
    differing: Mapping[str, str]
    why_none: str = ""

    @property
    def best(self) -> Best | None:
        """The candidate that was chosen, with its values on the selection crops."""
        return self.outcome.chosen if self.outcome else None

    @property
    def crops(self) -> int:
        """How many crops the value is a mean over."""
        return len({crop for crop, _ in self.outcome.cells}) if self.outcome else 0

    @property
    def per_class(self) -> dict[str, float]:
        """The value's mean over crops for each class."""
        values: dict[str, list[float]] = {}
        for (_, class_name), value in (self.outcome.cells if self.outcome else {}).items():
            values.setdefault(class_name, []).append(value)
        return {class_name: statistics.fmean(found) for class_name, found in values.items()}


@attrs.frozen
class ComparedGroup:
    """Runs that differ by the seed alone, by ascending seed; `summary` is None where none has a value.

    `part` is where the values were scored: `test` where all runs have values there. `differing` has a text for every
    key of the comparison's `group_keys`.
    """

    name: str
    runs: tuple[ComparedRun, ...]
    part: str
    summary: Summary | None
    differing: Mapping[str, str]

    def trainings(self, part: str) -> dict[int, Training]:
        """Return the values of a part of the datasplit by seed, as `evaluation.statistics` wants them."""
        found = ((run.seed, run.outcome) for run in self.runs if run.outcome)
        return by_seed((seed, one.test if part == "test" else one.chosen.cells) for seed, one in found)

    @property
    def per_class(self) -> dict[str, Summary]:
        """The summary of each class."""
        trainings = self.trainings(self.part)
        classes = sorted({class_name for one in trainings.values() for _, class_name in one})
        found = {class_name: summarize(trainings, class_name) for class_name in classes}
        return {class_name: summary for class_name, summary in found.items() if summary}


@attrs.frozen
class Comparison:
    """Runs and groups, best first and those without a value last.

    `spreads` say what the seeds of a group reached, `notes` what a reader must know before believing anything.
    """

    score: Score
    runs: tuple[ComparedRun, ...]
    groups: tuple[ComparedGroup, ...]
    keys: tuple[str, ...]
    group_keys: tuple[str, ...]
    spreads: tuple[str, ...]
    notes: tuple[str, ...]

    def group_of(self, run: str) -> ComparedGroup:
        """Return the group that a run belongs to."""
        return next(group for group in self.groups if run in {member.name for member in group.runs})


def compare(records: Sequence[RunRecord], rows_by_run: Mapping[str, Sequence[ScoreRow]], score: str) -> Comparison:
    """Compare runs by each one's best (iteration, segmenter) by a score.

    It is chosen on the validation crops; the value is that on the test crops, if the best was scored there.
    `rows_by_run` holds each run's score rows by its name. Raises UserError for an unknown score.
    """
    meaning = score_named(score)
    rows = {record.name: list(rows_by_run.get(record.name, ())) for record in records}
    outcomes = {name: outcome(found, score) for name, found in rows.items()}
    keys, differing = differing_keys(records)
    seeds: dict[str, set[int]] = {}
    for record in records:
        if outcomes[record.name]:
            seeds.setdefault(record.group_hash, set()).add(record.seed)
    runs = {
        record.name: ComparedRun(
            name=record.name,
            seed=record.seed,
            outcome=found,
            segmenter=segmenter_label(found.chosen.segmenter) if found else NOTHING,
            seeds=len(seeds.get(record.group_hash, ())),
            differing=differing[record.name],
            why_none="" if found else _why_none(rows[record.name], score),
        )
        for record in records
        for found in [outcomes[record.name]]
    }
    groups, group_keys = _groups(records, runs)
    sign = -1 if meaning.higher_is_better else 1
    by_value = sorted(runs.values(), key=lambda run: (sign * run.outcome.value if run.outcome else math.inf, run.name))
    groups.sort(key=lambda group: (sign * group.summary.mean if group.summary else math.inf, group.name))
    return Comparison(
        score=meaning,
        runs=tuple(by_value),
        groups=tuple(groups),
        keys=keys,
        group_keys=group_keys,
        spreads=tuple(_spreads(groups, meaning)),
        notes=(*_few_seeds(groups), *_optimism(by_value, records, rows), *_doubts(by_value, rows, meaning)),
    )


def format_value(value: float, score: Score) -> str:
    """Write a score with its unit."""
    return f"{value:.4g} {score.unit}" if score.unit else f"{value:.4f}"


def format_summary(summary: Summary, score: Score) -> str:
    """Write a mean over seeds and the standard deviation, where there are several seeds."""
    mean = format_value(summary.mean, score)
    return mean if math.isnan(summary.deviation) else f"{mean} ± {format_value(summary.deviation, score)}"


def segmenter_label(canonical: str) -> str:
    """Describe a stored segmenter config (JSON) in short."""
    from dacapo_hd.config import structure
    from dacapo_hd.segmentation.base import Segmenter

    config = json.loads(canonical)
    try:
        return structure(config, Segmenter).label
    except UserError:
        # a segmenter from outside the package need not be importable where tables are made
        kind = config.pop("type", "")
        return f"{kind}({', '.join(f'{name}={value}' for name, value in config.items())})"


def group_name(names: Sequence[str]) -> str:
    """Name runs that differ by the seed: `study-s{0,1,2}`, as a shell would write them, or one by one."""
    if len(names) == 1:
        return names[0]
    begin = _common_begin(names)
    end = _common_begin([name[len(begin) :][::-1] for name in names])[::-1]
    middles = [name[len(begin) : len(name) - len(end)] for name in names]
    if not begin or not all(middles):
        return ", ".join(names)
    if len(middles) > 5:
        middles = [*middles[:2], "...", middles[-1]]
    return f"{begin}{{{','.join(middles)}}}{end}"


def _common_begin(names: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    # numbers stay whole
    return "".join(letters[0] for letters in same).rstrip("0123456789")


def _groups(
    records: Sequence[RunRecord], runs: Mapping[str, ComparedRun]
) -> tuple[list[ComparedGroup], tuple[str, ...]]:
    members: dict[str, list[RunRecord]] = {}
    for record in records:
        members.setdefault(record.group_hash, []).append(record)
    keys, differing = differing_keys([found[0] for found in members.values()])
    keys = tuple(key for key in keys if key != "seed")
    groups = []
    for found in members.values():
        ordered = sorted(found, key=lambda record: (record.seed, record.name))
        compared = tuple(runs[record.name] for record in ordered)
        scored = [run.outcome for run in compared if run.outcome]
        part = "test" if scored and all(one.test for one in scored) else "validate"
        texts = {key: differing[found[0].name][key] for key in keys}
        group = ComparedGroup(group_name([run.name for run in compared]), compared, part, None, texts)
        groups.append(attrs.evolve(group, summary=summarize(group.trainings(part)) if scored else None))
    return groups, keys


def _spreads(groups: Sequence[ComparedGroup], score: Score) -> Iterator[str]:
    for group in groups:
        if group.summary and len(group.summary.seeds) > 1:
            names = ", ".join(sorted(run.name for run in group.runs if run.outcome))
            yield f"{names}: {len(group.summary.seeds)} seeds: {format_summary(group.summary, score)}"


def _few_seeds(groups: Sequence[ComparedGroup]) -> Iterator[str]:
    alone = [group for group in groups if group.summary and len(group.summary.seeds) == 1]
    names = sorted(", ".join(sorted(run.name for run in group.runs if run.outcome)) for group in alone)
    if names:
        yield f"{', '.join(names)}: 1 seed: no spread known"


def _why_none(rows: Sequence[ScoreRow], score: str) -> str:
    if not rows:
        return "not validated yet"
    values = [row.value for row in rows if row.score == score and row.part == "validate"]
    if not values:
        return f"has no {score}, only {', '.join(sorted({row.score for row in rows}))}"
    if all(math.isnan(value) for value in values):
        return f"{score} is undefined in every crop and class"
    return f"no validation has {score} for every crop and class"


def _optimism(
    runs: Sequence[ComparedRun], records: Sequence[RunRecord], rows: Mapping[str, Sequence[ScoreRow]]
) -> Iterator[str]:
    chosen_here = sorted(run.name for run in runs if run.outcome and run.outcome.part == "validate")
    if chosen_here:
        who = "all values are" if len(chosen_here) == sum(run.outcome is not None for run in runs) else None
        who = who or f"the values of {', '.join(chosen_here)} are"
        yield f"{who} of the selection crops, on which the best was chosen: optimistic"
    has_test = {record.name for record in records if _has_test_crops(record, rows[record.name])}
    for run in runs:
        if run.best and run.name in has_test and run.name in chosen_here:
            yield (
                f"{run.name}: iteration {run.best.iteration} is not scored on the test crops; "
                f"`dacapo-hd validate {run.name} --iteration {run.best.iteration}` does it"
            )


def _has_test_crops(record: RunRecord, rows: Sequence[ScoreRow]) -> bool:
    datasplit = record.config.get("datasplit")
    listed = isinstance(datasplit, Mapping) and bool(datasplit.get("test"))
    return listed or any(row.part == "test" for row in rows)


def _doubts(runs: Sequence[ComparedRun], rows: Mapping[str, Sequence[ScoreRow]], score: Score) -> Iterator[str]:
    if len({frozenset(run.outcome.cells) for run in runs if run.outcome}) > 1:
        yield "the runs were scored on different crops or classes: their values do not compare"
    versions = {row.git_sha for found in rows.values() for row in found if row.score == score.name}
    if len(versions) > 1:
        yield f"the scores were made by different versions of the code: {', '.join(sorted(versions))}"
