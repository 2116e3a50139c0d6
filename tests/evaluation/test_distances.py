"""Distances to marked voxels against independent transforms."""

from __future__ import annotations

import os
import subprocess
import sys

import edt
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt
from scored_block import checked, sizes

from dacapo_hd.evaluation.distances import DistanceMap
from dacapo_hd.evaluation.marks import KINDS, PREDICTED, PRESENT

WANTED = np.array([bool(mark & PREDICTED) for mark in range(KINDS)])
SOURCES = np.array([bool(mark & PRESENT) for mark in range(KINDS)])
NOTHING = np.zeros(KINDS, bool)
shapes = st.tuples(*[st.integers(1, 9)] * 3)


def marked(sources: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.where(sources, PRESENT, 0).astype(np.uint8) | np.where(wanted, PREDICTED, 0).astype(np.uint8)


def same_as_scipy(sources: np.ndarray, wanted: np.ndarray, size: tuple[float, ...]) -> None:
    marks = marked(sources, wanted)
    found = DistanceMap.to(marks, PRESENT, size)
    expected = distance_transform_edt(~sources, sampling=size)
    for distances in (found, found.everywhere()):
        # a voxel may be wanted in both lists
        values, others = distances.at(marks, WANTED, WANTED | SOURCES)
        np.testing.assert_allclose(values, expected[wanted], rtol=1e-6)
        np.testing.assert_allclose(others, expected[wanted | sources], rtol=1e-6)
        # to the last bit, in whatever way they are worked out
        np.testing.assert_array_equal(values, found.at(marks, NOTHING, WANTED)[1])
        np.testing.assert_array_equal(others, found.everywhere().values[wanted | sources])


@checked
@given(st.data(), shapes, sizes)
def test_distances_equal_those_of_scipy(data, shape, size):
    sources, wanted = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    if sources.any():
        same_as_scipy(sources, wanted, size)


@pytest.mark.parametrize("size", [(8.0, 8.0, 8.0), (40.0, 4.0, 4.6), (2.5, 9.8, 60.0)])
@pytest.mark.parametrize("share", [0.3, 1e-3])
def test_distances_near_and_far_equal_those_of_scipy(size, share):
    # few and near wanted voxels are searched from, many or far ones take the lower envelope
    rng = np.random.default_rng(0)
    shape = (11, 41, 67)
    sources = rng.random(shape) < share
    same_as_scipy(sources, np.ones(shape, bool), size)
    same_as_scipy(sources, sources | (rng.random(shape) < 0.01), size)
    one = np.zeros(shape, bool)
    one[3, 40, 2] = True
    same_as_scipy(one, rng.random(shape) < share, size)


def test_distances_equal_those_of_edt():
    rng = np.random.default_rng(1)
    sources, wanted = (rng.random((30, 40, 50)) < share for share in (0.02, 0.5))
    marks = marked(sources, wanted)
    values, _ = DistanceMap.to(marks, PRESENT, (9.8, 4.6, 2.5)).at(marks, WANTED, NOTHING)
    np.testing.assert_allclose(values, edt.edt(~sources, anisotropy=(9.8, 4.6, 2.5))[wanted], rtol=1e-5)


def test_without_a_voxel_to_measure_to_the_distance_is_infinite():
    marks = marked(np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool))
    values, _ = DistanceMap.to(marks, PRESENT, (8.0, 8.0, 8.0)).at(marks, WANTED, NOTHING)
    assert values.shape == (60,)
    assert np.isinf(values).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_irrelevant(threads, monkeypatch):
    rng = np.random.default_rng(2)
    # an odd number of sections, with wanted voxels in some of them only
    sources, wanted = (rng.random((7, 20, 30)) < 0.1 for _ in range(2))
    wanted[1:4] = False
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
    same_as_scipy(sources, wanted, (40.0, 4.0, 4.0))


THREADS_AFTER_DISTANCES = """
import numpy as np, torch
from dacapo_hd.evaluation.distances import DistanceMap
DistanceMap.to(np.ones((3, 4, 5), np.uint8), np.uint8(1), (8.0, 8.0, 8.0)).everywhere()
print(torch.get_num_threads())
"""


def test_torch_keeps_its_number_of_threads():
    """A training that was validated would go on with other sums than one that was resumed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", THREADS_AFTER_DISTANCES]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"
