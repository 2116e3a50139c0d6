"""Segments of compared runs on the terminal, as JSON and in the report."""

import json

import attrs
import pytest
from browser import CHROMIUM, browsing
from many_runs import SEGMENTERS, record, scores
from pages import document, made, texts
from store_rows import segments

from dacapo_hd.cli.entry import main
from dacapo_hd.evaluation.segments import CORRELATIONS, SegmentTable
from dacapo_hd.report.page import segments as page_segments
from dacapo_hd.stores import FileStore

HOSTILE = "</script><b>&amp;"


def store_of(folder, tables, name="a", segmenter=SEGMENTERS[0]):
    """Store a run; `tables` are its segments by (part, crop)."""
    store = FileStore(folder)
    store.add_run(record(name))
    rows = scores(name, {place: {"mito": 0.5} for place in tables})
    ranked = scores(name, {place: {"mito": 0.25} for place in tables}, score=CORRELATIONS[0], segmenter=segmenter)
    tabled = [attrs.evolve(row, segments=table) for row, table in zip(ranked, tables.values(), strict=True)]
    store.write_scores(name, [*rows, *tabled])
    return store


def compare(capsys, folder, *options):
    with pytest.raises(SystemExit) as end:
        main(["compare", "--store", str(folder), *options])
    found = capsys.readouterr()
    return end.value.code, found.out, found.err


@pytest.fixture
def folder(tmp_path):
    tables = {("validate", "left"): segments(3, 0.2), ("test", "right"): segments(2, 0.25)}
    store_of(tmp_path / "runs", tables)
    return tmp_path / "runs"


def test_the_most_uncertain_segments_of_all_crops_come_first(folder, capsys):
    code, out, err = compare(capsys, folder, "--segments", "3")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if "mito" in line and "4294967" in line]
    assert [[cell for cell in row if cell != "│"] for row in rows] == [
        ["right", "(test)", "mito", "4294967295", "1", "1.024e-06", "0.25", "1.0000", "0.0000"],
        ["left", "mito", "4294967295", "1", "1.024e-06", "0.2", "1.0000", "0.0000"],
        ["right", "(test)", "mito", "4294967296", "2", "2.048e-06", "0.125", "0.5000", "0.0000"],
    ]
    assert "mean mask_variance" in out and "(of the segmenter" not in out
    last = (
        "a: uncertainty_error_correlation 0.2500, the mean over crops and classes; 5 largest of 7 segments are stored"
    )
    assert out.splitlines()[-1] == last


def test_runs_without_segments_say_why(tmp_path, capsys):
    store = store_of(tmp_path / "runs", {("validate", "left"): None})
    assert compare(capsys, tmp_path / "runs", "--segments", "3")[1].splitlines()[-1] == (
        "a: no segments are stored of iteration 100: its task predicts no uncertainty (LatentMasks does with "
        "mask_variance in `predict`), or its own score chose no segmenter there, or it was scored by an older version; "
        "`dacapo-hd validate a --iteration 100` scores it again"
    )
    store.add_run(record("new"))
    assert "new: not validated yet" in compare(capsys, tmp_path / "runs", "--segments", "3")[1]


def test_segments_of_another_segmenter_are_said_to_be(tmp_path, capsys):
    store_of(tmp_path / "runs", {("validate", "left"): segments(3)}, segmenter=SEGMENTERS[1])
    out = compare(capsys, tmp_path / "runs", "--segments", "3")[1]
    assert "threshold(distance > 0.1): the most uncertain of 4 segments" in " ".join(out.split())
    assert "(of the segmenter that the task's score chose)" in " ".join(out.split())


def test_programs_get_them_as_json(folder, capsys):
    (run,) = json.loads(compare(capsys, folder, "--segments", "1", "--json")[1])["runs"]
    assert run["segments"] == {
        "quantity": "mask_variance",
        "segmenter": json.loads(SEGMENTERS[0]),
        "of": 7,
        "most_uncertain": [
            {
                "part": "test",
                "crop": "right",
                "class": "mito",
                "id": 4294967295,
                "voxels": 1,
                "volume_um3": pytest.approx(1.024e-6),
                "uncertainty": 0.25,
                "error": 1.0,
                "iou": 0.0,
            }
        ],
    }
    (run,) = json.loads(compare(capsys, folder, "--json")[1])["runs"]
    assert "segments" not in run


def test_what_cannot_be_is_told(folder, capsys):
    code, _, err = compare(capsys, folder, "--segments", "1", "--csv")
    assert (code, err) == (1, "error: --segments and --csv: give one of the two; --json has both\n")
    code, _, err = compare(capsys, folder, "--segments", "0")
    assert code == 2 and "0 is not in the range x>=1" in err


def test_the_report_keeps_the_largest(tmp_path, monkeypatch):
    monkeypatch.setattr(page_segments, "MOST_OF_RUN", 3)
    store = store_of(tmp_path / "runs", {("validate", "left"): segments(3), ("test", "right"): segments(2)})
    (found,) = document(made(store, tmp_path / "report.html"))["segments"]
    assert (found["of"], found["voxels"], found["crop"]) == (7, [2, 2, 3], [1, 0, 0])
    assert found["crops"] == [
        {"part": "validate", "name": "left", "class": "mito", "correlation": 0.25},
        {"part": "test", "name": "right", "class": "mito", "correlation": 0.25},
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
class TestPage:
    def test_segments_are_drawn_sorted_and_chosen(self, tmp_path):
        tables = {("validate", HOSTILE): segments(3, 0.2), ("test", "right"): segments(2, 0.25)}
        report = made(store_of(tmp_path / "runs", tables), tmp_path / "report.html")
        with browsing(tmp_path) as page:
            page.open(report, width=500)
            assert page.run("document.documentElement.scrollWidth") <= 500
            assert page.run("document.querySelectorAll('#segments circle').length") == 5
            cells = "#segments tbody td:nth-child(5)"
            assert texts(page, cells) == ["0.25", "0.2", "0.125", "0.1", "0.06667"]
            page.run("document.querySelectorAll('#segments thead button')[5].click()")
            assert texts(page, "#segments tbody td:nth-child(6)") == ["1", "1", "0.5", "0.5", "0.3333"]
            heights = "[...document.querySelectorAll('#segments circle')].map((one) => Number(one.getAttribute('cy')))"
            assert len(set(page.run(heights))) == 3
            choose = "const node = document.querySelectorAll('#segments select')[{}]; node.value = {}; "
            choose += "node.dispatchEvent(new Event('change'));"
            page.run(f"(() => {{ {choose.format(1, 1)} }})()")
            assert len(set(page.run(heights))) == 1
            page.run(f"(() => {{ {choose.format(0, 1)} }})()")
            assert texts(page, "#segments tbody td:nth-child(2)") == [f"validate/{HOSTILE}"] * 3
            assert page.complaints == []

    def test_there_is_no_such_part_without_segments(self, tmp_path):
        report = made(store_of(tmp_path / "runs", {("validate", "left"): None}), tmp_path / "report.html")
        with browsing(tmp_path) as page:
            page.open(report)
            for one in ("#segments", "nav a[href='#segments']"):
                assert page.run(f'document.querySelector("{one}").checkVisibility()') is False

    def test_a_crop_without_segments_draws_none(self, tmp_path):
        none = SegmentTable("mask_variance", 0, 8.0, (), (), (), (), ())
        report = made(store_of(tmp_path / "runs", {("validate", "left"): none}), tmp_path / "report.html")
        with browsing(tmp_path) as page:
            page.open(report)
            assert texts(page, "#segments svg text") == ["no segments"]
            assert page.complaints == []
