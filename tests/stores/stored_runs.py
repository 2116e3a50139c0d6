"""Runs that lie in stores, made without training."""

import hashlib

from dacapo_hd.config import canonical_hash
from dacapo_hd.stores import CheckpointRow, RunRecord, ScoreRow, StatRow
from dacapo_hd.stores.weights import checkpoint_file


def record(name="run", scale=40, **changes):
    config = {
        "name": name,
        "task": {"type": "HotDistance", "classes": ["mito"], "scale_nm": scale},
        "datasplit": {"type": "Folder"},
        "trainer": {"iterations": 30},
    }
    hashes = canonical_hash(config, without=("name",)), canonical_hash(config, without=("name", "seed"))
    return RunRecord(name, config, *hashes, 0, "2026-01-02T03:04:05+00:00", "abc", **changes)


def stats(first, last, seconds=0.5):
    """Two values of each iteration."""
    return [
        StatRow(iteration, name, 1.0 / iteration, iteration * seconds)
        for iteration in range(first, last + 1)
        for name in ("loss", "learning_rate")
    ]


def scores(of, iteration, value=0.5, crop="crop_0"):
    """Scores of two classes, one of them undefined."""
    return [
        ScoreRow(of.name, of.config_hash, of.group_hash, 0, iteration, crop, '{"type": "Argmax"}', *cell, "abc")
        for cell in (("mito", "dice", value), ("er", "dice", float("nan")))
    ]


def weights(iteration, run="run"):
    """The content of a checkpoint's file: incompressible, not all of one block."""
    seed = f"{run} {iteration}".encode()
    return b"".join(hashlib.sha256(seed + bytes([n])).digest() for n in range(100)) * 3


def add_checkpoint(store, name, iteration, data=None):
    """Write and list a checkpoint."""
    data = weights(iteration, name) if data is None else data
    path = checkpoint_file(store.checkpoint_folder(name), iteration)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    row = CheckpointRow(iteration, hashlib.sha256(data).hexdigest(), len(data), "2026-01-02T03:04:05+00:00")
    store.add_checkpoint(name, row)
    return path


def add_run(store, name="run", checkpoints=(10, 20), last=25, **changes):
    """Store a run that was interrupted at iteration `last`, validated at each checkpoint."""
    of = record(name, **changes)
    store.add_run(of)
    store.append_stats(name, stats(1, last))
    for iteration in checkpoints:
        store.write_scores(name, scores(of, iteration))
        add_checkpoint(store, name, iteration)
    return of


def content(store, name="run"):
    """Everything of a run, in a form that compares."""
    folder = store.checkpoint_folder(name)
    rows = store.checkpoints(name)
    files = {row.iteration: checkpoint_file(folder, row.iteration).read_bytes() for row in rows}
    return store.run(name), store.stats(name), sorted(map(repr, store.scores(name))), rows, files


def file(store, name):
    """Return the path of a file of the run `run`."""
    return store.folder / "run" / name
