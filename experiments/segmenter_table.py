"""Print scores of every seed for each run of a study and each of its segmenters, as the methods' own tables do.

.venv/bin/python experiments/segmenter_table.py STORE... --score NAME [--score NAME] [--iteration N] [--part test]

`compare` shows the best segmenter of each run alone; a study that asks which segmenter suits which training needs all.
Runs that differ by their seed (NAME-sSEED) share a row: mean with the sample standard deviation, and the values in the
order of the seeds. A value is the mean over crops and classes. The iteration is the last scored one, or `--iteration`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from dacapo_hd.cli.options import Place
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation import score_named
from dacapo_hd.report.compare import segmenter_label
from dacapo_hd.stores import ScoreRow


def table(rows: Iterable[ScoreRow], score: str) -> dict[str, float]:
    """Return the mean over crops and classes by segmenter, which is JSON."""
    values = defaultdict(list)
    for row in rows:
        if row.score == score:
            values[row.segmenter].append(row.value)
    return {segmenter: float(np.mean(found)) for segmenter, found in values.items()}


def without_seed(name: str) -> str:
    return re.sub(r"-s\d+$", "", name)


def scored(stores: Iterable[str], part: str, iteration: int | None) -> Iterator[tuple[str, int, list[ScoreRow]]]:
    """Yield row, seed and newest scores of each run that has some; UserError if two are the same row and seed."""
    seen: dict[tuple[str, int], str] = {}
    for address in stores:
        store = Place(address, given_by="STORE").open()
        for name in store.names():
            rows = [row for row in store.scores(name, iteration=iteration) if row.part == part]
            if not rows:
                continue
            key, here = (without_seed(name), rows[0].seed), f"run {name!r} of {store}"
            if key in seen:
                raise UserError(
                    f"{seen[key]} and {here} would share the row {key[0]!r}, both with seed {key[1]}; "
                    "leave out one of them"
                )
            seen[key] = here
            last = max(row.iteration for row in rows)
            yield *key, [row for row in rows if row.iteration == last]


def words(values: dict[int, float]) -> str:
    """Write the values in the order of their seeds, and what they have in common."""
    ordered = [values[seed] for seed in sorted(values)]
    each = ", ".join(f"{value:.3f}" for value in ordered)
    return each if len(ordered) < 2 else f"{np.mean(ordered):.3f} ± {np.std(ordered, ddof=1):.3f} ({each})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--score", action="append", required=True)
    parser.add_argument("--iteration", type=int)
    parser.add_argument("--part", choices=("validate", "test"), default="validate")
    chosen = parser.parse_args()
    for score in chosen.score:
        score_named(score)
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for run, seed, rows in scored(chosen.stores, chosen.part, chosen.iteration):
        for score in chosen.score:
            for segmenter, value in table(rows, score).items():
                found[run, segmenter][score][seed] = value
    print(f"| run | segmenter | {' | '.join(chosen.score)} |\n|---|---|{'---|' * len(chosen.score)}")
    for (run, segmenter), scores in found.items():
        print(
            f"| {run} | {segmenter_label(segmenter)} | {' | '.join(words(scores[score]) for score in chosen.score)} |"
        )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))
