"""Print what `studies/object_size_masks.yaml` and `studies/object_size.yaml` have found on the test sections.

.venv/bin/python experiments/object_size_results.py STORE

Per number of masks m: IoU and squared size error (voxels) of each seed after both stages, at the iteration with the
best IoU on the validation sections; their means with sample standard deviations; and the differences between the stages
of the same seed with their 95 % confidence interval (Student's t). Then the course of both scores in validation.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from dacapo_hd.evaluation import best
from dacapo_hd.stores import FileStore

NM_PER_VOXEL = 1e6
SCORES = {"jaccard": ("IoU", 1.0), "squared_size_error": ("E (voxels)", NM_PER_VOXEL**2)}


def tested(store: FileStore, run: str) -> dict[str, float]:
    """Return the mean over the test sections of each score, at the iteration with the best validated IoU."""
    rows = store.scores(run)
    chosen = best(rows, "jaccard")
    found = {}
    for score, (_, unit) in SCORES.items():
        values = [
            row.value / unit
            for row in rows
            if row.part == "test" and row.score == score and chosen is not None and row.iteration == chosen.iteration
        ]
        if values:
            found[score] = float(np.mean(values))
    return found


def spread(values: Sequence[float]) -> str:
    """Write a mean with the sample standard deviation."""
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}"


def interval(differences: Sequence[float]) -> str:
    """Write a mean with its 95 % confidence interval."""
    if len(differences) < 2:
        return f"{np.mean(differences):+.4f}"
    half = t.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1) / len(differences) ** 0.5
    return f"{np.mean(differences):+.4f} [{np.mean(differences) - half:+.4f}, {np.mean(differences) + half:+.4f}]"


def main(place: str) -> None:
    store = FileStore(place)
    pairs: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name in store.names():
        stage, _, rest = name.partition("-m")
        if stage == "masks":
            pairs[int(rest.partition("-s")[0])].append((name, f"sizes-m{rest}"))
    for score, (title, _) in SCORES.items():
        print(f"\n{title} on the test sections\nm, by seed after masks, by seed after sizes, means, difference")
        for m, runs in sorted(pairs.items()):
            found = [[tested(store, run).get(score) for run in pair if run in store.names()] for pair in runs]
            both = [(a, b) for a, b in (values for values in found if len(values) == 2) if None not in (a, b)]
            if both:
                first, second = zip(*both, strict=True)
                columns = [" ".join(f"{value:.4f}" for value in values) for values in (first, second)]
                differences = [b - a for a, b in both]
                print(f"{m} | {' | '.join(columns)} | {spread(first)} | {spread(second)} | {interval(differences)}")
    print("\nValidation by iteration: IoU, E (voxels)")
    for name in store.names():
        rows = [row for row in store.scores(name) if row.part == "validate"]
        for iteration in sorted({row.iteration for row in rows}):
            values = [
                np.mean([row.value / unit for row in rows if row.iteration == iteration and row.score == score])
                for score, (_, unit) in SCORES.items()
            ]
            print(f"{name} | {iteration} | {values[0]:.4f} | {values[1]:.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
