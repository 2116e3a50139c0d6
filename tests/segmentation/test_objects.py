"""Small objects, holes and ids of whole volumes in memory, against scipy and loops."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage
import whole_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dacapo_hd.config import canonical_hash, structure, unstructure
from dacapo_hd.segmentation import ConnectedComponents, Prediction, Segmenter, Watershed

checked = settings(max_examples=150, deadline=None, derandomize=True)
shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)
connectivities = st.sampled_from([6, 18, 26])


@st.composite
def distances(draw: st.DrawFn) -> np.ndarray:
    """Draw noise of few levels; between mostly empty and mostly full."""
    shape = draw(shapes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return (random.integers(-8, 8, shape) / 8 + draw(st.sampled_from([-0.4, 0.0, 0.4]))).clip(-1, 1)


def of(distance: np.ndarray) -> Prediction:
    return Prediction(("mito/distance",), distance[None].astype(np.float32), (8.0, 8.0, 8.0))


def mask_of(picture: str) -> Prediction:
    """Make one section of `#` (object) and `.`, lines separated by spaces."""
    return of(np.array([[[1.0 if c == "#" else -1.0 for c in line] for line in picture.split()]]))


def rows(labels: np.ndarray) -> str:
    return " ".join("".join(map(str, row)).replace("0", ".") for row in labels[0])


@checked
@given(distances(), connectivities, st.integers(0, 20), st.booleans())
def test_components_are_those_of_scipy_and_numbered_by_their_first_voxels(distance, connectivity, size, fill):
    found = ConnectedComponents("distance", 0.0, connectivity, size, fill).segment(of(distance)).labels["mito"]
    expected = whole_volume.finished(whole_volume.components(distance > 0, connectivity), size, fill)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint32


@checked
@given(distances(), st.integers(0, 20), st.booleans())
def test_small_and_hollow_objects_of_a_watershed_are_treated_alike(distance, size, fill):
    plain = Watershed("distance", 0.5).segment(of(distance)).labels["mito"]
    found = Watershed("distance", 0.5, 0.0, size, fill).segment(of(distance)).labels["mito"]
    np.testing.assert_array_equal(found, whole_volume.finished(plain, size, fill))


@checked
@given(hnp.arrays(bool, shapes))
def test_a_single_object_is_filled_as_by_scipy(mask):
    mask = np.pad(mask, 1)
    labels, _ = scipy.ndimage.label(mask)
    one = labels == 1
    found = ConnectedComponents("distance", 0.0, 6, 0, True).segment(of(np.where(one, 1.0, -1.0))).labels["mito"]
    np.testing.assert_array_equal(found > 0, scipy.ndimage.binary_fill_holes(one))


@pytest.mark.parametrize(
    ("picture", "size", "expected"),
    [
        ("##### #...# #...# #####", 0, "11111 11111 11111 11111"),
        # an object inside keeps the gap around it open
        ("##### #...# #.#.# #...# #####", 0, "11111 1...1 1.2.1 1...1 11111"),
        # unless it is too small to be one: small objects go first
        ("##### #...# #.#.# #...# #####", 2, "11111 11111 11111 11111 11111"),
        # a way out, or the border
        ("##### #...# #...# ##.##", 0, "11111 1...1 1...1 11.11"),
        ("##### #.... #...# #####", 0, "11111 1.... 1...1 11111"),
        # gaps connect through faces only: a diagonal way out is none
        (".#### #...# #...# #####", 0, ".1111 11111 11111 11111"),
    ],
)
def test_holes_of_a_section(picture, size, expected):
    found = ConnectedComponents("distance", 0.0, 26, size, True).segment(mask_of(picture)).labels["mito"]
    assert rows(found) == expected


def test_many_voxels_that_touch_nothing_are_as_many_objects():
    # cc3d fails for this as a boolean mask
    alone = np.zeros((5, 5, 5), bool)
    alone[::2, ::2, ::2] = True
    found = ConnectedComponents("distance", 0.0, 26).segment(of(np.where(alone, 1.0, -1.0))).labels["mito"]
    assert found[alone].tolist() == list(range(1, 28))


def test_a_gap_between_two_objects_is_no_hole():
    values = np.array([[0.9, 0.6, 0.9], [0.6, -1.0, 0.6], [0.9, 0.6, 0.9]])[None]
    found = Watershed("distance", 0.8, fill_holes=True).segment(of(values)).labels["mito"]
    assert found[0, 1, 1] == 0
    assert found.max() == 4


def test_an_older_config_means_the_same_and_keeps_its_hash():
    stored = {"type": "Watershed", "quantity": "distance", "seed_threshold": 0.5, "threshold": 0.0, "min_size_vx": 20}
    segmenter = structure(stored, Segmenter)
    assert segmenter == Watershed("distance", 0.5, 0.0, 20, fill_holes=False)
    assert unstructure(segmenter) == stored
    assert canonical_hash(segmenter) == canonical_hash(stored)


def test_fields_that_came_later_are_written_where_they_matter():
    segmenter = ConnectedComponents("distance", 0.0, fill_holes=True)
    assert unstructure(segmenter)["fill_holes"] is True
    assert structure(unstructure(segmenter), Segmenter) == segmenter
    assert segmenter.label == "components(distance > 0, 26 neighbours, holes filled)"


def test_without_compilation_the_objects_are_the_same():
    code = (
        "import numpy as np\n"
        "from dacapo_hd.segmentation import Prediction, Watershed\n"
        "data = np.random.default_rng(0).uniform(-1, 1, (1, 5, 6, 7)).astype(np.float32)\n"
        "found = Watershed('distance', 0.5, -0.5, 3, True).segment(Prediction(('a/distance',), data, (1, 1, 1)))\n"
        "print(found.labels['a'].tolist())"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
        ).stdout
        for disabled in ("0", "1")
    }
    assert len(results) == 1
