"""The states of all global random generators, as tensors and plain values."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch with its devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """Return all states, so that `torch.load(weights_only=True)` takes them."""
    version, words, python_gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, numpy_gauss = numpy_state
    return {
        "python": (version, torch.tensor(words, dtype=torch.int64), python_gauss),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(numpy_gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Continue from what `random_states` returned; devices that are not here, or were not there, are left alone."""
    version, words, python_gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), python_gauss))
    keys, position, has_gauss, numpy_gauss = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, numpy_gauss))
    torch.set_rng_state(states["torch"])
    for index, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, index)
    if states["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
