"""Depth in objects against a loop over them, and what is done at the edge of what is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.operations.object_distance import object_distance

VOXEL_SIZE_NM = (3.0, 1.0, 1.5)
checked = settings(max_examples=40, deadline=None, derandomize=True)
ids = hnp.arrays(np.uint32, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(0, 3))


def code_of(ids: np.ndarray) -> np.ndarray:
    return np.where(ids > 0, PRESENT, ABSENT).astype(np.uint8)


def brute_force(ids: np.ndarray, known: np.ndarray | bool = True) -> np.ndarray:
    result = np.zeros(ids.shape, np.float32)
    for number in np.unique(ids[ids > 0]):
        own, others = (np.argwhere(mask) * VOXEL_SIZE_NM for mask in (ids == number, known & (ids != number)))
        if not len(others):
            result[ids == number] = np.nan
            continue
        nearest = cdist(own, others).min(axis=1) - min(VOXEL_SIZE_NM) / 2
        result[ids == number] = nearest / nearest.max()
    return result


@given(ids)
@checked
def test_fully_known_objects_equal_a_loop_over_them(ids):
    found, _ = object_distance(code_of(ids), ids, VOXEL_SIZE_NM)
    np.testing.assert_allclose(found, brute_force(ids), rtol=1e-5)


@given(ids, hnp.arrays(np.bool_, (5, 5, 5)))
@checked
def test_unknown_voxels_are_no_boundary_and_hide_none(ids, known):
    known = known[tuple(map(slice, ids.shape))]
    code, seen = np.where(known, code_of(ids), UNKNOWN).astype(np.uint8), np.where(known, ids, 0).astype(np.uint32)
    found, _ = object_distance(code, seen, VOXEL_SIZE_NM)
    np.testing.assert_allclose(found, brute_force(seen, known), rtol=1e-5)


def test_sections_between_unknown_ones_keep_the_border_of_touching_objects():
    ids = np.zeros((5, 8, 8), np.uint32)
    ids[::2, 1:7, 1:4], ids[::2, 1:7, 4:7] = 1, 2
    code = code_of(ids)
    code[1::2] = UNKNOWN
    found, _ = object_distance(code, ids, VOXEL_SIZE_NM)
    np.testing.assert_allclose(found, brute_force(ids, code != UNKNOWN), rtol=1e-5)


@given(ids, st.integers(1, 2))
@checked
def test_objects_that_known_voxels_surround_are_not_cut(ids, margin):
    around = np.pad(ids, margin)
    found, cut = object_distance(code_of(around), around, VOXEL_SIZE_NM)
    assert not cut.any()
    code = np.pad(code_of(around), 2, constant_values=UNKNOWN)
    again, cut = object_distance(code, np.pad(around, 2), VOXEL_SIZE_NM)
    assert not cut.any()
    np.testing.assert_allclose(again[2:-2, 2:-2, 2:-2], found, rtol=1e-5)


def test_what_is_seen_of_an_object_is_taken_for_the_whole():
    ids = np.zeros((1, 9, 12), np.uint32)
    ids[:, 2:7, :4], ids[:, 2:7, 7:10] = 5, 9
    found, cut = object_distance(code_of(ids), ids, (1.0, 1.0, 1.0), "yx")
    assert cut[ids == 5].all()
    assert not cut[ids != 5].any()
    # deepest at the edge of the array, in the middle of the side that is cut
    assert found[0, 4, 0] == 1
    np.testing.assert_allclose(found[0, 4, :4], (np.array([3, 3, 2, 1]) - 0.5) / 2.5)
    code = code_of(ids)
    code[:, :, 9:] = UNKNOWN
    _, cut = object_distance(code, ids, (1.0, 1.0, 1.0), "yx")
    assert cut[(ids == 9) & (code == PRESENT)].all()


def test_each_section_is_measured_by_itself():
    ids = np.zeros((2, 9, 9), np.uint32)
    ids[0, 1:8, 1:8], ids[1, 3:6, 3:6] = 1, 1
    found, cut = object_distance(code_of(ids), ids, (1.0, 1.0, 1.0), "yx")
    assert found[0, 4, 4] == found[1, 4, 4] == 1
    assert not cut.any()
    whole, _ = object_distance(code_of(ids), ids, (1.0, 1.0, 1.0))
    assert whole[1, 4, 4] < 1


def test_an_object_without_a_boundary_has_no_depth():
    ids = np.ones((1, 4, 4), np.uint32)
    found, cut = object_distance(code_of(ids), ids, (1.0, 1.0, 1.0), "yx")
    assert np.isnan(found).all()
    assert cut.all()


def test_presence_without_an_id_is_no_object():
    ids = np.zeros((1, 4, 4), np.uint32)
    found, cut = object_distance(np.full(ids.shape, PRESENT, np.uint8), ids, (1.0, 1.0, 1.0), "yx")
    assert not found.any()
    assert not cut.any()
