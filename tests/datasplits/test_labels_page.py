"""The examples of docs/labels.md."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from dacapo_hd.config import structure
from dacapo_hd.datasplits import Datasplit
from dacapo_hd.labels import ABSENT, PRESENT, UNKNOWN, ClassScheme, derive

PAGE = (Path(__file__).parents[2] / "docs" / "labels.md").read_text()


def fenced(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def csv_scheme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (file,) = fenced("csv")
    Path("classes.csv").write_text(file)
    return ClassScheme.from_file("classes.csv")


@pytest.mark.parametrize("text", fenced("yaml"))
def test_every_example_loads(text, csv_scheme):
    data = yaml.safe_load(text)
    assert structure(data, Datasplit if "type" in data else ClassScheme)


def test_the_table_of_derivations(csv_scheme):
    (scheme_file,) = [text for text in fenced("yaml") if text.startswith("classes:")]
    both = ClassScheme({**csv_scheme.classes, **yaml.safe_load(scheme_file)["classes"]})
    (table,) = re.findall(r"\| annotated \| follows \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    rows = [row.strip("|").split("|") for row in table.splitlines()]
    assert len(rows) == 6
    for annotated, follows in rows:
        codes = {name: np.full((1, 1, 1), code, np.uint8) for name, code in statements(annotated, both)}
        for name, code in statements(follows, both):
            assert derive(both, codes, [name]).item() == code, (annotated, name)


def statements(cell, scheme):
    """Read "`a`, `b` absent; `c` and its parts present"."""
    words = re.findall(r"`(\w+)`|(its parts)|(present|absent|unknown)", cell)
    names = []
    for name, parts, fact in words:
        if name:
            names.append(name)
        if parts:
            names += scheme.classes[names[-1]]
        if fact:
            yield from ((name, {"present": PRESENT, "absent": ABSENT, "unknown": UNKNOWN}[fact]) for name in names)
            names = []
