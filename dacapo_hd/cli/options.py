"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from click.core import ParameterSource

from dacapo_hd.errors import UserError

if TYPE_CHECKING:
    from dacapo_hd.manager import RunManager
    from dacapo_hd.stores import Store

MONGODB = "mongodb://HOST/DATABASE"
DEFAULT_STORE = "./runs"

set_option = click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a field, e.g. task.scale_nm=80."
)
quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")


@attrs.frozen
class Place:
    """Where runs are kept: a folder or a MongoDB database, and for the latter the folder of the weights."""

    address: str
    weights: str | None = None
    given_by: str = "--store"

    def open(self, make: bool = False) -> Store:
        """Open the store; raises UserError if it is a folder that is not there, unless it may be made."""
        from dacapo_hd.stores import open_store
        from dacapo_hd.stores.address import is_mongodb

        if not self.address:
            raise UserError(f"{self.given_by}: the address is empty; give a folder or {MONGODB}")
        weights = None if self.weights is None else str(Path(self.weights).expanduser())
        store = open_store(self.address if is_mongodb(self.address) else self._folder, weights)
        if not is_mongodb(self.address):
            self._require_folder(make)
        return store

    @property
    def exists(self) -> bool:
        """Whether there is a store: a folder may still have to be made."""
        from dacapo_hd.stores.address import is_mongodb

        return is_mongodb(self.address) or self._folder.is_dir()

    @property
    def _folder(self) -> Path:
        # what an environment variable holds, or stands behind `=`, no shell has expanded
        return Path(self.address).expanduser()

    def manager(self, make: bool = False) -> RunManager:
        """Open the store for the work on runs."""
        from dacapo_hd.manager import RunManager

        return RunManager(self.open(make))

    def _require_folder(self, make: bool) -> None:
        folder = self._folder
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{self.given_by}: {folder} is a file; give a folder or {MONGODB}")
        if not folder.exists() and not make:
            made = "" if self.given_by == "FROM" else ", or train a run, which makes it"
            raise UserError(f"{self.given_by}: there is no folder {folder}; give another one{made}")


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --store and --weights; the command gets them as `place`."""

    @click.option(
        "--store",
        envvar="DACAPO_HD_STORE",
        default=DEFAULT_STORE,
        show_default=True,
        metavar=f"FOLDER|{MONGODB}",
        callback=_given_above,
        help="Where runs, statistics and scores are kept (also DACAPO_HD_STORE).",
    )
    @click.option(
        "--weights",
        envvar="DACAPO_HD_WEIGHTS",
        metavar="FOLDER",
        callback=_given_above,
        help="Folder of the weights, for a store in MongoDB (also DACAPO_HD_WEIGHTS).",
    )
    @functools.wraps(function)
    def command(*arguments: Any, store: str, weights: str | None, **options: Any) -> Any:
        context = click.get_current_context()
        place = Place(store, weights if "weights" in context.meta else own_weights(context, "weights", store, weights))
        return function(*arguments, place=place, **options)

    return command


def own_weights(context: click.Context, option: str, address: str, weights: str | None) -> str | None:
    """Leave out a folder from the environment for a store that needs none: it is meant for others."""
    by_environment = context.get_parameter_source(option) is ParameterSource.ENVIRONMENT
    return None if by_environment and "://" not in address else weights


def _given_above(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Let an option of a group hold for its command: `runs --store X rm NAME` must not remove from another store."""
    assert parameter.name is not None
    if context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
        context.meta[parameter.name] = value
    return context.meta.get(parameter.name, value)


class VoxelSize(click.ParamType):  # type: ignore[type-arg]
    """A voxel size in nm, or with its unit at the end: `8,8,8` or `0.008,0.008,0.008um`."""

    name = "Z,Y,X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from dacapo_hd.arrays import typed_size_nm

        try:
            typed_size_nm(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


class Range(click.ParamType):  # type: ignore[type-arg]
    """Two rising numbers."""

    name = "LOW,HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        try:
            low, high = map(float, value if isinstance(value, tuple) else str(value).split(","))
        except ValueError:
            low = high = 0.0
        if not -float("inf") < low < high < float("inf"):
            self.fail(f"expected two rising numbers as LOW,HIGH, got {value!r}", param, ctx)
        return low, high


class Axes(click.ParamType):  # type: ignore[type-arg]
    """The names of the stored axes in their order: `zyx`, `z,y,x,c`, `xyz!`."""

    name = "AXES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from dacapo_hd.arrays import parse_axes

        try:
            return parse_axes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def array_options(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that say what the file of an array does not; `what` is the argument that names the array."""
    options = (
        click.option("--axes", type=Axes(), help=f"Stored axes of {what} in order, e.g. zyxc; xyz! against the file."),
        click.option(
            "--voxel-size", type=VoxelSize(), help=f"Voxel size of {what} in nm, instead of what the file says."
        ),
        click.option("--assumed-voxel-size", type=VoxelSize(), help="The same, but only where the file has none."),
        click.option("--offset", type=Position(), help=f"Lower corner of {what} in nm, instead of what the file says."),
        click.option("--channel", type=click.IntRange(min=0), help=f"The only channel of {what} to read."),
    )

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


class Position(click.ParamType):  # type: ignore[type-arg]
    """Comma-separated nanometres, one per axis z, y, x; may be negative."""

    name = "Z,Y,X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 3 or not all(abs(number) < float("inf") for number in numbers):
            self.fail(f"expected three numbers as Z,Y,X, got {value!r}", param, ctx)
        return numbers


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Comma-separated numbers, one per axis z, y, x."""

    name = "Z,Y,X"

    def __init__(self, number: type[int] | type[float]) -> None:
        self.number = number

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.number(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 3 or not all(0 < number < float("inf") for number in numbers):
            self.fail(f"expected three numbers > 0 as Z,Y,X, got {value!r}", param, ctx)
        return numbers
