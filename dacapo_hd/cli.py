"""The command line: each command parses its arguments and calls one function.

Everything heavy is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dacapo_hd.errors import UserError, unexpected

if TYPE_CHECKING:
    from dacapo_hd.manager import RunManager
    from dacapo_hd.run import Run

store_option = click.option(
    "--store",
    envvar="DACAPO_HD_STORE",
    default="./runs",
    show_default=True,
    help="Folder of runs, statistics, scores and weights (also DACAPO_HD_STORE).",
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a field, e.g. task.scale_nm=80."
)
quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")


class _Numbers(click.ParamType):  # type: ignore[type-arg]
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="dacapo_hd")
def cli(debug: bool) -> None:
    """Segmentation experiments on volume electron microscopy, defined by files."""


@cli.command()
@click.argument("target", metavar="FILE|NAME")
@set_option
@store_option
@quiet_option
def train(target: str, overrides: tuple[str, ...], store: str, quiet: bool) -> None:
    """Train the run or sweep of FILE, or go on with the stored run NAME.

    A run that was interrupted continues from its last checkpoint.
    """
    _manager(store).train_all(_runs_of(target, overrides, store), progress=not quiet)


@cli.command()
@click.argument("name")
@click.option("--iteration", type=int, help="Which checkpoint; the newest by default.")
@store_option
@quiet_option
def validate(name: str, iteration: int | None, store: str, quiet: bool) -> None:
    """Score a run's checkpoint on the validation crops and store the scores."""
    from dacapo_hd.report.terminal import print_scores

    print_scores(_manager(store).validate(name, iteration, progress=not quiet))


@cli.command()
@click.argument("name")
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="OUTPUT")
@click.option("--roi", metavar="Z:Z,Y:Y,X:X", help="Part of INPUT, in its voxels, or in nm when it ends with nm.")
@click.option("--iteration", default="best", show_default=True, metavar="best|latest|N", help="Which checkpoint.")
@click.option(
    "--parameters", metavar="YAML", help="Segmenter, e.g. '{type: Threshold, threshold: 0.1}'; best if absent."
)
@click.option("--score", help="The score that best refers to; the task's own if absent.")
@click.option("--voxel-size", type=_Numbers(float), help="Voxel size of INPUT in nm, when the file does not say it.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@store_option
@quiet_option
def apply(
    name: str,
    source: str,
    output: str,
    roi: str | None,
    iteration: str,
    parameters: str | None,
    score: str | None,
    voxel_size: tuple[float, ...] | None,
    overwrite: bool,
    store: str,
    quiet: bool,
) -> None:
    """Predict and segment the volume INPUT with a trained run; write OUTPUT (OME-Zarr)."""
    written = _manager(store).apply(
        name,
        source,
        output,
        roi=roi,
        iteration=iteration,
        parameters=parameters,
        score=score,
        voxel_size_nm=voxel_size,
        overwrite=overwrite,
        progress=not quiet,
    )
    for path in written:
        click.echo(path)


@cli.command()
@store_option
def runs(store: str) -> None:
    """List the stored runs."""
    from dacapo_hd.report.terminal import print_runs

    print_runs(_manager(store).store)


@cli.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--score", help="Sort by this score; the first run's own if absent.")
@click.option("--per-class", is_flag=True, help="One column per class as well as the mean.")
@store_option
def compare(names: tuple[str, ...], score: str | None, per_class: bool, store: str) -> None:
    """Compare runs (all if no NAME is given): best score, iteration, parameters, and the config keys that differ."""
    from dacapo_hd.report.terminal import print_comparison

    print_comparison(_manager(store).compare(names, score), per_class=per_class)


@cli.command()
@click.argument("target", metavar="FILE|NAME")
@set_option
@store_option
def check(target: str, overrides: tuple[str, ...], store: str) -> None:
    """Open everything that a run needs and print what is there; exit code 1 if something is wrong."""
    from dacapo_hd.check import check_runs

    check_runs(_runs_of(target, overrides, store))


@cli.command()
@click.argument("target", metavar="FILE|NAME")
@click.argument("picture", metavar="OUT.png", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--samples", default=4, show_default=True, type=click.IntRange(1, 16), help="How many samples.")
@set_option
@store_option
def preview(target: str, picture: Path, samples: int, overrides: tuple[str, ...], store: str) -> None:
    """Draw augmented training samples: raw, known labels, every target with its weight."""
    from dacapo_hd.manager import preview_run

    preview_run(_runs_of(target, overrides, store)[0], picture, samples)
    click.echo(picture)


@cli.command()
@click.argument("output", metavar="OUT.zarr")
@click.option("--shape", type=_Numbers(int), default="128,256,256", show_default=True, help="Voxels of a volume.")
@click.option("--voxel-size", type=_Numbers(float), default="8,8,8", show_default=True, help="Voxel size in nm.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first volume's seed.")
@click.option(
    "--crop",
    "crops",
    multiple=True,
    metavar="PART[/every=N][/only=CLASS+CLASS][/box=Z:Z,Y:Y,X:X]",
    help="Add a crop to a dataset; PART is train, validate or test, what follows limits its annotation.",
)
@click.option("--overwrite", is_flag=True, help="Replace arrays that exist.")
def phantom(
    output: str,
    shape: tuple[int, ...],
    voxel_size: tuple[float, ...],
    seed: int,
    crops: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Make a synthetic FIB-SEM volume with ground truth, or with --crop a dataset of several."""
    from dacapo_hd.phantom.options import write_phantoms

    for path in write_phantoms(output, shape, voxel_size, seed, crops, overwrite):
        click.echo(path)


def _manager(store: str) -> RunManager:
    from dacapo_hd.manager import RunManager
    from dacapo_hd.stores import open_store

    return RunManager(open_store(store))


def _runs_of(target: str, overrides: Sequence[str], store: str) -> tuple[Run, ...]:
    """Read the runs of a file, or the stored run of that name."""
    from dacapo_hd.sweep import load_runs

    path = Path(target)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return load_runs(path, overrides)
    if overrides:
        raise UserError(f"--set: the stored run {target!r} cannot be changed; use --set with a file")
    return (_manager(store).load(target),)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors are one line each on stderr, without a traceback unless `--debug` is given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        # accepted in any place, before or after the command
        arguments = [argument for argument in given if argument != "--debug"]
        status = cli.main(args=arguments, prog_name="dacapo-hd", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        goes_on = "; the same command goes on from the last checkpoint" if "train" in given else ""
        _fail([f"interrupted{goes_on}"], 130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail([_usage_message(error)], error.exit_code)
    except UserError as error:
        if debug:
            raise
        _fail(error.problems, 1)
    except Exception as error:
        if debug:
            raise
        _fail([unexpected(error)], 70)
    sys.exit(status or 0)


def _usage_message(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message().removesuffix(".")
    return f"{message}; see `{context.command_path} --help`" if context else message


def _fail(problems: Sequence[str], status: int) -> None:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    sys.exit(status)
