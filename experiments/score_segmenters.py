"""Score segmenters that the grid of stored runs does not have, on the runs' checkpoints.

.venv/bin/python experiments/score_segmenters.py STORE... --segmenter '{type: AngularClustering, seed_threshold: 0.5}'
    [--segmenter ...] --score symmetric_best_dice [--score ...] [--part test] [--iteration N]

Nothing is stored. Each line is a mean over crops and classes, so that what is best can be chosen on `validate` and
reported on `test`; the iteration is the newest, or `--iteration`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import yaml

from dacapo_hd.config import structure
from dacapo_hd.inference import load_network, make_predictor, open_scored
from dacapo_hd.manager import RunManager
from dacapo_hd.segmentation import Segmenter
from dacapo_hd.stores import open_store
from dacapo_hd.training.validation import validate_crop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--segmenter", action="append", required=True)
    parser.add_argument("--score", action="append", required=True)
    parser.add_argument("--part", choices=("validate", "test"), default="validate")
    parser.add_argument("--iteration", type=int)
    chosen = parser.parse_args()
    segmenters = [structure(yaml.safe_load(text), Segmenter) for text in chosen.segmenter]
    print(f"| run | segmenter | {' | '.join(chosen.score)} |\n|---|---|{'---|' * len(chosen.score)}")
    for place in chosen.stores:
        store = open_store(place)
        for name in store.names():
            run = RunManager(store).load(name)
            predictor = make_predictor(run, load_network(run, store, chosen.iteration)[1])
            values = defaultdict(list)
            for crop in open_scored(run, chosen.part):
                for segmenter, value in validate_crop(predictor, crop, segmenters, run.trainer.tolerance_nm):
                    values[segmenter.label, value.score].append(value.value)
            for segmenter in segmenters:
                means = (np.mean(values[segmenter.label, score]) for score in chosen.score)
                print(f"| {name} | {segmenter.label} | {' | '.join(f'{mean:.3f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    main()
