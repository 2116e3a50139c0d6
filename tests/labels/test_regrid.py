import itertools

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels import ABSENT, PRESENT, UNKNOWN
from dacapo_hd.labels.regrid import Relation

U, A, P = UNKNOWN, ABSENT, PRESENT


def grid(voxel_size_nm, offset_nm=(0, 0, 0), shape_vx=(8, 8, 8)):
    return Grid.from_nm(shape_vx, voxel_size_nm, offset_nm)


def test_factors_per_axis_with_fractional_voxel_sizes():
    relation = Relation.between(grid((9.2, 4.6, 2.3)), grid((4.6, 4.6, 9.2)))
    assert relation == Relation(pooled=(1, 1, 4), repeated=(2, 1, 1))


@pytest.mark.parametrize(
    ("labels", "raw", "problem"),
    [
        (
            grid((4, 6, 4)),
            grid((4, 4, 4)),
            "labels: voxel size [4, 6, 4] nm is no whole multiple or fraction of the raw's [4, 4, 4] nm; "
            "resample one of them or correct its `voxel_size_nm`",
        ),
        (
            grid((5, 5, 5)),
            grid((10, 10, 10), (2.5, 2.5, 2.5)),
            "labels: offset [0, 0, 0] nm at voxel size [5, 5, 5] nm is between voxels of the raw, offset "
            "[2.5, 2.5, 2.5] nm at [10, 10, 10] nm; write `offset_nm: [2.5, 2.5, 2.5]` at that array if both "
            "begin at one corner, else the corner of its first voxel",
        ),
    ],
)
def test_grids_that_do_not_fit(labels, raw, problem):
    with pytest.raises(UserError) as caught:
        Relation.between(labels, raw)
    assert caught.value.problems == (problem,)


def majority(values):
    """Decide one raw voxel from the codes of its label voxels, as the documentation words it."""
    present, absent = list(values).count(P), list(values).count(A)
    if 2 * present > len(values) or (present + absent == len(values) and 2 * present == len(values)):
        return P
    return A if 2 * absent > len(values) else U


@pytest.mark.parametrize("pooled", [(1, 1, 2), (2, 2, 1), (1, 1, 3)])
def test_majority_of_every_combination(pooled):
    count = int(np.prod(pooled))
    for values in itertools.product((U, A, P), repeat=count):
        code = np.array(values, np.uint8).reshape(pooled)
        assert Relation(pooled, (1, 1, 1)).codes(code).tolist() == [[[majority(values)]]], values


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.tuples(*[st.integers(1, 3)] * 3), st.integers(0, 2**32 - 1))
def test_pooling_equals_a_loop(pooled, seed):
    shape = tuple(2 * n for n in pooled)
    random = np.random.default_rng(seed)
    code = random.integers(0, 3, shape).astype(np.uint8)
    ids = random.integers(0, 4, shape).astype(np.uint32)
    relation = Relation(pooled, (1, 1, 1))
    for voxel in np.ndindex(2, 2, 2):
        part = tuple(slice(v * n, (v + 1) * n) for v, n in zip(voxel, pooled, strict=True))
        assert relation.codes(code)[voxel] == majority(code[part].ravel())
        counts = {i: int((ids[part] == i).sum()) for i in (1, 2, 3)}
        most = max(counts, key=lambda i: (counts[i], -i))
        assert relation.ids(ids)[voxel] == (most if counts[most] else 0)
        assert relation.all_of(ids > 0)[voxel] == (ids[part] > 0).all()


def test_repeating():
    code = np.array([[[P, A]], [[U, P]]], np.uint8)
    relation = Relation((1, 1, 1), (1, 2, 3))
    assert relation.codes(code).tolist() == [[[P, P, P, A, A, A]] * 2, [[U, U, U, P, P, P]] * 2]
    assert relation.ids(code.astype(np.uint32)).tolist() == relation.codes(code).tolist()


def test_covering_grows_to_whole_label_voxels_from_their_own_offset():
    labels, raw = grid((4, 4, 4), (1, 2, 3)), grid((1, 1, 1))
    roi = Roi(Coordinate(5, 5, 2) * 10**6, Coordinate(4, 1, 1) * 10**6)
    covering = Relation.between(labels, raw).covering(labels, roi)
    assert covering == Roi(Coordinate(5, 2, -1) * 10**6, Coordinate(4, 4, 4) * 10**6)
