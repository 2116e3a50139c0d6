"""Commands on what is stored: runs, runs rm, runs prune, store copy, store check."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dacapo_hd.cli.options import Place, own_weights, place_options, quiet_option
from dacapo_hd.errors import UserError

if TYPE_CHECKING:
    from dacapo_hd.stores.removal import Size


@click.group(invoke_without_command=True)
@click.option(
    "--filter", "condition", metavar="CONDITION", help="List those alone that fulfil it: 'task=OneHot and dice>0.8'."
)
@place_options
@click.pass_context
def runs(context: click.Context, condition: str | None, place: Place) -> None:
    """List the stored runs; remove them, or their old checkpoints."""
    if context.invoked_subcommand is None:
        from dacapo_hd.report.terminal import print_runs

        manager = place.manager()
        print_runs(manager.store, None if condition is None else manager.select(condition))
    elif condition is not None:
        raise UserError(f"--filter: only for the list, not for `runs {context.invoked_subcommand}`")


@runs.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@place_options
def remove(names: tuple[str, ...], yes: bool, place: Place) -> None:
    """Remove runs with their statistics, scores and weights, after asking."""
    from dacapo_hd.stores.removal import remove_runs

    removed = remove_runs(place.open(), names, agree=lambda sizes: _may_remove(sizes, yes))
    click.echo(f"removed {', '.join(removed)}" if removed else "nothing was removed")


@runs.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--last", type=click.IntRange(min=1), metavar="K", help="Keep the newest K instead of the run's number.")
@click.option("--every", type=click.IntRange(min=1), metavar="N", help="Keep those of every N-th iteration.")
@click.option("--best", multiple=True, metavar="SCORE", help="Keep the best by this score only; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, remove nothing.")
@place_options
def prune(
    names: tuple[str, ...], last: int | None, every: int | None, best: tuple[str, ...], dry_run: bool, place: Place
) -> None:
    """Remove the checkpoints of runs (all if no NAME is given) that their retention does not keep.

    What the options do not say is as the run's trainer.retention says. Files of weights that no checkpoint needs, as
    left by a crash, go too.
    """
    from dacapo_hd.report.upkeep import print_pruned
    from dacapo_hd.training.pruning import Keep

    manager = place.manager()
    with print_pruned(dry_run) as report:
        manager.prune(names, Keep(last, every, best), report, dry_run)


def _may_remove(sizes: Sequence[Size], yes: bool) -> bool:
    from dacapo_hd.report.terminal import counted, format_bytes

    for size in sizes:
        click.echo(
            f"{size.name}: {counted(size.iterations, 'iteration')}, {counted(size.checkpoints, 'checkpoint')} "
            f"({format_bytes(size.bytes)}), {counted(size.scores, 'score')}"
        )
        for problem in size.problems:
            click.echo(f"  {problem}")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("runs rm asks before it removes, and there is no terminal to ask on; give --yes")
    return click.confirm(f"remove {'it' if len(sizes) == 1 else 'them'} for good?")


@click.group()
def store() -> None:
    """Copy runs between stores; look for damage."""


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--from-weights", envvar="DACAPO_HD_WEIGHTS", metavar="FOLDER", help="Folder of the weights, if FROM is in MongoDB."
)
@click.option(
    "--to-weights", envvar="DACAPO_HD_WEIGHTS", metavar="FOLDER", help="Folder of the weights, if TO is in MongoDB."
)
@quiet_option
@click.pass_context
def copy(
    context: click.Context,
    source: str,
    target: str,
    names: tuple[str, ...],
    from_weights: str | None,
    to_weights: str | None,
    quiet: bool,
) -> None:
    """Copy runs (all if no NAME is given) from one store to another, and verify them.

    FROM and TO are folders or mongodb://HOST/DATABASE. What is there already is not copied again; an interrupted
    copy is finished by the same command.
    """
    from dacapo_hd.report.upkeep import copy_and_print

    here = Place(source, own_weights(context, "from_weights", source, from_weights), given_by="FROM")
    there = Place(target, own_weights(context, "to_weights", target, to_weights), given_by="TO")
    copy_and_print(here.open(), there.open(make=True), names, not quiet)


@store.command("check")
@place_options
@quiet_option
def check_store(place: Place, quiet: bool) -> None:
    """Read everything that is stored and name what is damaged; exit code 1 if anything is."""
    from dacapo_hd.report.upkeep import check_and_print

    check_and_print(place.open(), not quiet)
