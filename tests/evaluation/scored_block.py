"""Blocks of one class, their scores by name, and random cases for tests of scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dacapo_hd.evaluation import evaluate
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.segmentation.base import Segmentation

SHAPE = (4, 5, 6)
IN_NM = {
    "mean_boundary_distance",
    "hausdorff",
    "hausdorff_95",
    "mean_false_distance",
    "mean_false_positive_distance",
    "mean_false_negative_distance",
}

checked = settings(max_examples=60, deadline=None, derandomize=True)
masks = hnp.arrays(bool, SHAPE)
ids = hnp.arrays(np.uint32, SHAPE, elements=st.integers(0, 5))
codes = hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 2))
known_codes = hnp.arrays(np.uint8, SHAPE, elements=st.integers(1, 2))
sizes = st.tuples(*[st.sampled_from([1.0, 2.5, 4.6, 9.8, 40.0])] * 3)


def block(code: np.ndarray, voxel_size_nm=(8.0, 8.0, 8.0), instances: np.ndarray | None = None) -> LabelBlock:
    return LabelBlock(("mito",), code[None], voxel_size_nm, {} if instances is None else {"mito": instances})


def scored(labels: np.ndarray, truth: LabelBlock, instances: bool = False, tolerance_nm: float = 8.0):
    """Return each score's value; `labels` may be a mask."""
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    found = evaluate(Segmentation({"mito": labels}, instances), truth, tolerance_nm)
    return {value.score: value.value for value in found}


def same(a: dict[str, float], b: dict[str, float]) -> None:
    assert a == pytest.approx(b, rel=1e-5, abs=1e-9, nan_ok=True)
