"""How long the package takes to answer: `import dacapo_hd`, `dacapo-hd --help`, loading a run file's classes."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import dacapo_hd": ["-c", "import dacapo_hd"],
    "dacapo-hd --help": ["-m", "dacapo_hd", "--help"],
    "import dacapo_hd.run": ["-c", "import dacapo_hd.run"],
}
GOALS = {"dacapo-hd --help": "goal < 0.5"}


def seconds(arguments: list[str], repeats: int) -> float:
    """Return the median wall time of a fresh interpreter, after one run that warms the file cache."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three repeats instead of eleven")
    repeats = 3 if parser.parse_args().quick else 11
    for name, arguments in COMMANDS.items():
        goal = f" ({GOALS[name]})" if name in GOALS else ""
        print(f"{name}: {seconds(arguments, repeats):.3f} s{goal}")


if __name__ == "__main__":
    main()
