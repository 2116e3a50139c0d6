"""What the report's document is made of: curves, cells, sections, their encoding, and words without secrets."""

import base64
import io
import json
import math
import zlib

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_runs import SEGMENTERS, record, scores
from PIL import Image

from dacapo_hd.evaluation.scores import SCORES
from dacapo_hd.evaluation.selection import best
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.report.compare import compare
from dacapo_hd.report.page.cells import RankedCrop, best_and_worst, cells_of, heat_map
from dacapo_hd.report.page.comparison import table_of
from dacapo_hd.report.page.curves import loss_curves, score_curve
from dacapo_hd.report.page.encoding import FIDELITIES, Fidelity, encode, encode_all
from dacapo_hd.report.page.plain import short, to_json, without_secrets
from dacapo_hd.report.page.provenance import configs, environments
from dacapo_hd.report.page.sections import ClassPixels, Sections, colours_of, marks_of, middle_box, spread
from dacapo_hd.report.slices import channel_of
from dacapo_hd.segmentation import MutexWatershed, Threshold
from dacapo_hd.stores.rows import StatRow


def stats(values, name="loss/one_hot"):
    return [StatRow(i + 1, name, value, 0.1) for i, value in enumerate(values)]


def test_a_short_loss_curve_keeps_every_value():
    curve = loss_curves(stats([0.5, 0.25, 0.125]) + stats([7.0], "learning_rate"))
    assert curve == {"one_hot": {"iterations": [1, 2, 3], "mean": [0.5, 0.25, 0.125]}}


def test_a_long_loss_curve_is_means_and_extremes_of_spans():
    values = np.arange(1000.0) % 7
    curve = loss_curves(stats(values), points=10)["one_hot"]
    spans = values.reshape(10, 100)
    np.testing.assert_allclose(curve["mean"], spans.mean(1), rtol=1e-4)
    assert curve["low"] == spans.min(1).tolist() and curve["high"] == spans.max(1).tolist()
    assert curve["iterations"] == [int(np.median(span)) for span in np.arange(1, 1001).reshape(10, 100)]


def test_what_is_not_finite_leaves_a_gap_in_a_loss_curve():
    curve = loss_curves(stats([1.0, math.nan, math.inf, 3.0, math.nan, 2.0]), points=3)["one_hot"]
    assert (curve["mean"], curve["low"], curve["high"]) == ([1, 3, 2], [1, 3, 2], [1, 3, 2])
    assert loss_curves(stats([math.nan, 1.0]))["one_hot"]["mean"] == [None, 1]


def test_a_score_curve_is_of_each_iterations_best_segmenter_marked_with_the_test():
    crop, test = {("validate", "a"): {"mito": 0.5}}, {("test", "t"): {"mito": 0.9}}
    rows = [
        *scores("r", crop, iteration=20),
        *scores("r", {("validate", "a"): {"mito": 0.75}}, iteration=20, segmenter=SEGMENTERS[1]),
        *scores("r", {("validate", "a"): {"mito": 0.25}}, iteration=10),
        *scores("r", test, iteration=20, segmenter=SEGMENTERS[1]),
        *scores("r", {("validate", "a"): {"mito": math.nan}}, iteration=30),
    ]
    assert score_curve(rows, "dice") == {"iterations": [10, 20], "mean": [0.25, 0.75], "mark": [20, 0.9]}
    assert score_curve(scores("r", crop), "dice") == {"iterations": [100], "mean": [0.5], "mark": None}
    assert score_curve(rows, "voi") is None


VALUES = {
    ("validate", "b"): {"mito": 0.5, "er": 0.7},
    ("validate", "a"): {"mito": 0.2, "er": math.nan},
    ("test", "t"): {"mito": 0.9, "er": 0.9},
    ("validate", "none"): {"mito": math.nan, "er": math.nan},
}


def test_cells_are_those_of_the_best_candidate():
    rows = [*scores("r", VALUES), *scores("r", {("validate", "b"): {"mito": 0.1}}, iteration=200)]
    chosen = best(scores("r", {("validate", "b"): {"mito": 0.5}}), "dice")
    found = cells_of(rows, chosen, "dice")
    assert {crop: {name: short(value) for name, value in classes.items()} for crop, classes in found.items()} == {
        crop: {name: short(value) for name, value in classes.items()} for crop, classes in VALUES.items()
    }
    assert cells_of(rows, None, "dice") == {}


def test_the_heat_map_has_a_place_for_every_run_and_crop():
    found = heat_map(["one", "other"], {"one": VALUES, "other": {("validate", "b"): {"mito": 0.25}}})
    assert [f"{crop['part']}/{crop['name']}" for crop in found["crops"]] == [
        "validate/a",
        "validate/b",
        "validate/none",
        "test/t",
    ]
    assert found["classes"] == ["mean of the classes", "mito", "er"]
    nothing = [None, None, None]
    assert found["values"] == [
        [[0.2, 0.2, None], [0.6, 0.5, 0.7], nothing, [0.9, 0.9, 0.9]],
        [nothing, [0.25, 0.25, None], nothing, nothing],
    ]


def test_best_and_worst_crop_in_the_direction_of_the_score():
    assert best_and_worst(VALUES, SCORES["dice"]) == (
        RankedCrop("test", "t", "best", 0.9),
        RankedCrop("validate", "a", "worst", 0.2),
    )
    assert [crop.name for crop in best_and_worst(VALUES, SCORES["voi"])] == ["a", "t"]
    only = {("validate", "a"): {"mito": 0.2}, ("validate", "none"): {"mito": math.nan}}
    assert best_and_worst(only, SCORES["dice"]) == (RankedCrop("validate", "a", "only", 0.2),)
    assert best_and_worst({}, SCORES["dice"]) == ()


@given(st.integers(1, 300), st.integers(1, 80))
def test_sections_are_spread_from_the_first_to_the_last(total, count):
    found = spread(total, count)
    assert len(found) == len(set(found)) == min(total, count)
    assert found == sorted(found) and all(0 <= n < total for n in found)
    if min(total, count) > 1:
        assert (found[0], found[-1]) == (0, total - 1)
        assert np.ptp(np.diff(found)) <= 1


@given(st.tuples(*[st.integers(1, 500)] * 3), st.integers(1, 10**6))
def test_the_middle_box_is_inside_and_small_enough(shape, most):
    box = middle_box(shape, most)
    lengths = [end - begin for begin, end in box]
    assert math.prod(lengths) <= most
    for (begin, end), whole in zip(box, shape, strict=True):
        assert 0 <= begin < end <= whole
        assert abs(begin - (whole - end)) <= 1
    if math.prod(shape) <= most:
        assert lengths == list(shape)


def test_marks_say_what_is_known_and_what_was_found():
    code = np.array([[ABSENT, PRESENT, UNKNOWN]] * 2)
    found = np.array([[False] * 3, [True] * 3])
    assert marks_of(code, found).tolist() == [[0, 3, 5], [2, 1, 4]]


def test_colours_are_stable_and_none_for_background():
    ids = np.array([0, 1, 2, 2, 2**32 - 1], np.uint32)
    colours = colours_of(ids)
    assert colours[0] == 0 and colours[1:].min() >= 1
    assert colours[2] == colours[3] != colours[1]
    np.testing.assert_array_equal(colours_of(ids.astype(np.uint64)), colours)
    assert len(set(colours_of(np.arange(1, 200, dtype=np.uint32)).tolist())) > 120


def some_sections(count, height, width, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    pixels = [
        ClassPixels(
            f"class {n}",
            rng.integers(0, 6, (count, height, width), np.uint8),
            f"class {n}/distance",
            -1.0,
            1.0,
            rng.integers(0, 256, (count, height, width), np.uint8),
            truth=rng.integers(0, 256, (count, height, width), np.uint8) if n else None,
        )
        for n in range(classes)
    ]
    numbers, depths = tuple(range(0, 2 * count, 2)), tuple(8.0 * n for n in range(count))
    raw = rng.integers(0, 256, (count, height, width), np.uint8)
    return Sections(numbers, 2 * count, depths, (16.0, 8.0, 8.0), 1, raw, tuple(pixels))


@given(st.integers(1, 9), st.integers(1, 70), st.integers(1, 70), st.integers(1, 9), st.integers(1, 80))
def test_reduced_layers_stay_together(count, height, width, sections, longest):
    whole = some_sections(count, height, width)
    found = whole.reduced(sections, longest)
    assert len(found.numbers) == len(found.depths_nm) == min(count, sections) == len(found.raw)
    assert max(found.raw.shape[1:]) <= longest and min(found.raw.shape) >= 1
    for pixels in found.classes:
        assert pixels.marks.shape == pixels.prediction.shape == found.raw.shape
    assert found.classes[1].truth.shape == found.raw.shape and found.classes[0].truth is None


def test_reduced_raw_is_means_and_marks_are_single_voxels():
    whole = some_sections(3, 5, 7)
    found = whole.reduced(3, 4)
    assert (found.factor, found.raw.shape) == (2, (3, 2, 3))
    expected = whole.raw[:, :4, :6].reshape(3, 2, 2, 3, 2).astype(float).mean((2, 4))
    assert np.abs(found.raw - expected).max() <= 0.5
    np.testing.assert_array_equal(found.classes[0].marks, whole.classes[0].marks[:, 1:4:2, 1:6:2])


def unpacked(text, shape):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape)


def test_marks_and_objects_are_encoded_exactly_and_raw_nearly():
    whole = some_sections(2, 20, 30)
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8) * 4
    whole.raw[:] = smooth
    found = encode(whole, Fidelity(5, 100, 85, 16))
    assert (found["height"], found["width"], found["numbers"], found["of"]) == (20, 30, [0, 2], 4)
    assert found["pixel_nm"] == [8, 8]
    for n in range(2):
        raw = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["raw"][n]))))
        assert np.abs(raw.astype(int) - smooth).max() < 12
        for pixels, encoded in zip(whole.classes, found["classes"], strict=True):
            np.testing.assert_array_equal(unpacked(encoded["marks"][n], (20, 30)), pixels.marks[n])
            levels = unpacked(encoded["prediction"][n], (20, 30))
            assert levels.max() <= 15
            assert np.abs(levels * 17.0 - pixels.prediction[n]).max() <= 9
        np.testing.assert_array_equal(unpacked(found["classes"][1]["truth"][n], (20, 30)), whole.classes[1].truth[n])
    assert found["classes"][0]["truth"] is None and found["classes"][1]["found"] is None


@pytest.mark.parametrize("most_bytes", [10_000, 100_000, 1_000_000, 20_000_000])
def test_what_is_encoded_fits_and_uses_the_room(most_bytes):
    shown = {name: some_sections(30, 200, 300, seed=n) for n, name in enumerate("ab")}
    fidelity, encoded = encode_all(shown, most_bytes)
    if most_bytes == 10_000:
        assert (fidelity, encoded) == (None, {})
        return
    size = len(json.dumps(list(encoded.values())))
    assert size < 1.01 * most_bytes + 5000
    if most_bytes == 20_000_000:
        assert fidelity == FIDELITIES[0]
    else:
        assert size > 0.3 * most_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mongodb://anna:s3cret@host:27017/em?authSource=admin", "mongodb://host:27017/em"),
        ("--store=mongodb+srv://anna:s3%40cret@host/em", "--store=mongodb+srv://host/em"),
        ("https://anna:s3cret@server/a.zarr", "https://server/a.zarr"),
        ("s3://bucket/mail@here.zarr", "s3://bucket/mail@here.zarr"),
        ("a@b", "a@b"),
    ],
)
def test_no_secret_of_an_address_stays_anywhere(text, expected):
    nested = {"a": [text, {text: (1, None, f"see {text}")}]}
    assert without_secrets(nested) == {"a": [expected, {expected: [1, None, f"see {expected}"]}]}


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_can_stand_in_a_script_element(value):
    text = to_json({"value": value})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"value": value}


@pytest.mark.parametrize(
    ("value", "expected"), [(0.123456789, 0.12346), (12.0, 12), (math.nan, None), (-math.inf, None), (None, None)]
)
def test_numbers_are_short_and_what_is_not_finite_is_none(value, expected):
    assert short(value) == expected


def test_the_table_holds_groups_with_their_difference_from_the_baseline():
    """Two configs with three seeds each, and one with a single seed, on two crops."""
    means = {"a": (0.5, 0.52, 0.54), "b": (0.7, 0.72, 0.74), "c": (0.6,)}
    records, rows = [], {}
    for group, values in means.items():
        for seed, value in enumerate(values):
            name = f"{group}-s{seed}"
            records.append(record(name, seed, group, scale_nm=20.0 + ord(group)))
            cells = {("validate", "x"): {"mito": value - 0.1}, ("validate", "y"): {"mito": value + 0.1}}
            rows[name] = scores(name, cells, seed, group)
    comparison = compare(records, rows, "dice")
    found = table_of(comparison)
    assert found["baseline"] == "b-s{0,1,2}"
    groups = {group["name"]: group for group in found["groups"]}
    assert list(groups) == ["b-s{0,1,2}", "c-s0", "a-s{0,1,2}"]
    assert (groups["b-s{0,1,2}"]["mean"], groups["b-s{0,1,2}"]["deviation"]) == (0.72, 0.02)
    assert groups["b-s{0,1,2}"]["difference"] is None and groups["c-s0"]["deviation"] is None
    assert groups["a-s{0,1,2}"]["counts"] == "3 x 2 selection"
    worse = groups["a-s{0,1,2}"]["difference"]
    assert (worse["value"], worse["counts"]) == (-0.2, "3 x 2")
    assert worse["interval"][0] <= -0.2 <= worse["interval"][1] < 0
    assert "1 seed" in groups["c-s0"]["difference"]["verdict"]
    assert "differences are from b-s{0,1,2}, the best of 3 by these values, which flatter it" in found["notes"]
    against = table_of(comparison, "a-s1")
    assert against["baseline"] == "a-s{0,1,2}"
    assert [group["difference"] and group["difference"]["value"] for group in against["groups"]] == [0.2, 0.08, None]
    assert not any("flatter" in note for note in against["notes"])


def test_environments_and_configs_are_kept_once():
    records = [record("a"), record("b"), record("c", scale_nm=80.0)]
    found, places = environments([*records, attrs.evolve(records[0], provenance={})])
    assert len(found) == 1 and places == [0, 0, 0, None]
    assert "command" not in found[0]
    texts, parts = configs(records)
    assert len(texts) == 5
    assert parts[0] == parts[1] and parts[2] == {**parts[0], "task": 4}
    assert "scale_nm: 80.0" in texts[4]


@pytest.mark.parametrize("kind", ["affinity", "latent_affinity", "mask_affinity"])
def test_the_channel_shown_is_the_one_that_the_segmenter_read(kind):
    kinds = ("affinity", "latent_affinity", "mask_affinity", "mask_variance")
    channels = [f"{name}/{what}({step},0,0)" for name in ("er", "mito") for what in kinds for step in (-1, -4)]
    assert channel_of("mito", channels, MutexWatershed(kind).label) == f"mito/{kind}(-1,0,0)"
    assert channel_of("mito", ["mito/distance", "mito/probability"], Threshold("probability", 0.5).label) == (
        "mito/probability"
    )
    assert channel_of("pm", channels, MutexWatershed(kind).label) is None
