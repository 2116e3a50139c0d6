"""Records and rows for tests of stores."""

from dacapo_hd.config import canonical_hash
from dacapo_hd.evaluation.segments import SegmentTable
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


def segments(count=2, first=0.25):
    """A table of segments, of which the first is the most uncertain."""
    return SegmentTable(
        quantity="mask_variance",
        of=count + 1,
        voxel_nm3=1024.0,
        id=range(2**32 - 1, 2**32 - 1 + count),
        voxels=range(1, count + 1),
        uncertainty=[first / (n + 1) for n in range(count)],
        error=[1 / (n + 1) for n in range(count)],
        iou=[0.0] * count,
    )


def checkpoint(iteration, digit="0"):
    return CheckpointRow(iteration, digit * 64, 123, "2026-01-01T00:00:00+00:00")


def fill(store, name="run"):
    """Store rows of all kinds, and weights."""
    store.append_stats(name, [stat(1), stat(2)])
    store.write_scores(name, [score(2, crop, run=name) for crop in "ab"])
    store.add_checkpoint(name, checkpoint(2))
    (store.checkpoint_folder(name) / "00000002.pt").write_bytes(b"weights")


def by_text(rows):
    """Rows in an order of their own; an undefined value is not equal to itself, but its text is."""
    return sorted(map(repr, rows))
