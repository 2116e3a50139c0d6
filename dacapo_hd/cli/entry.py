"""The command `dacapo-hd`: its groups, and what becomes of errors and warnings."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from dacapo_hd.cli import arrays, experiments, results
from dacapo_hd.cli.stores import runs, store
from dacapo_hd.errors import UserError, unexpected

SECONDS_BETWEEN_WARNINGS = 60.0
GOES_ON = {
    "train": "; the same command goes on from the last checkpoint",
    "convert": "; the same command does the rest",
    "apply": "; the same command does the rest",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="dacapo_hd")
def cli(debug: bool) -> None:
    """Segmentation experiments on volume electron microscopy, defined by files."""


for command in (
    experiments.train,
    experiments.validate,
    experiments.apply,
    results.compare,
    results.best,
    results.plot,
    results.report,
    experiments.check,
    experiments.preview,
    experiments.phantom,
    arrays.convert,
    arrays.view,
    runs,
    store,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors are one line each on stderr, without a traceback unless `--debug` is given.

    No password of a store's address is in anything that is printed here.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    with _warnings_on_stderr():
        try:
            # accepted in any place, before or after the command
            arguments = [_with_home(argument) for argument in given if argument != "--debug"]
            status = cli.main(args=arguments, prog_name="dacapo-hd", standalone_mode=False)
        except (click.exceptions.Abort, KeyboardInterrupt):
            goes_on = next((text for command, text in GOES_ON.items() if command in given), "")
            _fail([f"interrupted{goes_on}"], 130)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _fail([_usage_message(error)], error.exit_code)
        except UserError as error:
            _fail(error.problems, error.exit_code, error if debug else None)
        except Exception as error:
            _fail([unexpected(error)], 70, error if debug else None)
    sys.exit(status or 0)


def _with_home(argument: str) -> str:
    """Expand the `~` of an option's value that a shell has left alone: `--store=~/runs`."""
    option, equals, value = argument.partition("=")
    if equals and option.startswith("--") and value.startswith("~"):
        return f"{option}={Path(value).expanduser()}"
    return str(Path(argument).expanduser()) if argument.startswith("~") else argument


def _usage_message(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message().removesuffix(".")
    return f"{message}; see `{context.command_path} --help`" if context else message


def _fail(problems: Sequence[str], status: int, shown: Exception | None = None) -> None:
    if shown:
        _say("".join(traceback.format_exception(shown)).rstrip())
    for problem in problems:
        # an indented one belongs to that before, as a line of a list
        _say(problem if problem.startswith(" ") else f"error: {problem}")
    sys.exit(status)


def _say(text: str) -> None:
    from dacapo_hd.stores.address import without_credentials

    click.echo(without_credentials(text), err=True)


class _OnStderr(logging.Handler):
    """Prints `warning: ...`, once a minute if it is always the same; a progress bar stays below it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._printed: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.levelname.lower()}: {self.format(record)}"
        last = self._printed.get(text)
        if last is None or record.created - last > SECONDS_BETWEEN_WARNINGS:
            self._printed[text] = record.created
            _say(text)


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    handler = _OnStderr()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
