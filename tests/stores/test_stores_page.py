"""What docs/stores.md shows of the files is what they hold."""

import re
from pathlib import Path

import attrs
import pytest
from stored_runs import add_run, record

from dacapo_hd.errors import UserError
from dacapo_hd.stores import CheckpointRow, FileStore, ScoreRow, StatRow
from dacapo_hd.stores.base import refuse_changed
from dacapo_hd.stores.jsonl import encode, read_rows
from dacapo_hd.stores.lease import Heartbeat, Holder

PAGE = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()


def block(language, start):
    """Return the block of the page that begins with a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return next(found for found in blocks if found.startswith(start))


def test_its_lines_are_as_the_store_writes_them(tmp_path):
    for line, kind in zip(block("json", "{").splitlines(), (StatRow, ScoreRow, CheckpointRow), strict=True):
        (tmp_path / "rows.jsonl").write_text(line + "\n")
        assert encode(read_rows(tmp_path / "rows.jsonl", kind)).decode() == line + "\n"


def test_its_files_are_those_of_a_store(tmp_path):
    store = FileStore(tmp_path / "runs")
    add_run(store, "mito_hot")
    with store.lock("mito_hot"):
        paths = [*store.folder.iterdir(), *(store.folder / "mito_hot").iterdir()]
        names = {path.name + "/" * path.is_dir() for path in paths}
    assert names == set(re.findall(r"^ +(\S+)", block("text", "runs/"), re.MULTILINE))


def test_its_messages_are_those_of_the_store():
    with pytest.raises(UserError) as error:
        refuse_changed(record("mito_hot", 50.0), record("mito_hot", 80.0))
    # as the command line prints them
    shown = "".join(f"{line}\n" if line.startswith(" ") else f"error: {line}\n" for line in error.value.problems)
    assert shown == block("text", "error: run 'mito_hot' is stored")
    holder = Holder("", "gpu07", "", 4711, "", "2026-01-02T03:04:05+00:00")
    assert f"is being trained by {holder}; wait for it or stop it\n" in block("text", "error: run 'mito_hot' is being")
    assert attrs.asdict(Heartbeat()) == {"seconds": 5.0, "patience_seconds": 30.0}
    assert "every 5 s: if it stands still for 30 s" in PAGE
