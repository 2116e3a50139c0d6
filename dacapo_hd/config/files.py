"""Read YAML strictly; environment variables in strings."""

from __future__ import annotations

import difflib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from dacapo_hd.config.problems import Problem, Problems
from dacapo_hd.errors import UserError

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if name.__hash__ is not None and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} is given twice", key.start_mark)
            seen.add(name if name.__hash__ is not None else None)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Parse YAML; ValueError with line, column and reason."""
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{_reason(error)}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ValueError("not YAML: nested too deep") from None


def _reason(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, yaml.constructor.ConstructorError) and "twice" in str(error.problem):
        return str(error.problem)
    return f"not YAML: {error.problem or error.context}"


def read_yaml(path: Path) -> Any:
    """Read a YAML file; raises `Problems` that name the file."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = "no such file" + similar_file(path)
    except UnicodeDecodeError:
        message = "not YAML: not a text file"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except ValueError as error:
        message = str(error)
    raise Problems([Problem(message, source=str(path))])


def similar_file(path: Path) -> str:
    """Suggest a file of the same folder for one that does not exist."""
    try:
        names = {entry.stem: entry.name for entry in path.parent.iterdir()}
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.stem, names, n=1)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; a text that cannot be a path, for instance a too long one, names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def unset_variables(text: str) -> tuple[str, ...]:
    """Name the environment variables in `text` that are not set."""
    return tuple(name for name in dict.fromkeys(_VARIABLE.findall(text)) if name not in os.environ)


def unset_message(name: str) -> str:
    """Say that an environment variable is not set, and what to do."""
    return f"environment variable {name} is not set; set it with 'export {name}=...'"


def expand_env(text: str) -> str:
    """Replace each `${NAME}` by the environment variable's value; UserError naming those that are not set."""
    unset = unset_variables(text)
    if unset:
        raise UserError(*(f"{text}: {unset_message(name)}" for name in unset))
    return _VARIABLE.sub(lambda match: os.environ[match[1]], text)


def local_path(text: str | Path) -> Path:
    """Return the absolute path of a file or folder that a user names.

    `~` and `~user` are home folders. `..` leads where the file system says, which after a symbolic link is not the
    folder before it; what follows the last `..` stays as it is written.
    """
    path = Path(text)
    if str(text).startswith("~"):
        # a file may be named like the home of a user who does not exist
        with suppress(RuntimeError):
            path = path.expanduser()
    path = path.absolute()
    if ".." not in path.parts:
        return path
    end = len(path.parts) - path.parts[::-1].index("..")
    return Path(os.path.realpath(Path(*path.parts[:end])), *path.parts[end:])


def tidy_path(path: Path) -> Path:
    """Return a path without `..` where that leads to the same place, which after a symbolic link it may not."""
    short = Path(os.path.normpath(path))
    return short if os.path.realpath(short) == os.path.realpath(path) else path


def is_relative(text: str) -> bool:
    """Tell whether a path begins at some folder; one that begins with a variable is the environment's matter."""
    return "://" not in text and not text.startswith(("/", "~", "${"))


def placed(text: str, folder: str | None) -> str:
    """Return a path or URL with environment variables replaced; a relative path begins at `folder` if there is one.

    UserError naming both places if it is there only as seen from the working directory.
    """
    expanded = expand_env(text)
    if folder is None or not is_relative(text):
        return expanded
    there, here = local_path(Path(folder, expanded)), local_path(expanded)
    if not is_there(there) and is_there(here):
        raise UserError(
            f"{text}: not at {there}, only at {here}; paths begin at the folder of the file that "
            f"names them, {folder}: write {os.path.relpath(here, folder)}"
        )
    return str(there)


def is_there(path: Path) -> bool:
    """Tell whether a path exists, be it as the name of something in a file."""
    try:
        return path.exists() or any(parent.is_file() for parent in path.parents)
    except (OSError, ValueError):
        return False
