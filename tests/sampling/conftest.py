"""Crops, a network and a task that are just large enough to sample from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from sampling_parts import ArrayCrop, Codes, Window

from dacapo_hd.geometry import Grid

MakeCrop = Callable[..., ArrayCrop]


@pytest.fixture
def make_crop() -> MakeCrop:
    def make(
        raw_shape: Sequence[int] = (20, 24, 28),
        label_begin: Sequence[int] = (0, 0, 0),
        label_shape: Sequence[int] | None = None,
        voxel_size_nm: Sequence[float] = (8.0, 8.0, 8.0),
        seed: int = 0,
        **changes: Any,
    ) -> ArrayCrop:
        """Raw with another value at every voxel; random codes and ids."""
        rng = np.random.default_rng(seed)
        raw_grid = Grid.from_nm(raw_shape, voxel_size_nm, (-4.6, 100.0, 2.5))
        label_shape = tuple(label_shape or raw_shape)
        end = [b + n for b, n in zip(label_begin, label_shape, strict=True)]
        crop = ArrayCrop(
            name=changes.pop("name", "a"),
            classes=("mito", "er"),
            data=(rng.permutation(math.prod(raw_shape)) / math.prod(raw_shape))
            .astype(np.float32)
            .reshape(1, *raw_shape),
            code=rng.integers(0, 3, (2, *label_shape)).astype(np.uint8),
            raw_grid=raw_grid,
            label_grid=raw_grid.part(label_begin, end),
            ids=rng.integers(0, 2**32, label_shape, dtype=np.uint32),
        )
        return attrs.evolve(crop, **changes)

    return make


@pytest.fixture
def window() -> type[Window]:
    return Window


@pytest.fixture
def codes() -> type[Codes]:
    return Codes
