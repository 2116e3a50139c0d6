"""Commands on what runs have reached: compare, best, plot, report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dacapo_hd.cli.options import DEFAULT_STORE, Place, place_options, quiet_option
from dacapo_hd.errors import UserError


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--score", help="Compare by this score; the first run's own if absent.")
@click.option("--per-class", is_flag=True, help="Also for each class, not the mean alone.")
@click.option("--each", is_flag=True, help="One line per run, not per group of runs that differ by the seed alone.")
@click.option("--segments", type=click.IntRange(min=1), metavar="N", help="Also each run's N most uncertain segments.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the value of every crop and class.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the lines of the table as CSV.")
@place_options
def compare(
    names: tuple[str, ...],
    score: str | None,
    per_class: bool,
    each: bool,
    segments: int | None,
    as_json: bool,
    as_csv: bool,
    place: Place,
) -> None:
    """Compare runs (all if no NAME is given): mean and spread over seeds, and the config keys that differ.

    With several NAMEs, also their differences from the first one, each with an interval. A NAME stands for all runs
    that differ from it by the seed alone.
    """
    from dacapo_hd.report.differences import compare_pairs

    if as_json and as_csv:
        raise UserError("--json and --csv: give one of the two")
    if segments and as_csv:
        raise UserError("--segments and --csv: give one of the two; --json has both")
    manager = place.manager()
    comparison = manager.compare(names, score, each)
    found = manager.segments(comparison) if segments else []
    pairs = compare_pairs(comparison, names, per_class) if len(names) > 1 and not each else ()
    if len(names) > 1 and not each and not pairs:
        click.echo("warning: the named runs differ by the seed alone; --each shows them one by one", err=True)
    if as_json or as_csv:
        from dacapo_hd.report.export import to_csv, to_json

        by_run = {one.run: one for one in found} if segments else None
        text = to_json(comparison, pairs, by_run, segments or 0) if as_json else to_csv(comparison, per_class, each)
        click.echo(text, nl=as_json)
        return
    from dacapo_hd.report.terminal import print_comparison, print_segments

    print_comparison(comparison, pairs, per_class, each)
    if segments:
        print_segments(comparison, found, segments)


@click.command()
@click.argument("name")
@click.argument("source", metavar="[INPUT]", required=False)
@click.argument("output", metavar="[OUTPUT]", required=False)
@click.option("--score", help="The score to go by; the task's own if absent.")
@place_options
def best(name: str, source: str | None, output: str | None, score: str | None, place: Place) -> None:
    """Say which checkpoint and segmenter of a run are best, and print the command that applies them to INPUT.

    The command is the last line of the output. INPUT is the raw data of the run's first test crop if absent, or of its
    first validation crop; OUTPUT is NAME.zarr, or NAME_applied.zarr if INPUT lies in that.
    """
    from dacapo_hd.report.best import apply_command, output_for, source_of

    manager = place.manager()
    found = manager.find_best(name, score)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.usable is None:
        raise UserError(f"run {name!r} has no checkpoint that was scored; train it with `dacapo-hd train {name}`")
    arguments = [source] if source else source_of(manager.load(name))
    options = _place_arguments(place)
    for line in found.lines:
        click.echo(line)
    arguments = arguments or ["INPUT"]
    click.echo(apply_command(name, found.usable.chosen, arguments, output or output_for(name, arguments[0]), options))


def _place_arguments(place: Place) -> list[str]:
    """Return the options that name the store; those with a password are named in words instead."""
    from dacapo_hd.stores.address import without_credentials

    if without_credentials(place.address) != place.address:
        warning = (
            "the command leaves out the store's address, which has a password or options; put it into DACAPO_HD_STORE"
        )
        click.echo(f"warning: {warning}", err=True)
        store = []
    else:
        store = [] if place.address == DEFAULT_STORE else ["--store", place.address]
    return store + (["--weights", place.weights] if place.weights else [])


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.argument("picture", metavar="OUT.png|svg|pdf", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--score", help="Which score to draw; the first run's own if absent.")
@click.option("--each", is_flag=True, help="One line per run, not per group of runs that differ by the seed alone.")
@place_options
def plot(names: tuple[str, ...], picture: Path, score: str | None, each: bool, place: Place) -> None:
    """Draw loss and score curves of runs (all if no NAME is given), with their spread over seeds.

    A NAME stands for all runs that differ from it by the seed alone.
    """
    click.echo(place.manager().plot(names, picture, score, each))


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.argument("output", metavar="OUT.html", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--score", help="Compare by this score; the first run's own if absent.")
@click.option("--each", is_flag=True, help="The named runs alone, without those that differ by the seed alone.")
@click.option("--title", default="Runs", show_default=True, help="The headline.")
@click.option("--slices-of", multiple=True, metavar="NAME", help="Show crops of this run, not the best; repeatable.")
@click.option("--no-slices", is_flag=True, help="Predict nothing and show no crops.")
@click.option("--max-size", default="5MB", show_default=True, metavar="SIZE", help="How large the file may be.")
@click.option("--device", metavar="auto|cpu|cuda|cuda:N|mps", help="Instead of the runs' trainer.device.")
@place_options
@quiet_option
def report(
    names: tuple[str, ...],
    output: Path,
    score: str | None,
    each: bool,
    title: str,
    slices_of: tuple[str, ...],
    no_slices: bool,
    max_size: str,
    device: str | None,
    place: Place,
    quiet: bool,
) -> None:
    """Write a report of runs (all if no NAME is given) to look at in a browser: one file that needs nothing else.

    A NAME stands for all runs that differ from it by the seed alone; of several, the first is what the others are
    compared with. For the best and the worst crop it predicts sections again, as finely as --max-size allows.
    """
    from dacapo_hd.application.roi import parse_bytes

    path = place.manager().report(
        names,
        output,
        score,
        each,
        title=title,
        slices=not no_slices,
        slices_of=slices_of,
        max_bytes=parse_bytes(max_size, "--max-size"),
        device=device,
        command=tuple(sys.argv),
        progress=not quiet,
    )
    click.echo(path)
