"""The run's network in a file of its own, for workers that need not reach the store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dacapo_hd.blockwise.session import WORKER_VARIABLE
from dacapo_hd.config import structure, unstructure
from dacapo_hd.errors import UserError
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.prediction.work import PredictorLoader

if TYPE_CHECKING:
    import torch

    from dacapo_hd.run import Run


@attrs.frozen(eq=False)
class RunNetwork(PredictorLoader):
    """The network of a checkpoint, whose weights lie in `file`; `device` replaces the run's own."""

    config: Mapping[str, Any]
    config_hash: str
    iteration: int
    file: Path
    device: str | None = None

    @classmethod
    def of(cls, run: Run, iteration: int, file: Path, device: str | None) -> RunNetwork:
        return cls(unstructure(run), run.config_hash, iteration, file, device)

    def write(self, weights: Mapping[str, torch.Tensor]) -> None:
        import torch

        part = self.file.with_suffix(".part")
        torch.save(dict(weights), part)
        part.replace(self.file)

    def identity(self) -> dict[str, Any]:
        return {"run": self.config["name"], "config_hash": self.config_hash, "iteration": self.iteration}

    def load(self) -> Predictor:
        import torch

        from dacapo_hd.architectures.network import Network
        from dacapo_hd.inference import make_predictor
        from dacapo_hd.run import Run

        run = structure(dict(self.config), Run, source=f"run {self.config['name']}")
        network = Network(run.architecture, run.task)
        network.load_state_dict(torch.load(self.file, map_location="cpu", weights_only=True))
        return make_predictor(run, network.to(self._choose_device(run.trainer.device)))

    def _choose_device(self, own: str) -> torch.device:
        """Resolve the device; the workers of a machine with several GPUs take turns."""
        import torch

        from dacapo_hd.training.device import choose_device

        if self.device is None:
            device = choose_device(own)
        else:
            try:
                device = choose_device(self.device)
            except UserError as error:
                raise UserError(
                    *(problem.replace("trainer.device", "--device") for problem in error.problems)
                ) from None
        if device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
            return torch.device("cuda", int(os.environ.get(WORKER_VARIABLE, "0")) % torch.cuda.device_count())
        return device
