"""Score segmenters that the grid of stored runs does not have, on the runs' checkpoints.

.venv/bin/python experiments/score_segmenters.py STORE... --segmenter '{type: AngularClustering, seed_threshold: 0.5}'
    [--segmenter ...] --score symmetric_best_dice [--score ...] [--part test] [--iteration N]

Nothing is stored. Each line is a mean over crops and classes (- without any value), so that what is best can be chosen
on `validate` and reported on `test`; the iteration is the newest, or `--iteration`.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dacapo_hd.cli.options import Place
from dacapo_hd.config import structure
from dacapo_hd.config.files import parse_yaml
from dacapo_hd.config.structuring import reported
from dacapo_hd.errors import UserError
from dacapo_hd.evaluation import score_named
from dacapo_hd.inference import load_network, make_predictor, open_scored
from dacapo_hd.manager import RunManager
from dacapo_hd.segmentation import Segmenter
from dacapo_hd.training.validation import validate_crop


def segmenter_of(text: str) -> Segmenter:
    """Make a segmenter from YAML; ConfigError with all problems."""
    with reported("--segmenter"):
        return structure(parse_yaml(text), Segmenter)


def mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--segmenter", action="append", required=True)
    parser.add_argument("--score", action="append", required=True)
    parser.add_argument("--part", choices=("validate", "test"), default="validate")
    parser.add_argument("--iteration", type=int)
    chosen = parser.parse_args()
    for score in chosen.score:
        score_named(score)
    segmenters = [segmenter_of(text) for text in chosen.segmenter]
    stores = [Place(address, given_by="STORE").open() for address in chosen.stores]
    print(f"| run | segmenter | {' | '.join(chosen.score)} |\n|---|---|{'---|' * len(chosen.score)}")
    for store in stores:
        for name in store.names():
            run = RunManager(store).load(name)
            predictor = make_predictor(run, load_network(run, store, chosen.iteration)[1])
            values = defaultdict(list)
            for crop in open_scored(run, chosen.part):
                for segmenter, value in validate_crop(predictor, crop, segmenters, run.trainer.tolerance_nm):
                    values[segmenter.label, value.score].append(value.value)
            for segmenter in segmenters:
                means = " | ".join(mean(values[segmenter.label, score]) for score in chosen.score)
                print(f"| {name} | {segmenter.label} | {means} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))
