from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.tasks import Target


@pytest.fixture
def make_block() -> Callable[..., LabelBlock]:
    """Make a block of one class from a mask or ids, with what is known."""

    def make(ids: np.ndarray, known: np.ndarray | bool = True, voxel_size_nm=(8.0, 8.0, 8.0), instances: bool = False):
        code = np.where(known, np.where(ids > 0, PRESENT, ABSENT), UNKNOWN).astype(np.uint8)
        named = {"mito": np.where(code == PRESENT, ids, 0).astype(np.uint32)} if instances else {}
        return LabelBlock(("mito",), code[None], voxel_size_nm, named)

    return make


@pytest.fixture
def ball() -> np.ndarray:
    """A ball of radius 9 voxels in the middle of 41 x 41 x 41."""
    z, y, x = np.ogrid[:41, :41, :41]
    return (z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 9**2


@pytest.fixture
def as_batch() -> Callable[..., dict[str, tuple[Tensor, Tensor]]]:
    """Stack the targets of samples as the loader does."""

    def stack(*samples: dict[str, Target]) -> dict[str, tuple[Tensor, Tensor]]:
        return {
            name: (
                torch.from_numpy(np.stack([sample[name].value for sample in samples])),
                torch.from_numpy(np.stack([sample[name].weight for sample in samples])),
            )
            for name in samples[0]
        }

    return stack
