"""Which class a `type:` names: a built-in by its short name, any other by its import path."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from dacapo_hd.config.component import Component
from dacapo_hd.config.problems import shown
from dacapo_hd.errors import suggestion

Class = type[Any]


def family_root(cls: Class) -> Class:
    """Return the class directly under `Component` from which `cls` descends."""
    return next(base for base in reversed(cls.__mro__) if issubclass(base, Component) and base is not Component)


def type_name(cls: Class) -> str:
    """Return what `type:` calls a class: the short name of a built-in, else the import path `module:Class`."""
    if _is_builtin(cls):
        return cls.__name__
    return f"{cls.__module__}:{cls.__qualname__}"


def builtin_types(declared: Class) -> dict[str, Class]:
    """Return the built-ins that a field of the class `declared` may hold, by short name, in alphabetical order."""
    found = [
        cls for module in _modules(declared, r"^@attrs?\.|^@(frozen|define)") for cls in _public_types(module, declared)
    ]
    return {cls.__name__: cls for cls in sorted(found, key=lambda cls: cls.__name__)}


def find_type(declared: Class, name: Any) -> Class:
    """Return the class that `type: name` means in a field of the class `declared`; ValueError if there is none."""
    kind = family_root(declared).kind
    if name is None:
        name = getattr(declared, "default_type", None)
    if name is None:
        if _is_concrete(declared):
            return declared
        raise ValueError(f"missing; give one of {_listed(builtin_types(declared))}")
    if not isinstance(name, str):
        raise ValueError(f"expected a string, got {shown(name)}")
    if ":" in name:
        return _import_type(declared, name)
    found = builtin_type(declared, name)
    if found is not None:
        return found
    options = builtin_types(declared)
    hint = suggestion(name, options) or f"; give one of {_listed(options)}, or the import path 'module:Class'"
    raise ValueError(f"unknown {kind} {str(name)!r}{hint}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _package(root: Class) -> str:
    module = sys.modules[root.__module__]
    return root.__module__ if hasattr(module, "__path__") else module.__package__ or root.__module__


def _is_concrete(cls: Class) -> bool:
    return "__attrs_attrs__" in cls.__dict__ and not inspect.isabstract(cls)


def _is_builtin(cls: Class) -> bool:
    package = _package(family_root(cls))
    inside = cls.__module__ == package or cls.__module__.startswith(f"{package}.")
    return inside and _is_concrete(cls) and cls.__qualname__ == cls.__name__ and not cls.__name__.startswith("_")


def _public_types(module: ModuleType, declared: Class) -> Iterator[Class]:
    for cls in vars(module).values():
        if (
            inspect.isclass(cls)
            and issubclass(cls, declared)
            and cls.__module__ == module.__name__
            and _is_builtin(cls)
        ):
            yield cls


def builtin_type(declared: Class, name: str) -> Class | None:
    """Return the built-in of that short name that a field of the class `declared` may hold, None if there is none."""
    for module in _modules(declared, rf"^class {re.escape(name)}\b"):
        for cls in _public_types(module, declared):
            if cls.__name__ == name:
                return cls
    return None


def _modules(declared: Class, pattern: str) -> Iterator[ModuleType]:
    """Import those modules of the family's package whose source matches; the others may import torch or gunpowder."""
    package = _package(family_root(declared))
    inside = pkgutil.iter_modules(getattr(sys.modules[package], "__path__", []))
    for name in [package, *(f"{package}.{module.name}" for module in inside)]:
        loader: Any = getattr(find_spec(name), "loader", None)
        source = loader.get_source(name) if hasattr(loader, "get_source") else None
        if source is None or re.search(pattern, source, re.MULTILINE):
            yield importlib.import_module(name)


def _import_type(declared: Class, name: str) -> Class:
    module_name, _, class_name = name.partition(":")
    kind = family_root(declared).kind
    found: Any = _import_module(module_name)
    for part in class_name.split("."):
        container = found
        found = getattr(container, part, None)
        if found is None:
            raise ValueError(f"no class {class_name!r} in {module_name!r}{suggestion(part, _classes(container))}")
    lacking = sorted(getattr(found, "__abstractmethods__", ()))
    if not inspect.isclass(found) or not issubclass(found, declared):
        raise ValueError(f"{str(name)!r} is not a {kind}: not a subclass of {declared.__module__}:{declared.__name__}")
    if lacking:
        raise ValueError(f"{str(name)!r} is not complete: it lacks {_listed(lacking)}")
    if not attrs.has(found):
        raise ValueError(f"{str(name)!r} is not an attrs class; put @attrs.frozen above it")
    return found


def _classes(container: Any) -> list[str]:
    return [name for name, value in vars(container).items() if inspect.isclass(value)]


def _import_module(name: str) -> ModuleType:
    working_directory = str(Path.cwd())
    if working_directory not in sys.path:
        # It stays, and last: worker processes import the class again, and it must not hide an installed package.
        sys.path.append(working_directory)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"cannot import {name!r}: {error}") from None
    except Exception as error:
        raise ValueError(f"cannot import {name!r}: {type(error).__name__}: {error}") from error
