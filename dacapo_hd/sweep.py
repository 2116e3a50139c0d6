"""A sweep file: lists of parts, whose product is runs with readable names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Any

import attrs

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.config import canonical_hash, non_empty
from dacapo_hd.config.naming import entry_names, unique
from dacapo_hd.config.overrides import Deferred, Override, applied, parse_overrides
from dacapo_hd.config.problems import COMMAND_LINE, Problem, Problems
from dacapo_hd.config.structuring import Structurer, load_data, reported
from dacapo_hd.datasplits.base import Datasplit
from dacapo_hd.errors import suggestion
from dacapo_hd.run import Run, load_run
from dacapo_hd.tasks.base import Task
from dacapo_hd.training.start import Start
from dacapo_hd.training.trainer import Trainer

AXES = {
    "task": "tasks",
    "architecture": "architectures",
    "datasplit": "datasplits",
    "trainer": "trainers",
    "start": "starts",
}
AXES_WITH_SEED = {**AXES, "seed": "seeds"}


def _known_parts(instance: Any, attribute: attrs.Attribute[str], value: str) -> None:
    for _, part, _, _ in Formatter().parse(value):
        if part is not None and part not in AXES_WITH_SEED:
            options = ", ".join(f"{{{axis}}}" for axis in AXES_WITH_SEED)
            raise ValueError(f"unknown part '{{{part}}}'{suggestion(part, AXES_WITH_SEED) or f'; use {options}'}")


@attrs.frozen(kw_only=True)
class Sweep:
    """The lists of a sweep file; `name` begins the names of its runs, or is a template such as `{task}-s{seed}`.

    Without `starts`, all runs start with random weights.
    """

    name: str = attrs.field(validator=_known_parts)
    tasks: tuple[Task, ...] = attrs.field(validator=non_empty)
    architectures: tuple[Architecture, ...] = attrs.field(validator=non_empty)
    datasplits: tuple[Datasplit, ...] = attrs.field(validator=non_empty)
    trainers: tuple[Trainer, ...] = attrs.field(validator=non_empty)
    seeds: tuple[int, ...] = attrs.field(default=(0,), validator=non_empty)
    starts: tuple[Start, ...] = ()


def is_sweep(path: str | Path) -> bool:
    """Tell whether a file is a sweep and not a run; ConfigError if it cannot be read."""
    data = load_data(path)
    return isinstance(data, Mapping) and not set(AXES_WITH_SEED.values()).isdisjoint(data)


def load_runs(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Run, ...]:
    """Read the runs of a run file or a sweep file; ConfigError with all problems."""
    return load_sweep(path, overrides) if is_sweep(path) else (load_run(path, overrides),)


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Run, ...]:
    """Expand a sweep file to the product of its lists; ConfigError with all problems.

    An override of `task`, `architecture`, `datasplit`, `trainer` or `seed` changes every run. Entries that are
    equal count once.
    """
    source, data = str(path), load_data(path)
    if isinstance(data, Mapping):
        data = {"name": Path(path).stem, **data}
    with reported(source):
        _check_file_entries(data)
        changes = [change for override in parse_overrides(overrides) for change in _for_every_entry(override, data)]
    with reported(source, changes):
        data, labels = _without_labels(reduce(applied, changes, data))
        sweep: Sweep = Structurer(source, from_file=True).structure(data, Sweep)
    with reported(source):
        return _expanded(sweep, labels)


def _expanded(sweep: Sweep, labels: Mapping[str, Sequence[str | None]]) -> tuple[Run, ...]:
    given = {axis: plural for axis, plural in AXES.items() if getattr(sweep, plural)}
    named = {axis: _named_entries(axis, getattr(sweep, plural), labels[plural]) for axis, plural in given.items()}
    named["seed"] = {str(seed): seed for seed in sweep.seeds}
    varying = [axis for axis, entries in named.items() if len(entries) > 1]
    chosen = [dict(zip(named, names, strict=True)) for names in product(*named.values())]
    run_names = unique([_run_name(sweep.name, names, varying) for names in chosen], "-")
    return tuple(
        Run(name=run_name, **{axis: named[axis][name] for axis, name in names.items()})
        for run_name, names in zip(run_names, chosen, strict=True)
    )


def _named_entries(axis: str, parts: Sequence[Any], labels: Sequence[str | None]) -> dict[str, Any]:
    """Give each part its name; of equal parts only the first counts."""
    different: dict[tuple[str, str], tuple[Any, str | None]] = {}
    for part, label in zip(parts, labels, strict=True):
        # the same relative paths in two folders are other data
        different.setdefault((canonical_hash(part), repr(part)), (part, label))
    kept = [part for part, _ in different.values()]
    # a start has no type; its run says what it is
    given = [label or getattr(part, "run", "").replace("{seed}", "") or None for part, label in different.values()]
    return dict(zip(entry_names(axis, kept, given), kept, strict=True))


def _run_name(name: str, parts: Mapping[str, str], varying: Sequence[str]) -> str:
    if "{" in name:
        return name.format(**parts)
    return "-".join([name, *(f"s{parts[axis]}" if axis == "seed" else parts[axis] for axis in varying)])


def _for_every_entry(override: Override, data: Any) -> Iterator[Override]:
    head, *rest = override.path
    plural = AXES_WITH_SEED.get(head)
    entries = data.get(plural) if isinstance(data, Mapping) else None
    if plural is None:
        yield override
    elif not rest:
        yield Override((plural,), [override.value])
    elif isinstance(entries, list):
        yield from (Override((plural, str(index), *rest), override.value) for index in range(len(entries)))
    else:
        raise Problems([Problem(f"the sweep has no list {plural!r}", override.path, override.path, COMMAND_LINE)])


def _check_file_entries(data: Any) -> None:
    problems = []
    for plural in AXES.values():
        entries = data.get(plural) if isinstance(data, Mapping) else None
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if _names_a_file(entry):
                for key in entry.keys() - {"label", "file"}:
                    problem = Problem.at(str(key), "not possible beside 'file'; write it in that file")
                    problems.append(problem.under(str(index)).under(plural))
    if problems:
        raise Problems(problems)


def _names_a_file(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "file" in entry and "type" not in entry


def _without_labels(data: Any) -> tuple[Any, dict[str, list[str | None]]]:
    """Take `label` and `file` out of the entries; return the labels, or the names of the files, of every list."""
    labels: dict[str, list[str | None]] = {}
    for plural in AXES.values():
        entries = data.get(plural) if isinstance(data, Mapping) else None
        if isinstance(entries, list):
            plain = [_without_label(entry) for entry in entries]
            data = {**data, plural: [part for part, _ in plain]}
            labels[plural] = [label for _, label in plain]
    return data, labels


def _without_label(entry: Any) -> tuple[Any, str | None]:
    if not isinstance(entry, Mapping):
        text = entry.base if isinstance(entry, Deferred) else entry
        return entry, Path(text).stem if isinstance(text, str) else None
    fields = dict(entry)
    label = fields.pop("label", None)
    if not _names_a_file(entry):
        return fields, None if label is None else str(label)
    file = fields.pop("file")
    changes = tuple(Override((str(key),), value) for key, value in fields.items())
    return Deferred(file, changes) if changes else file, str(label or Path(str(file)).stem)
