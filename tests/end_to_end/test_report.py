"""`dacapo-hd report` of a trained run: the slices are those of the data, and a browser shows them."""

import base64
import json
import re
import shutil
import zlib

import numpy as np
import pytest
from browser import CHROMIUM, browsing
from PIL import Image

from dacapo_hd.inference import load_network, make_predictor, open_scored
from dacapo_hd.labels.block import PRESENT, UNKNOWN
from dacapo_hd.manager import RunManager
from dacapo_hd.report.page.assembly import render
from dacapo_hd.report.page.plain import to_json
from dacapo_hd.report.page.sections import capture
from dacapo_hd.segmentation.masks import Threshold
from dacapo_hd.stores import FileStore

RIGHT_RGB = (0, 158, 115)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def trained_once(make_config, train_once):
    return train_once(make_config())


@pytest.fixture
def trained(trained_once, here):
    """The run `tiny` in the default store."""
    shutil.copytree(trained_once, here / "runs")
    return here / "runs"


@pytest.fixture(scope="module")
def validated(trained_once):
    """Its network on the CPU, its validation crop and what is known there."""
    store = FileStore(trained_once)
    run = RunManager(store).load("tiny")
    _, network, _ = load_network(run, store, 6)
    (crop,) = open_scored(run, "validate")
    return make_predictor(run, network), crop, crop.read_labels(crop.label_grid.roi)


def document(path):
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(found[1])


def unpacked(texts, shape):
    return np.stack([np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape) for text in texts])


def test_the_report_of_a_trained_run(trained, validated, dacapo_hd, here):
    code, out, err = dacapo_hd("report", "report.html", "--quiet")
    assert (code, out, err) == (0, "report.html\n", "")
    found = document(here / "report.html")
    assert (here / "report.html").stat().st_size < 5_000_000
    (run,) = found["runs"]
    assert (run["name"], run["iterations"], set(run["losses"])) == ("tiny", 6, {"one_hot", "distance"})
    assert run["command"] and found["environments"][run["environment"]]["packages"]["torch"]
    (shown,) = found["slices"]["shown"]
    assert (shown["rank"], shown["crop"], shown["problem"]) == ("only", "crop_0", "")
    sections = shown["sections"]
    _, _, truth = validated
    assert sections["numbers"] == list(range(8))
    for one in sections["classes"]:
        marks = unpacked(one["marks"], (96, 96))
        code = truth.code[truth.classes.index(one["name"])]
        np.testing.assert_array_equal((marks == 1) | (marks == 3), code == PRESENT)
        np.testing.assert_array_equal(marks >= 4, code == UNKNOWN)
        right, wrong, missed = (int((marks == mark).sum()) for mark in (1, 2, 3))
        dice = 2 * right / (2 * right + wrong + missed) if right + wrong + missed else 1
        assert found["table"]["rows"][0]["classes"][one["name"]] == pytest.approx(dice, rel=1e-3)


def test_of_a_large_crop_the_middle_is_shown_as_in_the_whole(validated):
    predictor, crop, _ = validated
    segmenter = Threshold(quantity="distance", threshold=0.0)
    whole = capture(predictor, crop, segmenter, count=100, longest=96)
    part = capture(predictor, crop, segmenter, count=100, longest=96, memory_bytes=700_000)
    (z0, z1), (y0, y1), (x0, x1) = part.box
    assert whole.box is None and (z1 - z0) * (y1 - y0) * (x1 - x0) < 8 * 96 * 96 / 2
    assert part.numbers == tuple(range(z0, z1)) and part.of == 8
    assert part.depths_nm == whole.depths_nm[z0:z1]
    for one, other in zip(part.classes, whole.classes, strict=True):
        np.testing.assert_array_equal(one.marks, other.marks[z0:z1, y0:y1, x0:x1])
        np.testing.assert_allclose(one.prediction, other.prediction[z0:z1, y0:y1, x0:x1], atol=1)


def test_sections_with_annotations_come_first(validated, trained_once):
    """The second training crop is annotated on every fourth section."""
    predictor, _, _ = validated
    run = RunManager(FileStore(trained_once)).load("tiny")
    crop = run.datasplit.open("train", run.task.classes)[1]
    shown = capture(predictor, crop, Threshold(quantity="distance", threshold=0.0), count=2, longest=96)
    known = np.flatnonzero(crop.read_labels(crop.label_grid.roi).known.any((0, 2, 3)))
    assert len(known) == 2 and shown.numbers == tuple(known)
    assert all((one.marks < 4).any(axis=(1, 2)).all() for one in shown.classes)


@needs_browser
def test_a_browser_shows_the_slices_and_the_slider_moves_them(trained, validated, dacapo_hd, here):
    assert dacapo_hd("report", "report.html", "--quiet")[0] == 0
    _, _, truth = validated
    present = truth.code[truth.classes.index("pm")] == PRESENT
    with browsing(here) as page:
        page.open(here / "report.html", width=1300, height=1000)
        page.run(
            """(() => { const choose = (node, value, event) => {
                node.value = value; node.dispatchEvent(new Event(event)); };
            choose(document.querySelector(".card select"), 1, "change");
            choose(document.querySelector("input[aria-label='opacity of the overlay']"), 100, "input");
            document.querySelector("input[aria-label=section]").focus(); })()"""
        )
        page.until(drawn(3))
        for keys, section in (((), 3), (("ArrowRight",), 4), (("End",), 7), (("ArrowLeft", "ArrowLeft"), 5)):
            page.press(*keys)
            page.until(drawn(section))
            assert page.run('document.querySelector(".sections output").textContent').startswith(
                f"section {section + 1} of 8, "
            )
            pixels = np.array(page.run(PIXELS), np.uint8).reshape(96, 96, 4)
            np.testing.assert_array_equal((pixels[..., :3] == RIGHT_RGB).all(-1), present[section])
        page.run('document.querySelector(".card .plain").click()')
        page.until(drawn(4))
        page.run('document.querySelectorAll(".view")[3].scrollIntoView({behavior: "instant"})')
        x, y, width, height = page.box('document.querySelectorAll(".view")[3]')
        page.move(x + width / 2, y + height / 2)
        said = page.run('document.querySelector(".card > output").textContent')
        assert re.fullmatch(r"y 48, x 48: pm (present|absent|found).*, pm/\w+ -?[0-9.]+", said)
        picture = Image.open(page.screenshot(here / "report.png")).convert("RGB")
        assert 1280 <= picture.width <= 1300 and picture.height > 1500
        assert len(picture.getcolors(1 << 20)) > 500
        assert page.complaints == [] and page.requests == [(here / "report.html").as_uri()]


@needs_browser
def test_one_section_has_no_slider_and_pixels_have_their_shape(trained, dacapo_hd, here):
    assert dacapo_hd("report", "report.html", "--quiet")[0] == 0
    found = document(here / "report.html")
    sections = found["slices"]["shown"][0]["sections"]
    layers = [sections, *sections["classes"]]
    for layer in layers:
        layer.update({key: value[:1] for key, value in layer.items() if isinstance(value, list) and len(value) == 8})
    sections |= {"of": 1, "pixel_nm": [40.0, 10.0]}
    (here / "flat.html").write_text(render("flat", to_json(found)))
    with browsing(here) as page:
        page.open(here / "flat.html")
        page.until(drawn(0))
        assert page.run('document.querySelector("input[aria-label=section]")') is None
        _, _, width, height = page.box('document.querySelector(".view")')
        assert height / width == pytest.approx(4, rel=0.01)
        assert page.complaints == []


# through a canvas that is made for reading, because reading a drawn one makes the browser complain
PIXELS = """(() => { const drawn = document.querySelectorAll(".card canvas")[1];
    const copy = Object.assign(document.createElement("canvas"), {width: drawn.width, height: drawn.height});
    const context = copy.getContext("2d", {willReadFrequently: true});
    context.drawImage(drawn, 0, 0);
    return [...context.getImageData(0, 0, copy.width, copy.height).data]; })()"""


def drawn(section):
    return f'document.querySelector(".card figure").dataset.section === "{section}"'


def test_without_weights_or_data_the_report_says_so_in_its_place(trained, dacapo_hd, here):
    for path in (trained / "tiny" / "checkpoints").glob("*.pt"):
        path.unlink()
    code, _, err = dacapo_hd("report", "report.html", "--quiet")
    assert (code, err) == (0, "")
    found = document(here / "report.html")
    (shown,) = found["slices"]["shown"]
    assert shown["sections"] is None and "missing checkpoint" in shown["problem"]
    assert found["slices"]["fidelity"] is None
    assert found["heat"]["crops"] == [{"part": "validate", "name": "crop_0"}]


def test_no_slices_on_request(trained, dacapo_hd, here):
    assert dacapo_hd("report", "tiny", "report.html", "--no-slices", "--quiet")[0] == 0
    assert document(here / "report.html")["slices"] == {
        "problem": "left out by --no-slices",
        "fidelity": None,
        "shown": [],
    }


@pytest.mark.parametrize("size", ["120kB", "100kB", "1kB"])
def test_the_file_is_not_larger_than_asked_for(trained, dacapo_hd, here, size):
    assert dacapo_hd("report", "report.html", "--max-size", size, "--quiet")[0] == 0
    found = document(here / "report.html")["slices"]
    if size == "1kB":
        assert found["fidelity"] is None
        problem = "does not fit into the 0.001 MB of this file; give more with --max-size"
        assert found["shown"][0]["problem"] == problem
    else:
        assert (here / "report.html").stat().st_size <= 1000 * int(size.removesuffix("kB"))
        assert found["fidelity"]["longest_px"] < 768 or found["fidelity"]["sections"] < 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny"], "error: tiny: a report is an HTML file; end the command with a name such as report.html\n"),
        (["no/r.html"], "error: no/r.html: there is no folder no; make it first\n"),
        (["r.html", "--score", "dise"], "error: unknown score 'dise'; did you mean 'dice'?\n"),
        (
            ["tiny", "r.html", "--slices-of", "tony"],
            "error: --slices-of: run 'tony' is not one of those reported: tiny\n",
        ),
        (["r.html", "--max-size", "small"], "error: --max-size: expected a size such as 8GB or 500MB, got 'small'\n"),
        (
            ["tony", "r.html"],
            "error: no run 'tony' in runs; did you mean 'tiny'?; `dacapo-hd runs` lists them\n",
        ),
    ],
)
def test_mistakes_are_named(trained, dacapo_hd, here, arguments, message):
    assert dacapo_hd("report", *arguments) == (1, "", message)
    assert not (here / "r.html").exists()


def test_a_report_replaces_an_older_one(trained, dacapo_hd, here):
    (here / "report.html").write_text("old")
    assert dacapo_hd("report", "report.html", "--no-slices", "--quiet")[0] == 0
    assert "old" not in (here / "report.html").read_text()[:20]
