"""A store with one run, whose config says nothing."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from dacapo_hd.stores import FileStore, RunRecord


@pytest.fixture
def store(tmp_path):
    made = FileStore(tmp_path / "runs")
    made.add_run(RunRecord("run", {"trainer": {}}, "aaaa", "bbbb", 0, "2026-01-01T00:00:00", "abc"))
    return made


@pytest.fixture
def unprivileged(tmp_path):
    """A context in which permissions count, as they do not for root."""

    @contextmanager
    def without_privileges():
        if os.geteuid() != 0:
            yield
            return
        top = Path(tempfile.gettempdir())
        for folder in (tmp_path, *(parent for parent in tmp_path.parents if top in parent.parents)):
            folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return without_privileges
