"""Class schemes: which classes there are, and which consist of others (METHODS.md, section 0)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import yaml

from dacapo_hd.errors import UserError, suggestion


def _parts_by_name(classes: Mapping[str, Sequence[str] | None]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(parts or ()) for name, parts in classes.items()}


def _check_parts(
    instance: ClassScheme, attribute: attrs.Attribute[Any], classes: Mapping[str, tuple[str, ...]]
) -> None:
    problems = [
        f"class {name!r} has the unknown part {part!r}{suggestion(part, classes)}"
        for name, parts in classes.items()
        for part in parts
        if part not in classes
    ]
    problems = problems or [f"class {name!r} contains itself: {path}" for name, path in _cycles(classes)]
    if problems:
        raise UserError(*problems)


def _cycles(classes: Mapping[str, tuple[str, ...]]) -> Iterable[tuple[str, str]]:
    """Yield the first cycle met from each class that is not yet known to be free of them, once."""
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> Iterable[tuple[str, str]]:
        if name in above:
            yield name, " -> ".join((*above[above.index(name) :], name))
        elif name not in done:
            for part in classes[name]:
                yield from visit(part, (*above, name))
            done.add(name)

    for name in classes:
        yield from visit(name, ())


@attrs.frozen(slots=False)
class ClassScheme:
    """Classes and their parts: no parts means atomic; at most one atomic class is present at a voxel.

    A composite class is the union of its parts, which may be composite themselves. With `overlapping` nothing is known
    about how classes exclude or contain each other, and nothing is derived from one for another.
    Raises UserError for unknown parts and for cycles.
    """

    classes: Mapping[str, tuple[str, ...]] = attrs.field(converter=_parts_by_name, validator=_check_parts)
    overlapping: bool = False

    @classmethod
    def from_file(cls, path: str | Path) -> ClassScheme:
        """Read a YAML file (`classes: {name: [parts]}`) or a CSV file (rows of name, id, "ids of the parts")."""
        file = Path(path)
        if not file.is_file():
            raise UserError(f"class scheme {str(file)!r}: no such file")
        try:
            read = _from_csv if file.suffix.lower() == ".csv" else _from_yaml
            return cls(read(file.read_text(encoding="utf-8-sig")))
        except UserError as error:
            raise UserError(*(f"{file}: {problem}" for problem in error.problems)) from None

    @classmethod
    def of_atoms(cls, names: Iterable[str], overlapping: bool = False) -> ClassScheme:
        """Make the scheme in which every class is atomic."""
        return cls(dict.fromkeys(names, ()), overlapping)

    def atoms(self, name: str) -> frozenset[str]:
        """Return the atomic classes of a class (itself, if atomic); UserError if the scheme does not have it."""
        if name not in self._atoms:
            raise UserError(self.unknown_class(name))
        return self._atoms[name]

    def unknown_class(self, name: str) -> str:
        """Word the problem of a class that the scheme does not have."""
        near = suggestion(name, self.classes)
        return f"class {name!r} is not in the scheme{near or '; it has ' + ', '.join(self.classes)}"

    def exclusive(self, a: str, b: str) -> bool:
        """Tell whether two classes cannot both be present at a voxel."""
        return not self.overlapping and not self.atoms(a) & self.atoms(b)

    @cached_property
    def _atoms(self) -> dict[str, frozenset[str]]:
        atoms: dict[str, frozenset[str]] = {}

        def collect(name: str) -> frozenset[str]:
            if name not in atoms:
                parts = self.classes[name]
                atoms[name] = frozenset().union(*map(collect, parts)) if parts else frozenset((name,))
            return atoms[name]

        for name in self.classes:
            collect(name)
        return atoms


def _from_yaml(text: str) -> Mapping[str, Sequence[str] | None]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"not a YAML file: {' '.join(str(error).split())}") from None
    classes = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(classes, dict):
        raise UserError("must hold `classes:`, a mapping from the name of a class to the list of its parts")
    problems = [
        f"classes.{name}: must be a list of class names, got {parts!r}"
        for name, parts in classes.items()
        if not (parts is None or (isinstance(parts, list) and all(isinstance(part, str) for part in parts)))
    ]
    if problems:
        raise UserError(*problems)
    return {str(name): parts for name, parts in classes.items()}


def _from_csv(text: str) -> Mapping[str, Sequence[str] | None]:
    names: dict[str, str] = {}
    part_ids: dict[str, tuple[int, list[str]]] = {}
    problems = []
    for line, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (line == 1 and [cell.lower() for cell in cells[:2]] == ["name", "id"]):
            continue
        if len(cells) not in (2, 3) or not cells[0] or not cells[1].isdecimal():
            problems.append(f'line {line}: must be name, id, "ids of the parts", got {",".join(row)!r}')
        elif cells[0] in part_ids or cells[1] in names:
            problems.append(f"line {line}: the name {cells[0]!r} or the id {cells[1]} occurs twice")
        else:
            names[cells[1]] = cells[0]
            listed = cells[2] if len(cells) == 3 else ""
            part_ids[cells[0]] = (line, [part.strip() for part in listed.split(",") if part.strip()])
    for name, (line, ids) in part_ids.items():
        problems += [f"line {line}: class {name!r} has the unknown part id {part}" for part in ids if part not in names]
    if problems:
        raise UserError(*problems)
    return {name: [names[part] for part in ids] for name, (_, ids) in part_ids.items()}
