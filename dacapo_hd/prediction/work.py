"""Prediction as work for the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import attrs

from dacapo_hd.arrays import Volume
from dacapo_hd.blockwise import BlockWork
from dacapo_hd.datasplits.intensity import IntensityRange
from dacapo_hd.prediction.function import PredictFunction
from dacapo_hd.prediction.predictor import Predictor


class PredictorLoader(ABC):
    """How a worker gets the network; pickled."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return plain JSON data that names the network."""

    @abstractmethod
    def load(self) -> Predictor:
        """Return the network on the worker's device."""


@attrs.frozen(eq=False)
class PredictWork(BlockWork):
    """Predicts `source` into `target`; see `PredictFunction` for the options.

    Each worker keeps `cache_bytes` of what it has read: neighbouring blocks share their context.
    """

    loader: PredictorLoader
    source: Volume
    target: Volume
    intensity_range: tuple[float, ...]
    flips: bool = False
    skip_empty: bool = False
    mask: Volume | None = None
    cache_bytes: int = 0

    def identity(self) -> dict[str, Any]:
        return {
            "network": self.loader.identity(),
            "source": self.source.path,
            "voxel_size_nm": list(self.source.grid.voxel_size_nm),
            "begin_nm": list(self.target.grid.offset_nm),
            "shape": list(self.target.grid.shape_vx),
            "intensity_range": IntensityRange(*self.intensity_range).to_list(),
            "flips": self.flips,
            "skip_empty": self.skip_empty,
            "mask": None if self.mask is None else self.mask.path,
        }

    def open(self) -> PredictFunction:
        predictor = self.loader.load()
        source = self.source.cached(self.cache_bytes) if self.cache_bytes else self.source
        options = (self.flips, self.skip_empty, self.mask)
        return PredictFunction(predictor, source, self.target, self.intensity_range, *options)
