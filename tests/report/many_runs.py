"""Stores of made-up runs: statistics and scores without a training."""

import json
import math

import numpy as np

from dacapo_hd.stores import FileStore
from dacapo_hd.stores.rows import RunRecord, ScoreRow, StatRow

SEGMENTERS = tuple(
    json.dumps({"type": "Threshold", "quantity": "distance", "threshold": at}, sort_keys=True) for at in (0.0, 0.1)
)
ENVIRONMENT = {
    "python": "3.11.7",
    "platform": "Linux-6.1-x86_64",
    "packages": {"torch": "2.9.0", "numpy": "2.3.0"},
    "hardware": {"cpu": "Xeon", "cores": 16, "memory_gb": 128.0, "gpus": ["A100", "A100"]},
}


def record(name, seed=0, group="", command=("dacapo-hd", "train", "sweep.yaml"), **task):
    config = {
        "name": name,
        "seed": seed,
        "task": {"type": "HotDistance", "classes": ["mito", "er"], "scale_nm": 50.0, **task},
        "architecture": {"type": "UNet", "dims": 2, "input_shape_vx": [1, 48, 48], "num_fmaps": 4},
        "datasplit": {"type": "Crops", "train": [{"name": "a", "raw": "a.zarr"}]},
        "trainer": {"iterations": 1000, "learning_rate": 1e-3},
    }
    provenance = {"command": list(command), **ENVIRONMENT}
    created = "2026-01-02T03:04:05+00:00"
    group = group or f"group-{name}"
    return RunRecord(name, config, f"hash-{name}", group, seed, created, "abc123", provenance=provenance)


def scores(name, values, seed=0, group="", score="dice", iteration=100, segmenter=SEGMENTERS[0]):
    """Make rows of `{(part, crop): {class: value}}`."""
    return [
        ScoreRow(name, f"hash-{name}", group or f"group-{name}", seed, iteration, crop, segmenter, class_name, score,
                 float(value), "abc123", part)
        for (part, crop), classes in values.items()
        for class_name, value in classes.items()
    ]  # fmt: skip


def fill(folder, configs, seeds, crops, iterations=300, classes=("mito", "er"), prefix="study-hot_distance-unet"):
    """Store `configs` x `seeds` runs with losses, and scores of 3 iterations on `crops` crops, some undefined."""
    store, rng = FileStore(folder), np.random.default_rng(0)
    for number in range(configs):
        for seed in range(seeds):
            name, group = f"{prefix}-{number:02d}-s{seed}", f"group-{number:02d}"
            store.add_run(record(name, seed, group, scale_nm=20.0 + 10 * number))
            losses = [
                StatRow(i, f"loss/{part}", float(np.exp(-i / (80 + 9 * number)) + rng.uniform(0.01, 0.2)), 0.1)
                for i in range(1, iterations + 1)
                for part in ("one_hot", "distance")
            ]
            store.append_stats(name, losses)
            rows = []
            for iteration in range(iterations // 3, iterations + 1, max(1, iterations // 3)):
                for segmenter in SEGMENTERS:
                    quality = 0.4 + 0.3 * iteration / iterations + 0.004 * number
                    values = {
                        ("validate" if crop % 4 else "test", f"crop_{crop:02d}"): {
                            one: math.nan if (crop, k) == (1, 1) else np.clip(quality + rng.normal(0, 0.06), 0, 1)
                            for k, one in enumerate(classes)
                        }
                        for crop in range(crops)
                    }
                    rows += scores(name, values, seed, group, iteration=iteration, segmenter=segmenter)
            store.write_scores(name, rows)
    return store
