"""Runs blocks in a process that a test can kill: `drive.py FOLDER RECORD COMPUTE SECONDS`."""

import signal
import sys
from pathlib import Path

from block_works import Sums

import dacapo_hd.blockwise
from dacapo_hd.blockwise import BlockGrid, run_blocks
from dacapo_hd.errors import UserError

SHAPE = (5, 7, 9)
GRID = BlockGrid((0, 0, 0), SHAPE, (1, 3, 4), (0, 0, 2))

if __name__ == "__main__":
    # the shell that started the tests may have it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, record, compute, seconds = sys.argv[1:]
    work = Sums(Path(folder), SHAPE, seconds=float(seconds))
    try:
        run_blocks(work, GRID, Path(record), eval(compute, vars(dacapo_hd.blockwise)), progress=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
