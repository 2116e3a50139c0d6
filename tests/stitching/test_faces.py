"""Links across the faces of two blocks, against all pairs of voxels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.stitching.faces import FACES, ORDERS, Rule, directions, faces, faces_towards

checked = settings(max_examples=80, deadline=None, derandomize=True)
small = st.integers(1, 4)


def neighbours(mine: np.ndarray, theirs: np.ndarray, direction: tuple[int, ...], order: int) -> set[tuple[int, int]]:
    """List the numbers of neighbouring voxels of two blocks, of which the second begins where the first ends."""
    found = set()
    for a, b in product(np.argwhere(mine), np.argwhere(theirs)):
        starts = [
            0 if step == 0 else mine.shape[axis] if step > 0 else -theirs.shape[axis]
            for axis, step in enumerate(direction)
        ]
        apart = np.abs(b + starts - a)
        if apart.max() == 1 and np.count_nonzero(apart) <= order:
            found.add((int(mine[tuple(a)]), int(theirs[tuple(b)])))
    return found


def whole(labels: np.ndarray) -> list[slice]:
    return [slice(0, n) for n in labels.shape]


@checked
@given(st.data())
def test_pieces_that_touch_are_linked_in_every_direction(data):
    connectivity = data.draw(st.sampled_from([6, 18, 26]))
    direction = data.draw(st.sampled_from(directions(connectivity)))
    mine_shape = data.draw(st.tuples(small, small, small))
    theirs_shape = [n if step == 0 else data.draw(small) for n, step in zip(mine_shape, direction, strict=True)]
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    foreground, number = (3, 2), (5, 4)
    mine, theirs = (
        random.integers(0, n + 1, shape).astype(np.uint32)
        for n, shape in zip(number, (mine_shape, theirs_shape), strict=True)
    )
    own, other = faces_towards(direction)
    links = Rule("connectivity", connectivity).links(
        faces(mine, whole(mine), FACES, 1)[own],
        faces(theirs, whole(theirs), FACES, 1)[other],
        direction,
        foreground,
        number,
    )
    near = neighbours(mine, theirs, direction, ORDERS[connectivity])
    faced = neighbours(mine, theirs, direction, 1)
    objects = {(a, b) for a, b in near if a <= 3 and b <= 2}
    gaps = {(a, b) for a, b in faced if a > 3 and b > 2}
    assert set(map(tuple, links.same.tolist())) == objects | gaps
    assert set(map(tuple, links.touching.tolist())) == {(a, b) for a, b in faced if (a > 3) != (b > 2)}


def test_there_are_13_neighbours_after_a_block():
    assert [len(directions(connectivity)) for connectivity in (6, 18, 26)] == [3, 9, 13]
    assert (
        len({tuple(np.sign(step)) for step in directions(26)} | {tuple(-np.sign(step)) for step in directions(26)})
        == 26
    )


def test_pieces_of_seeded_objects_are_not_united_but_their_contact_is_measured():
    mine = np.array([[[1, 1, 2, 3]]], np.uint32)
    theirs = np.array([[[1, 1, 1, 2]]], np.uint32)
    links = Rule("seeds", 6).links(mine, theirs, (1, 0, 0), (2, 2), (3, 2))
    assert links.same.tolist() == []
    assert dict(zip(map(tuple, links.touching.tolist()), links.areas.tolist(), strict=True)) == {
        (1, 1): 2,
        (2, 1): 1,
        (3, 2): 1,
    }


def overlap(
    mine: list[list[int]], theirs: list[list[int]], foreground: tuple[int, int], number: tuple[int, int]
) -> list:
    """Link two blocks along x; a row is (own last voxel, first beyond) and (last before, own first)."""
    own, other = (np.array(rows, np.uint32).reshape(1, -1, 2) for rows in (mine, theirs))
    return Rule("overlap", 6).links(own, other, (0, 0, 1), foreground, number).same.tolist()


def test_pieces_that_both_blocks_cut_alike_are_one_object():
    assert overlap([[1, 1], [1, 1], [2, 2]], [[2, 2], [2, 2], [1, 1]], (2, 2), (2, 2)) == [[1, 2], [2, 1]]


def test_a_piece_that_the_other_block_knows_to_end_is_not_united_with_what_is_next_to_it():
    # for the second block the first one's piece is another object (2), which is not in it
    assert overlap([[1, 0], [1, 0]], [[2, 1], [2, 1]], (1, 1), (1, 1)) == []


def test_of_two_pieces_the_one_that_overlaps_more_is_united():
    assert overlap([[1, 1], [1, 1], [1, 1]], [[1, 1], [1, 1], [2, 2]], (1, 2), (1, 2)) == [[1, 1]]
    # with the same overlap, the one with the lower number
    assert overlap([[1, 1], [1, 1]], [[1, 1], [2, 2]], (1, 2), (1, 2)) == [[1, 1]]


def test_a_small_overlap_does_not_unite():
    assert overlap([[1, 1], [1, 0], [1, 0]], [[0, 1], [0, 1], [0, 1]], (1, 1), (1, 1)) == []


def test_gaps_are_united_through_faces_whatever_the_method():
    # pieces above the foreground are gaps; numbers above all pieces lie beyond
    assert overlap([[1, 1], [2, 0]], [[1, 1], [0, 2]], (1, 1), (2, 2)) == [[1, 1], [2, 2]]


@pytest.mark.parametrize("depth", [1, 2])
def test_faces_are_the_outermost_layers_of_the_block_in_its_halo(depth):
    labels = np.arange(6 * 7 * 8, dtype=np.uint32).reshape(6, 7, 8)
    core = [slice(2, 5), slice(1, 4), slice(3, 6)]
    found = faces(labels, core, FACES, depth)
    np.testing.assert_array_equal(found[0, 0], labels[3 - depth : 3, 1:4, 3:6])
    np.testing.assert_array_equal(found[0, 1], labels[4 : 4 + depth, 1:4, 3:6])
    np.testing.assert_array_equal(found[2, 0], labels[2:5, 1:4, 4 - depth : 4])
    np.testing.assert_array_equal(found[2, 1], labels[2:5, 1:4, 5 : 5 + depth])
