"""Whatever the data and the overrides are: an object or a ConfigError, never another exception."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from toyfamily.base import Experiment

from dacapo_hd.config import ConfigError, structure

GOOD: dict[str, Any] = {
    "task": {"type": "Nested", "inner": {"type": "HotDistance", "classes": ["mito"]}},
    "architecture": {"num_fmaps": 3, "factors": [[1, 2]]},
    "datasplit": {"train": [{"raw": "a", "annotations": {"size": 1.0}}], "voxel_size_nm": [8, 8, 8]},
    "trainer": {"type": "Fussy", "low": 1, "high": 2},
    "share": 0.5,
}
PATHS = [
    *[(key,) for key in GOOD],
    ("task", "type"),
    ("task", "inner"),
    ("task", "inner", "type"),
    ("task", "inner", "classes"),
    ("architecture", "factors", 0),
    ("datasplit", "train", 0),
    ("datasplit", "train", 0, "raw"),
    ("datasplit", "train", 0, "annotations"),
    ("trainer", "high"),
    ("new",),
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.text("ab:./", max_size=9)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["task", "inner", "scale_nm", "trainer", "datasplit", "train", "raw", "0", "1", "type", "x"])
overrides = st.builds(
    lambda path, value: f"{'.'.join(path)}={value}",
    st.lists(keys, min_size=1, max_size=4),
    st.text(max_size=4) | st.sampled_from(["1", "{a: 1}", "[1]", "null"]),
)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.sampled_from(PATHS), values, st.lists(overrides, max_size=2))
def test_one_line_per_problem(path: tuple[Any, ...], value: Any, changes: list[str]) -> None:
    data = copy.deepcopy(GOOD)
    section: Any = data
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    try:
        structure(data, Experiment, "run.yaml", changes)
    except ConfigError as error:
        assert error.problems
        assert "Deferred" not in str(error)
        assert all(line.startswith(("run.yaml: ", "--set: ")) and "\n" not in line for line in error.problems)
