"""The report as a file and in a real browser: of made-up runs, without slices."""

import re
from pathlib import Path

import html5lib
import pytest
from browser import CHROMIUM, browsing
from many_runs import fill, record, scores
from pages import document, made, texts

from dacapo_hd.errors import UserError
from dacapo_hd.stores import FileStore
from dacapo_hd.stores.rows import StatRow

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
HOSTILE = "</script><script>alert(1)</script><!-- <b>&amp; \u2028 @@data@@"


@pytest.fixture(scope="module")
def sixty(tmp_path_factory):
    """60 runs (20 configs, 3 seeds) on 40 crops."""
    return fill(tmp_path_factory.mktemp("sixty"), 20, 3, 40, iterations=90)


@pytest.fixture(scope="module")
def large(sixty, tmp_path_factory):
    """The report of all of them."""
    return made(sixty, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(tmp_path):
    with browsing(tmp_path) as one:
        yield one
        assert one.complaints == []
        assert all(request.startswith("file:") for request in one.requests) and len(one.requests) == one.loads


def test_the_same_runs_make_the_same_bytes_but_for_the_time(sixty, tmp_path):
    names = [record.name for record in sixty.runs()][:4]
    pages = [made(sixty, tmp_path / f"{n}.html", names, each=True).read_text() for n in range(2)]
    times = [document(tmp_path / f"{n}.html")["created"] for n in range(2)]
    assert pages[0].replace(times[0], "") == pages[1].replace(times[1], "")


def test_sixty_runs_on_forty_crops_stay_small_and_complete(large):
    assert large.stat().st_size < 1_500_000
    found = document(large)
    assert len(found["runs"]) == len(found["table"]["rows"]) == len(found["heat"]["values"]) == 60
    assert {len(row) for row in found["heat"]["values"]} == {40}
    assert all(set(run["losses"]) == {"one_hot", "distance"} for run in found["runs"])


def test_the_page_is_valid_html_that_loads_nothing(sixty, tmp_path):
    text = made(sixty, tmp_path / "report.html", ["study-hot_distance-unet-00-s0"], title=HOSTILE).read_text()
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    assert [node.tag for node in tree.iter() if node.get("src") or node.get("href", "#")[:1] not in "#d"] == []
    ids = [node.get("id") for node in tree.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    assert len(list(tree.iter("script"))) == 2
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)


@needs_browser
def test_texts_of_users_are_texts(tmp_path, page):
    """Class names, crops, configs, commands: whatever is in them is shown and not run."""
    store = FileStore(tmp_path / "runs")
    for name in ("a", "b"):
        store.add_run(record(name, command=["dacapo-hd", HOSTILE], classes=[HOSTILE, name]))
        store.append_stats(name, [StatRow(1, f"loss/{HOSTILE}", 0.5, 0.1)])
        store.write_scores(name, scores(name, {("validate", HOSTILE): {HOSTILE: 0.5, "er": 0.25}}))
    path = made(store, tmp_path / "report.html", title=HOSTILE)
    html5lib.HTMLParser(strict=True).parse(path.read_text())
    page.open(path)
    assert page.run("document.title").split() == HOSTILE.replace("\u2028", " ").split()
    assert texts(page, "h1") == [HOSTILE]
    assert f"validate/{HOSTILE}" in texts(page, ".heat thead th")
    assert any(HOSTILE in text for text in texts(page, "#differences td"))
    assert any(HOSTILE.replace("'", "") in text for text in texts(page, "#provenance code"))
    assert page.run("document.scripts.length") == 2


def test_credentials_are_nowhere(tmp_path):
    store = FileStore(tmp_path / "runs")
    secret = "mongodb://anna:s3cret@host/em?tlsCertificateKeyFilePassword=ke7pass"
    store.add_run(record("a", command=["dacapo-hd", "train", f"--store={secret}"], classes=[secret]))
    store.write_scores("a", scores("a", {("validate", "crop"): {secret: 0.5}}))
    command = ("dacapo-hd", "report", "--store", secret)
    text = made(store, tmp_path / "report.html", command=command, title=secret).read_text()
    assert "mongodb://host/em" in text
    assert not any(word in text for word in ("anna", "s3cret", "ke7pass"))


@needs_browser
def test_tables_sort_by_keyboard_and_what_is_missing_comes_last(tmp_path, page):
    store = FileStore(tmp_path / "runs")
    for name, value in {"run10": 0.5, "run9": 0.75, "run1": 0.0625, "none": None}.items():
        store.add_run(record(name))
        if value is not None:
            store.write_scores(name, scores(name, {("validate", "crop"): {"mito": value, "er": value}}))
    page.open(made(store, tmp_path / "report.html"))
    rows, head = "[aria-label=Runs] tbody th", "[aria-label=Runs] thead th"
    assert texts(page, rows) == ["run9", "run10", "run1", "none"]
    page.run(f"document.querySelectorAll('{head} button')[0].focus()")
    page.press("Enter")
    assert texts(page, rows) == ["none", "run1", "run9", "run10"]
    page.press("Enter")
    assert texts(page, rows) == ["run10", "run9", "run1", "none"]
    assert page.run(f"document.querySelectorAll('{head}')[0].ariaSort") == "descending"
    for expected in (["run9", "run10", "run1", "none"], ["run1", "run10", "run9", "none"]):
        page.run(f"document.querySelectorAll('{head} button')[1].click()")
        assert texts(page, rows) == expected
    assert "none: not validated yet" in texts(page, ".notes li")


@needs_browser
@pytest.mark.parametrize(("score", "brightest"), [("dice", 0.75), ("voi", 0.25)])
def test_the_best_cell_is_the_brightest(tmp_path, page, score, brightest):
    store = FileStore(tmp_path / "runs")
    store.add_run(record("a"))
    values = {("validate", f"crop{n}"): {"mito": value} for n, value in enumerate((0.25, 0.5, 0.75, float("nan")))}
    store.write_scores("a", scores("a", values, score=score))
    page.open(made(store, tmp_path / "report.html", score=score))
    cells = """[...document.querySelectorAll(".heat tbody td")].map((cell) =>
        [cell.textContent, getComputedStyle(cell).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)])"""
    found = {float(words): sum(rgb) for words, rgb in page.run(cells) if words[0].isdigit()}
    assert max(found, key=found.get) == brightest and len(found) == 3
    assert page.run('document.querySelectorAll(".heat td.none").length') == 1


@needs_browser
def test_curves_are_hidden_by_their_names_and_name_themselves(sixty, tmp_path, page):
    page.open(
        made(
            sixty, tmp_path / "report.html", names=[f"study-hot_distance-unet-{n:02d}-s0" for n in range(3)], each=True
        )
    )
    count = 'document.querySelectorAll("#curves .panel:first-child polyline").length'
    assert page.run(count) == 3
    strokes = '[...document.querySelectorAll("#curves polyline")].map((one) => getComputedStyle(one).stroke)'
    assert len(set(page.run(strokes))) == 3
    page.run('document.querySelector(".chip").click()')
    assert page.run(count) == 2
    assert page.run('document.querySelector(".chip").ariaPressed') == "false"
    dot = 'document.querySelector("#curves circle")'
    page.run(f'{dot}.scrollIntoView({{block: "center", behavior: "instant"}})')
    x, y, width, height = page.box(dot)
    page.move(x + width / 2, y + height / 2)
    assert re.fullmatch(r"study-hot_distance-unet-0\d-s0\niteration \d+: 0\.\d+", texts(page, "#tip")[0])


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_sixty_runs_fit_any_window(large, page, width, dark):
    page.open(large, width=width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") <= width
    background, ink = page.run(
        "['backgroundColor', 'color'].map((key) => getComputedStyle(document.body)[key].match(/\\d+/g).map(Number)[0])"
    )
    assert (background < ink) == dark and abs(background - ink) > 150
    assert page.run('document.querySelectorAll(".heat tbody td").length') == 2400


@needs_browser
def test_a_run_without_anything_makes_a_page(tmp_path, page):
    store = FileStore(tmp_path / "runs")
    store.add_run(record("new"))
    page.open(made(store, tmp_path / "report.html"))
    assert texts(page, "#curves p") == ["No run has statistics or scores yet."]
    assert texts(page, "#crops p") == ["No run has a value of dice."]
    assert "There is one run." in texts(page, "#differences p")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run_b", "run_b: a report is an HTML file; end the command with a name such as report.html"),
        ("no/r.html", "no/r.html: there is no folder no; make it first"),
    ],
)
def test_where_it_cannot_be_written_is_said_first(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        made(FileStore(tmp_path / "runs"), Path(name))
    assert str(caught.value) == message
