"""Plain data -> objects through cattrs, without coercion and with every problem in its place."""

from __future__ import annotations

import inspect
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from os.path import relpath
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
import cattrs

from dacapo_hd.config import scalars
from dacapo_hd.config.component import NAMING_FOLDER, Component
from dacapo_hd.config.families import builtin_type, find_type
from dacapo_hd.config.files import (
    expand_env,
    is_file,
    is_relative,
    read_yaml,
    similar_file,
    tidy_path,
    unset_message,
    unset_variables,
)
from dacapo_hd.config.overrides import (
    MISSING,
    CommandLineText,
    Deferred,
    Override,
    applied,
    not_a_section,
    parse_overrides,
)
from dacapo_hd.config.problems import COMMAND_LINE, FOUND, ConfigError, Problem, Problems, problems_of, shown
from dacapo_hd.config.unstructuring import unstructure
from dacapo_hd.errors import suggestion

T = TypeVar("T")


def load(path: str | Path, cls: type[T], overrides: Sequence[str] = ()) -> T:
    """Read an object from a YAML file; ConfigError with all problems.

    `overrides` are `path.to.field=value` texts. Environment variables that the file mentions must be set, and relative
    paths of data begin at the file's folder.
    """
    return structure(load_data(path), cls, str(path), overrides, from_file=True)


def load_data(path: str | Path) -> Any:
    """Read the plain data of a YAML file; ConfigError if there is no such file or it is not YAML."""
    with reported(str(path)):
        data = read_yaml(Path(path))
        if isinstance(data, str):
            raise TypeError(f"expected a mapping, got {shown(data)}")
        return data


def structure(
    data: Any, cls: type[T], source: str = "", overrides: Sequence[str] = (), *, from_file: bool = False
) -> T:
    """Make an object from plain data; ConfigError with all problems.

    `source` is where the data come from: messages begin with it, and files that the data name are relative to it
    (without it, to the working directory). `from_file`: it is a file, written on this machine.
    """
    with reported(source):
        changes = parse_overrides(overrides)
    with reported(source, changes):
        made: T = Structurer(source, from_file).structure(reduce(applied, changes, data), cls)
        return made


@contextmanager
def reported(source: str, overrides: Sequence[Override] = ()) -> Iterator[None]:
    """Turn what is raised inside into a ConfigError about the file `source` and these overrides."""
    try:
        yield
    except FOUND as error:
        paths = [override.path for override in overrides]
        raise ConfigError(*dict.fromkeys(problem.line(source, paths) for problem in problems_of(error))) from None


class Structurer:
    """One conversion: a cattrs converter that knows in which file it is."""

    def __init__(self, source: str, from_file: bool) -> None:
        self._files = [Path(source)] if source else []
        self._from_file = from_file
        self._converter = self._make_converter()

    def structure(self, value: Any, cls: Any) -> Any:
        """Convert one value; raises one of `FOUND`."""
        if isinstance(value, Deferred):
            if value.base is MISSING:
                value = value.applied_to(None)
            elif not any(map(_is_section, get_args(cls) if _is_union(cls) else [cls])):
                raise not_a_section(value.overrides[0])
        return self._converter.structure(value, cls)

    def _make_converter(self) -> cattrs.Converter:
        # Each hook replaces a default of cattrs that coerces: bool("false") is True, int(3.7) is 3.
        converter = cattrs.Converter()
        converter.register_structure_hook(int, lambda value, _: scalars.integer(value))
        converter.register_structure_hook(float, lambda value, _: scalars.number(value))
        converter.register_structure_hook(bool, lambda value, _: scalars.boolean(value))
        converter.register_structure_hook(str, lambda value, _: self._text(value))
        converter.register_structure_hook(Path, lambda value, _: Path(self._text(value)))
        for matches, hook in (
            (lambda cls: cls is Any, lambda value, _: value),
            (lambda cls: _origin(cls) is Literal, scalars.literal),
            (_is_union, self._union),
            (lambda cls: _origin(cls) in (tuple, list, Sequence), self._sequence),
            (lambda cls: _origin(cls) in (dict, Mapping), self._mapping),
            (_is_section, self._section),
        ):
            converter.register_structure_hook_func(matches, hook)
        return converter

    def _text(self, value: Any) -> str:
        text = scalars.text(value)
        unset = unset_variables(text) if self._from_file else ()
        if unset:
            raise Problems(Problem(unset_message(name)) for name in unset)
        return text

    def _union(self, value: Any, cls: Any) -> Any:
        options = [option for option in get_args(cls) if option is not type(None)]
        if value is None and len(options) < len(get_args(cls)):
            return None
        failures = []
        for option in options:
            try:
                return self.structure(value, option)
            except FOUND as error:
                failures.append(problems_of(error))
        deepest = max(failures, key=lambda problems: max(len(problem.path) for problem in problems))
        if len(options) == 1 or deepest[0].path:
            raise Problems(deepest)
        reasons = dict.fromkeys(
            problems[0].message.partition(", got ")[0].removeprefix("expected ") for problems in failures
        )
        raise ValueError(f"expected {' or '.join(reasons)}, got {shown(value)}")

    def _sequence(self, value: Any, cls: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"expected a list, got {shown(value)}")
        kind = list if _origin(cls) is list else tuple
        args = get_args(cls) or (Any, ...)
        if kind is tuple and args[-1] is not Ellipsis and _origin(cls) is tuple:
            if len(args) != len(value):
                raise ValueError(f"expected a list of {len(args)} entries, got {shown(list(value))}")
        else:
            args = (args[0],) * len(value)
        return kind(self._each([(str(index), *pair) for index, pair in enumerate(zip(value, args, strict=True))]))

    def _mapping(self, value: Any, cls: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a mapping, got {shown(value)}")
        key_type, value_type = get_args(cls) or (Any, Any)
        keys = self._each([(str(key), key, key_type) for key in value])
        return dict(zip(keys, self._each([(str(key), entry, value_type) for key, entry in value.items()]), strict=True))

    def _each(self, entries: list[tuple[str, Any, Any]]) -> list[Any]:
        made, problems = [], []
        for key, value, cls in entries:
            try:
                made.append(self.structure(value, cls))
            except FOUND as error:
                problems += [problem.under(key) for problem in problems_of(error)]
        if problems:
            raise Problems(problems)
        return made

    def _section(self, value: Any, cls: Any) -> Any:
        deferred = value if isinstance(value, Deferred) else Deferred(value, ())
        if isinstance(deferred.base, str):
            made = self._from_text(deferred.base, cls)
            if made is None:
                return self._file(deferred, cls)
            return self._section(deferred.applied_to(unstructure(made)), cls) if deferred.overrides else made
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a mapping, got {shown(value)}")
        fields = {str(key): entry for key, entry in value.items()}
        if issubclass(cls, Component):
            try:
                cls = find_type(cls, _plain(fields.pop("type", None)))
            except ValueError as error:
                raise Problems([Problem.at("type", str(error))]) from None
        return self._object(fields, cls)

    def _from_text(self, base: str, cls: Any) -> Any:
        """Make an object of what a class takes from a text or from a file of another kind; None if it takes neither."""
        if hasattr(cls, "from_file"):
            return cls.from_file(self._find(base, cls))
        if not hasattr(cls, "from_string"):
            return None
        made = cls.from_string(self._text(base))
        folders = _naming_folders(cls) if attrs.has(cls) else []
        return attrs.evolve(made, **dict.fromkeys(folders, self._folder_of(base))) if folders else made

    def _folder_of(self, text: Any) -> str | None:
        """Return the folder at which a path begins, None if it begins nowhere in particular."""
        if not self._from_file or not isinstance(text, str) or not is_relative(text):
            return None
        return str(Path.cwd() if isinstance(text, CommandLineText) else self._files[-1].parent.absolute())

    def _file(self, deferred: Deferred, cls: Any) -> Any:
        path = self._find(deferred.base, cls)
        if path.resolve() in [file.resolve() for file in self._files]:
            chain = " -> ".join(map(str, [*self._files, path]))
            raise ValueError(f"the files name each other in a circle: {chain}")
        data = read_yaml(path)
        self._files.append(path)
        try:
            return self._section(deferred.applied_to(data), cls)
        except FOUND as error:
            raise Problems(problem.within(str(path)) for problem in problems_of(error)) from None
        finally:
            self._files.pop()

    def _find(self, text: str, cls: Any) -> Path:
        folders = [self._files[-1].parent] if self._files else [Path()]
        if isinstance(text, CommandLineText):
            folders.insert(0, Path())
        paths = [tidy_path(folder / Path(expand_env(text)).expanduser()) for folder in folders]
        for path in paths:
            if is_file(path):
                return path
        if not isinstance(text, CommandLineText) and is_relative(text) and is_file(Path(expand_env(text))):
            raise ValueError(
                f"no such file '{paths[-1]}'; there is {Path(expand_env(text)).absolute()}, but names are relative to "
                f"the file in which they stand: write {relpath(expand_env(text), folders[-1])}"
            )
        if issubclass(cls, Component) and builtin_type(cls, text):
            raise ValueError(f"no such file '{paths[-1]}'; for the built-in write {{type: {text}}}")
        raise ValueError(f"no such file '{paths[-1]}'{similar_file(paths[-1])}")

    def _object(self, given: dict[str, Any], cls: Any) -> Any:
        attrs.resolve_types(cls)
        fields = {field.alias or field.name: field for field in attrs.fields(cls) if field.init}
        problems = _unknown_and_missing(given, fields, cls)
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in given:
                try:
                    values[name] = self.structure(_with_default(given[name], field), field.type or Any)
                except FOUND as error:
                    problems += [problem.under(name) for problem in problems_of(error)]
        for name in _naming_folders(cls):
            if name not in given or isinstance(given.get("path"), CommandLineText):
                values[name] = self._folder_of(given.get("path"))
        failed: tuple[Problem, ...] = ()
        if not problems:
            try:
                return cls(**values)
            except FOUND as error:
                failed = problems_of(error)
        problems += _refused_by_validators(cls, fields, values, set(fields) - set(given))
        raise Problems(problems or failed)


def _naming_folders(cls: Any) -> list[str]:
    """Return the fields of a class that keep the folder at which its path begins."""
    return [field.name for field in attrs.fields(cls) if NAMING_FOLDER.keys() <= field.metadata.keys()]


def _plain(name: Any) -> Any:
    """Return the value of `type:`, which has no fields that an override could reach."""
    if isinstance(name, Deferred):
        raise Problems(problem.under("type") for problem in problems_of(not_a_section(name.overrides[0])))
    return name


def _origin(cls: Any) -> Any:
    return get_origin(cls) or cls


def _is_union(cls: Any) -> bool:
    return _origin(cls) in (Union, types.UnionType)


def _is_section(cls: Any) -> bool:
    return inspect.isclass(cls) and (attrs.has(cls) or issubclass(cls, Component))


def _with_default(value: Any, field: attrs.Attribute[Any]) -> Any:
    """Let overrides inside a field that the file leaves out change the field's default."""
    if not isinstance(value, Deferred) or value.base is not MISSING:
        return value
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = None if default.takes_self else default.factory()
    return value.applied_to(None if default is attrs.NOTHING else unstructure(default))


def _unknown_and_missing(
    given: Mapping[str, Any], fields: Mapping[str, attrs.Attribute[Any]], cls: type[Any]
) -> list[Problem]:
    problems, meant = [], []
    for key, value in given.items():
        if key not in fields:
            hint = suggestion(key, fields)
            meant.append(hint)
            source = COMMAND_LINE if isinstance(value, Deferred) and value.base is MISSING else None
            known = f"; {cls.__name__} has {', '.join(map(repr, fields))}" if fields else f"; {cls.__name__} has none"
            problems.append(Problem.at(key, f"unknown field{hint or known}", source))
    for name, field in fields.items():
        misspelt = any(repr(name) in hint for hint in meant)
        if name not in given and field.default is attrs.NOTHING and not misspelt:
            problems.append(Problem.at(name, "missing"))
    return problems


def _set_default(instance: Any, field: attrs.Attribute[Any]) -> None:
    """Set what attrs would, since the validators of other fields may look at it."""
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        try:
            default = default.factory(instance) if default.takes_self else default.factory()
        except AttributeError:
            return  # it comes from a field that is not there, whose own problem is reported
    if default is not attrs.NOTHING:
        object.__setattr__(instance, field.name, default)


def _refused_by_validators(
    cls: type[Any], fields: Mapping[str, attrs.Attribute[Any]], values: Mapping[str, Any], left_out: Collection[str]
) -> list[Problem]:
    """Run every validator: attrs stops at the first that fails and does not say at which field it was."""
    instance = object.__new__(cls)
    for name, field in fields.items():
        if name in values:
            object.__setattr__(instance, field.name, values[name])
        elif name in left_out:
            _set_default(instance, field)
    problems: list[Problem] = []
    for name, value in values.items():
        validator: Any = fields[name].validator
        if validator is None:
            continue
        try:
            validator(instance, fields[name], value)
        except FOUND as error:
            problems += [problem.under(name) for problem in problems_of(error)]
        except AttributeError:
            continue  # it looks at another field, whose own problem is reported
    return problems
