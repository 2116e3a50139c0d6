"""The command line: each command parses its arguments and calls one function.

Everything heavy is imported inside the commands, so that `--help` answers at once.
"""

from dacapo_hd.cli.entry import cli, main

__all__ = ["cli", "main"]
