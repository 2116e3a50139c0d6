from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.operations.affinities import NOTHING, OUTSIDE, SOME, affinities, object_labels, offsets_in_voxels

SHAPE = (3, 4, 5)
VOXELS = st.sampled_from([NOTHING, SOME, OUTSIDE, 1, 2, 3])


def pair_by_pair(labels, offset):
    """Look at each pair on its own."""
    value, weight = np.zeros(labels.shape), np.zeros(labels.shape)
    for u in np.ndindex(labels.shape):
        v = tuple(a + b for a, b in zip(u, offset, strict=True))
        if not all(0 <= a < n for a, n in zip(v, labels.shape, strict=True)):
            continue
        a, b = sorted((labels[u], labels[v]))
        both_known = a >= 0
        inside_and_outside = (a, b) == (SOME, OUTSIDE)
        weight[u] = both_known or inside_and_outside
        value[u] = a == b and a > 0
    return value, weight


@settings(max_examples=60, deadline=None)
@given(
    st.lists(VOXELS, min_size=60, max_size=60),
    st.tuples(st.integers(-4, 4), st.integers(-5, 5), st.integers(-6, 6)),
)
def test_affinities_are_those_of_each_pair(values, offset):
    labels = np.array(values).reshape(SHAPE)
    value, weight = affinities(labels, [offset])
    expected = pair_by_pair(labels, offset)
    np.testing.assert_array_equal(value[0], expected[0])
    np.testing.assert_array_equal(weight[0], expected[1])
    assert value.dtype == weight.dtype == np.float32


def test_labels_say_what_is_known_of_objects():
    code = np.array([UNKNOWN, ABSENT, PRESENT, PRESENT], np.uint8).reshape(1, 1, 1, 4)
    ids = np.array([7, 0, 0, 9], np.uint32).reshape(1, 1, 4)
    block = LabelBlock(("mito",), code, (1.0, 1.0, 1.0), {"mito": ids})
    np.testing.assert_array_equal(object_labels(block, "mito").ravel(), [NOTHING, OUTSIDE, SOME, 9])
    without = LabelBlock(("mito",), code, (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(object_labels(without, "mito").ravel(), [NOTHING, OUTSIDE, SOME, SOME])


def test_offsets_in_nanometres_become_whole_voxels():
    assert offsets_in_voxels([(-80, 0, 0), (0, 9.2, -4.6)], "nm", (40, 4.6, 4.6)) == ((-2, 0, 0), (0, 2, -1))
    with pytest.raises(UserError) as error:
        offsets_in_voxels([(0, 0, -6)], "nm", (40, 4, 4))
    assert error.value.problems == (
        "the offset (0,0,-6) nm is no whole number of voxels of 40, 4, 4 nm; choose multiples of the voxel size, or "
        "offsets in voxels",
    )
