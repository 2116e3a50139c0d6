"""Tables on the terminal are complete and fit its width."""

import pytest

from dacapo_hd.report.terminal import format_bytes, print_scores
from dacapo_hd.stores import ScoreRow

SCORES = ("dice", "jaccard", "voi", "false_negative_rate", "mean_boundary_distance")


def threshold(value):
    return f'{{"type": "Threshold", "quantity": "probability", "threshold": {value}}}'


@pytest.fixture
def rows():
    """Two segmenters, of which 0.5 is better by dice and 0.25 by voi; two classes, two crops."""
    values = {0.25: 0.125, 0.5: 0.75}
    return [
        ScoreRow("run", "a", "b", 0, 10, crop, threshold(at), class_name, score, value, "abc")
        for at, value in values.items()
        for class_name in ("mito", "endoplasmic_reticulum")
        for crop in ("crop_0", "a[/b]")
        for score in SCORES
    ]


def test_the_best_segmenters_scores_are_printed_with_the_score_that_chose_it_first(rows, capsys):
    print_scores(rows, "dice")
    out = capsys.readouterr().out
    assert "0.7500" in out and "0.1250" not in out
    assert "a[/b]" in out and "endoplasmic_reticulum" in out
    assert out.splitlines()[-1] == (
        "threshold(probability > 0.5) is the best of 2 segmenters by dice, whose mean is 0.7500; --all shows the others"
    )


def test_the_task_score_decides_which_is_best(rows, capsys):
    print_scores(rows, "voi")
    out = capsys.readouterr().out
    assert "0.1250" in out and "0.7500" not in out
    header = next(line for line in out.splitlines() if "class" in line)
    assert header.index("voi") < header.index("dice")


def test_all_segmenters_are_printed_if_asked_for(rows, capsys):
    print_scores(rows, "dice", everything=True)
    out = capsys.readouterr().out
    assert "0.7500" in out and "0.1250" in out
    assert out.splitlines()[-1].endswith("by dice, whose mean is 0.7500")


def test_all_are_printed_if_none_is_the_best(rows, capsys):
    print_scores(rows, "recall")
    out = capsys.readouterr().out
    assert "0.7500" in out and "0.1250" in out
    assert out.splitlines()[-1] == "recall is undefined on the validation crops: no segmenter is the best"


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_table_is_wider_than_the_terminal_nor_cuts_anything_off(rows, capsys, monkeypatch, width):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    print_scores(rows, "dice")
    lines = capsys.readouterr().out.splitlines()
    assert "…" not in "".join(lines)
    # the lines of the headers hold codes for bold
    tables = [line for line in lines if line.startswith("│")]
    assert max(map(len, tables)) <= width
    assert sum(line.count("0.7500") for line in tables) == 4 * len(SCORES)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_345_678, "12.3 MB"),
        (5_000_000_000, "5.0 GB"),
        (7 * 10**15, "7000.0 TB"),
    ],
)
def test_bytes_are_written_with_decimal_units(count, text):
    assert format_bytes(count) == text
