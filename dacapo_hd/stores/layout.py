"""Names of files in a file store."""

from pathlib import Path

RECORD, STATS, SCORES, CHECKPOINTS = "run.yaml", "stats.jsonl", "scores.jsonl", "checkpoints.jsonl"
WEIGHTS, LEASE = "checkpoints", ".lease"

# the record that a run has once its folder has its new name
RENAMED = ".run.yaml.renamed"

_REMOVED = ".removed-"


def lock_file(folder: Path) -> Path:
    """Return what a process locks while it writes to the folder of a run; outside, as the folder may be renamed."""
    return folder.with_name(f".{folder.name}.lock")


def removed_folder(folder: Path, token: str) -> Path:
    """Return the name that the folder of a run has while it is removed."""
    return folder.with_name(f".{folder.name}{_REMOVED}{token}")


def name_of_removed(folder: Path) -> str:
    """Return the name of the run that was in a folder of `removed_folder`; empty for other folders."""
    name, mark, _ = folder.name.removeprefix(".").rpartition(_REMOVED)
    return name if mark and folder.name.startswith(".") else ""
