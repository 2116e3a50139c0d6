"""Checkpoints: written atomically with a checksum, read without executing anything."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from dacapo_hd.errors import UserError
from dacapo_hd.stores.files import write_atomically

logger = logging.getLogger(__name__)


@attrs.frozen
class Checkpoints:
    """The checkpoints of one run, in one folder: `ITERATION.pt`, each with its SHA-256 beside it."""

    folder: Path

    def save(self, iteration: int, state: Mapping[str, Any]) -> Path:
        """Write a state (tensors and plain values); raises UserError when it cannot be written."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        data = buffer.getvalue()
        path = self._path(iteration)
        write_atomically(_checksum_path(path), hashlib.sha256(data).hexdigest().encode())
        write_atomically(path, data)
        return path

    def iterations(self) -> tuple[int, ...]:
        """Return the iterations that have a checkpoint, ascending."""
        return tuple(sorted(int(path.stem) for path in self.folder.glob("*.pt") if path.stem.isdigit()))

    def load(self, iteration: int, map_location: str | torch.device = "cpu") -> dict[str, Any]:
        """Read one checkpoint; raises UserError if it is missing or damaged."""
        path = self._path(iteration)
        if not path.exists():
            have = ", ".join(map(str, self.iterations())) or "none"
            raise UserError(f"{path}: no checkpoint of iteration {iteration}; there are: {have}")
        data = path.read_bytes()
        checksum = _checksum_path(path)
        if not checksum.exists() or checksum.read_text() != hashlib.sha256(data).hexdigest():
            raise UserError(f"{path}: damaged checkpoint (its checksum differs); remove it to use the one before")
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(data), map_location=map_location, weights_only=True)
        except pickle.UnpicklingError:
            raise UserError(f"{path}: not a checkpoint of weights alone; refused, because it could run code") from None
        return state

    def load_latest(self, map_location: str | torch.device = "cpu") -> tuple[int, dict[str, Any]] | None:
        """Read the newest sound checkpoint, warning of damaged ones; None if there is no checkpoint at all."""
        problems = []
        for iteration in reversed(self.iterations()):
            try:
                return iteration, self.load(iteration, map_location)
            except UserError as error:
                problems.append(str(error))
                logger.warning("%s", error)
        if problems:
            raise UserError(*problems, "no sound checkpoint is left; remove the folder to train from the start")
        return None

    def prune(self, keep: Collection[int], newest: int = 2) -> None:
        """Remove all checkpoints but those of `keep` and the newest ones."""
        iterations = self.iterations()
        for iteration in iterations[: max(0, len(iterations) - newest)]:
            if iteration not in keep:
                self._path(iteration).unlink(missing_ok=True)
                _checksum_path(self._path(iteration)).unlink(missing_ok=True)

    def _path(self, iteration: int) -> Path:
        return self.folder / f"{iteration:08d}.pt"


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")
