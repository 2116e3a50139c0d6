"""Records and rows for tests of stores."""

from dacapo_hd.config import canonical_hash
from dacapo_hd.stores import CheckpointRow, RunRecord, ScoreRow, StatRow


def record(name="run", **config):
    """A record of which the hashes fit the config."""
    content = {"name": name, "task": {"type": "HotDistance", "classes": ["mito"], "scale_nm": 50.0}, **config}
    hashes = canonical_hash(content, without=("name",)), canonical_hash(content, without=("name", "seed"))
    return RunRecord(name, content, *hashes, config.get("seed", 0), "2026-01-01T00:00:00+00:00", "abc")


def stat(iteration, value=0.5, name="loss"):
    return StatRow(iteration, name, value, iteration / 4)


def score(iteration=10, crop="a", value=0.5, score="dice", run="run", class_name="mito"):
    return ScoreRow(run, "aaaa", "bbbb", 0, iteration, crop, '{"type":"T"}', class_name, score, value, "abc")


def checkpoint(iteration, digit="0"):
    return CheckpointRow(iteration, digit * 64, 123, "2026-01-01T00:00:00+00:00")


def by_text(rows):
    """Rows in an order of their own; an undefined value is not equal to itself, but its text is."""
    return sorted(map(repr, rows))
