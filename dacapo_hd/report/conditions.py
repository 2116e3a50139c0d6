"""A small language of conditions that only compares, as `task=HotDistance and dice>0.8`.

condition  = both {"or" both}
both       = single {"and" single}
single     = "not" single | "(" condition ")" | field operator value
operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from dacapo_hd.errors import UserError

DEEPEST = 40

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"""\s*(?:(?P<operator>!=|<=|>=|==|[=<>~])|(?P<bracket>[()])|"(?P<double>[^"]*)"|'(?P<single>[^']*)'"""
    r"""|(?P<word>[^\s()=!<>~'"]+))"""
)


@attrs.frozen
class Test:
    """A comparison of a field with a value; `places` are where the two are in the text."""

    field: str
    operator: str
    value: str
    places: tuple[int, int]

    @property
    def number(self) -> float | None:
        """The value as a number, if it is one."""
        try:
            return float(self.value)
        except ValueError:
            return None

    def holds_for(self, found: Any) -> bool:
        """Tell whether a stored value passes; one of a list is enough, what is not there passes `!=` alone.

        Raises TypeError where the order of a number and a text is asked for.
        """
        if self.operator == "!=":
            return not attrs.evolve(self, operator="=").holds_for(found)
        if isinstance(found, list | tuple):
            return any(self.holds_for(one) for one in found)
        if found is None:
            return self.operator == "=" and self.value.lower() in ("null", "none")
        if self.operator == "~":
            return self.value.casefold() in str(found).casefold()
        if isinstance(found, bool | str):
            text, wanted = str(found).casefold(), self.value.casefold()
            return _ORDERS[self.operator](text, wanted) if self.operator in _ORDERS else wanted in names_of(text)
        if self.number is None:
            if self.operator in _ORDERS:
                raise TypeError
            return False
        return _ORDERS[self.operator](found, self.number) if self.operator in _ORDERS else found == self.number


@attrs.frozen
class Not:
    """True where its part is not."""

    part: Condition


@attrs.frozen
class Every:
    """True where all of its parts are."""

    parts: tuple[Condition, ...]


@attrs.frozen
class Some:
    """True where one of its parts is."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Test | Not | Every | Some


def parse_condition(text: str) -> Condition:
    """Read a condition; UserError that points at the place of a mistake."""
    return _Parser(text).parse()


def tests_of(condition: Condition) -> Iterator[Test]:
    """Yield the comparisons of a condition, from left to right."""
    match condition:
        case Test():
            yield condition
        case Not():
            yield from tests_of(condition.part)
        case Every() | Some():
            for part in condition.parts:
                yield from tests_of(part)


def holds(condition: Condition, passed: Mapping[Test, bool]) -> bool:
    """Tell whether a condition is true, given which of its comparisons pass."""
    match condition:
        case Test():
            return passed[condition]
        case Not():
            return not holds(condition.part, passed)
        case Every():
            return all(holds(part, passed) for part in condition.parts)
        case Some():
            return any(holds(part, passed) for part in condition.parts)


def names_of(text: str) -> tuple[str, str]:
    """Return a text, and what it ends with if it is a class with its module, as my_lab.tasks:Mine."""
    return text, text.rpartition(":")[2]


def error_at(text: str, place: int, message: str) -> UserError:
    """Word a mistake with the text and a pointer to the place."""
    return UserError(f"--filter: {message}", f"  {text}", f"  {' ' * place}^")


@attrs.frozen
class _Token:
    kind: str
    text: str
    place: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.lower() == word

    def is_bracket(self, bracket: str) -> bool:
        return self.kind == "bracket" and self.text == bracket


class _Parser:
    """Reads the text from left to right; `self.next` is the token that is not read yet."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens())
        self.index = 0

    def parse(self) -> Condition:
        condition = self._condition(0)
        if self.next.kind != "end":
            raise self._expected("'and', 'or' or the end")
        return condition

    @property
    def next(self) -> _Token:
        return self.tokens[self.index]

    def _tokens(self) -> Iterator[_Token]:
        place, end = 0, len(self.text.rstrip())
        while place < end:
            found = _TOKEN.match(self.text, place)
            if found is None:
                start = place + len(self.text[place:]) - len(self.text[place:].lstrip())
                quote = self.text[start] in "'\""
                what = "this quote is not closed" if quote else f"unexpected {self.text[start]!r}"
                raise error_at(self.text, start, what)
            kind = found.lastgroup or ""
            yield _Token(kind, found[kind], found.start(kind))
            place = found.end()
        yield _Token("end", "the end", end)

    def _condition(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self.next.is_word("or"):
            self.index += 1
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._single(depth)]
        while self.next.is_word("and"):
            self.index += 1
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _single(self, depth: int) -> Condition:
        first = self.next
        if depth > DEEPEST:
            raise error_at(self.text, first.place, f"nested more than {DEEPEST} times")
        if first.is_word("not"):
            self.index += 1
            return Not(self._single(depth + 1))
        if first.is_bracket("("):
            self.index += 1
            condition = self._condition(depth + 1)
            if not self.next.is_bracket(")"):
                raise self._expected("')'")
            self.index += 1
            return condition
        return self._test()

    def _test(self) -> Test:
        field = self._take(("word",), "a field, such as task or dice")
        sign = self._take(("operator",), f"one of = != < <= > >= ~ after {field.text!r}")
        value = self._take(("word", "double", "single"), f"a value after {sign.text!r}")
        symbol = "=" if sign.text == "==" else sign.text
        return Test(field.text, symbol, value.text, (field.place, value.place))

    def _take(self, kinds: tuple[str, ...], what: str) -> _Token:
        found = self.next
        if found.kind not in kinds or (found.kind == "word" and found.text.lower() in ("and", "or", "not")):
            raise self._expected(what)
        self.index += 1
        return found

    def _expected(self, what: str) -> UserError:
        found = self.next
        shown = found.text if found.kind == "end" else repr(found.text)
        return error_at(self.text, found.place, f"expected {what}, found {shown}")
