"""Which group of runs is better, by how much, and whether that can be said at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from dacapo_hd.evaluation.scores import Score
from dacapo_hd.evaluation.statistics import Difference, difference
from dacapo_hd.report.compare import ComparedGroup, Comparison, format_value


@attrs.frozen
class ComparedPair:
    """A group minus the baseline, of the mean over classes or of one class, in the unit of the score.

    `difference` is None where the two have no crop and class in common. `better` names the better one of the two where
    that was shown: by several seeds of both, and an interval without 0.
    """

    group: str
    baseline: str
    class_name: str | None
    part: str
    difference: Difference | None
    better: str | None
    verdict: str


def compare_pairs(comparison: Comparison, names: Sequence[str], per_class: bool = False) -> tuple[ComparedPair, ...]:
    """Compare the groups of the named runs with that of the first one; with `per_class` also in each class."""
    groups = list(dict.fromkeys(comparison.group_of(name).name for name in names))
    by_name = {group.name: group for group in comparison.groups}
    baseline, *others = (by_name[name] for name in groups)
    return tuple(pair for group in others for pair in _pairs(group, baseline, comparison.score, per_class))


def pair_notes(pairs: Sequence[ComparedPair]) -> Iterator[str]:
    """Yield what a reader must know of the intervals."""
    found = [pair.difference for pair in pairs if pair.difference and pair.difference.interval]
    if len(found) > 1:
        yield f"{len(found)} intervals of 95 % each: of 20 such intervals one misses the truth"
    if any(len(one.crops) == 1 for one in found):
        yield "1 crop: the interval says nothing about other crops"
    if any(not one.paired for one in found):
        yield "the seeds do not pair: each side's were drawn on their own"
    if any(pair.part == "validate" for pair in pairs):
        yield "differences on selection crops are in part those of how much there was to choose from"


def format_difference(value: float, score: Score) -> str:
    """Write a difference with its sign."""
    return f"{'+' if value > 0 else ''}{format_value(value, score)}"


def _pairs(group: ComparedGroup, baseline: ComparedGroup, score: Score, per_class: bool) -> Iterator[ComparedPair]:
    part = "test" if group.part == baseline.part == "test" else "validate"
    one, other = group.trainings(part), baseline.trainings(part)
    classes = {class_name for cells in (*one.values(), *other.values()) for _, class_name in cells}
    for class_name in [None, *(sorted(classes) if per_class else ())]:
        found = difference(one, other, class_name) if one and other else None
        shown = found is not None and found.excludes_zero and found.knows_trainings
        ahead = _ahead(found, group.name, baseline.name, score) if found else None
        yield ComparedPair(
            group=group.name,
            baseline=baseline.name,
            class_name=class_name,
            part=part,
            difference=found,
            better=ahead if shown else None,
            verdict=_verdict(found, ahead, score),
        )


def _ahead(found: Difference, first: str, second: str, score: Score) -> str | None:
    """Name the one with the better value."""
    if found.value == 0:
        return None
    return first if (found.value > 0) == score.higher_is_better else second


def _verdict(found: Difference | None, ahead: str | None, score: Score) -> str:
    if found is None:
        return "no crop and class was scored in both"
    amount = format_value(abs(found.value), score)
    single = "1 seed: another training may say otherwise"
    if found.interval is None:
        return f"{ahead or 'neither'} scored better{f' by {amount}' if ahead else ''}; {single}"
    if not found.excludes_zero:
        return "no difference shown" if found.knows_trainings else f"no difference shown; {single}"
    if not found.knows_trainings:
        return f"{ahead} scored better by {amount}; {single}"
    return f"{ahead} is better by {amount}"


def counts(found: Difference) -> str:
    """Write n seeds x n crops; of two numbers of seeds the second is the baseline's."""
    first, second = map(len, found.seeds)
    seeds = str(first) if found.paired else f"{first} and {second}"
    return f"{seeds} x {len(found.crops)}"
