"""Which stored runs fulfil a condition: its fields are keys of their configs, scores, and a few of their own."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from dacapo_hd.errors import suggestion
from dacapo_hd.evaluation.scores import SCORES
from dacapo_hd.report.conditions import (
    Condition,
    Test,
    error_at,
    holds,
    names_of,
    parse_condition,
    tests_of,
)
from dacapo_hd.report.config_keys import plain_values
from dacapo_hd.stores.rows import RunRecord

OWN_FIELDS = ("name", "seed", "iteration", "created", "git_sha", "archived")

# what is known of a run: the value of each key, and those of scores only where a query asks for them
Values: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Query:
    """A condition with the key that each of its fields means."""

    text: str
    condition: Condition
    keys: Mapping[str, str]

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that it compares."""
        return tuple(dict.fromkeys(key for key in self.keys.values() if key in SCORES))

    def matches(self, values: Values) -> bool:
        """Tell whether a run fulfils it; UserError for a comparison that has no meaning."""
        passed = {test: self._passes(test, values) for test in tests_of(self.condition)}
        return holds(self.condition, passed)

    def misspelt(self, everything: Sequence[Values]) -> Iterator[str]:
        """Yield for each `=` the text that no run has, if some run has one that is near."""
        for test in tests_of(self.condition):
            key = self.keys[test.field]
            texts = sorted({text for values in everything for text in _texts(values.get(key))})
            near = suggestion(test.value, texts)
            if test.operator == "=" and near and not any(test.holds_for(text) for text in texts):
                yield f"no run has {key} = {test.value}{near}"

    def _passes(self, test: Test, values: Values) -> bool:
        key = self.keys[test.field]
        try:
            return test.holds_for(values.get(key))
        except TypeError:
            message = f"{key} is a number, and {test.value!r} is none"
            raise error_at(self.text, test.places[1], message) from None


@attrs.frozen
class Selected:
    """The runs that fulfil a query, with their values by the scores that it compares; `hints` say why none does."""

    query: Query
    records: tuple[RunRecord, ...]
    scores: tuple[Mapping[str, float | None], ...]
    hints: tuple[str, ...]

    @classmethod
    def of(cls, query: Query, records: Sequence[RunRecord], known: Sequence[Values]) -> Selected:
        """Ask a query of runs, of which the values are known."""
        found = [(record, values) for record, values in zip(records, known, strict=True) if query.matches(values)]
        scores = tuple({score: values[score] for score in query.scores} for _, values in found)
        return cls(query, tuple(record for record, _ in found), scores, tuple(query.misspelt(known)))


def parse_query(text: str, known: Collection[str]) -> Query:
    """Read a condition on runs whose configs have the keys `known`; UserError that points at the place of a mistake."""
    # one line, so that the pointer below it points at the right place
    text = " ".join(text.splitlines()).expandtabs(1)
    condition = parse_condition(text)
    return Query(text, condition, {test.field: _key(test, text, known) for test in tests_of(condition)})


def values_of(record: RunRecord) -> dict[str, Any]:
    """Return what a query may ask of a record: its own fields, and the config by dotted paths."""
    own = {name: getattr(record, name) for name in ("name", "seed", "created", "git_sha")}
    config = {key: value for key, value in plain_values(record.config) if key not in own}
    return {**own, "archived": bool(record.archived), **config}


def _texts(found: Any) -> list[str]:
    values = found if isinstance(found, list | tuple) else [found]
    return [name for value in values if isinstance(value, str) for name in names_of(value)]


def _key(test: Test, text: str, known: Collection[str]) -> str:
    """Find the key that a field means: itself, its type if it is a part, a score, or the end of one path only."""
    field, place = test.field, test.places[0]
    for key in (field, f"{field}.type"):
        if key in OWN_FIELDS or key in known or key in SCORES:
            return key
    ends = sorted(key for key in known if any(f".{name}".endswith(f".{field}") for name in _names(key)))
    if len(ends) == 1:
        return ends[0]
    if ends:
        shown = ", ".join(ends[:4]) + (", ..." if len(ends) > 4 else "")
        raise error_at(text, place, f"{field!r} may be any of {shown}; write the whole path")
    raise error_at(text, place, f"unknown field {field!r}{_advice(field, known)}")


def _names(key: str) -> tuple[str, str]:
    """Return a key, and the part whose type it is."""
    return key, key.removesuffix(".type")


def _advice(field: str, known: Collection[str]) -> str:
    short = {name for key in known for name in (*_names(key), key.rsplit(".", 1)[-1])}
    parts = sorted({key.split(".", 1)[0] for key in known if "." in key})
    everything = f"{', '.join((*OWN_FIELDS, *parts))}, paths such as trainer.iterations, and the scores"
    # a config has so many keys that one of them may be as near as a score
    near = difflib.get_close_matches(field, [*OWN_FIELDS, *SCORES], n=1, cutoff=0.75)
    return suggestion(field, near or sorted({*OWN_FIELDS, *SCORES, *short})) or f"; there are {everything}"
