"""A trained network, ready to turn raw data into the quantities that its task stores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from dacapo_hd.architectures.base import Architecture
from dacapo_hd.blockwise.grid import Shape
from dacapo_hd.prediction.blocks import aligned_outwards
from dacapo_hd.tasks.base import Task

if TYPE_CHECKING:
    import torch


class InferenceShapes:
    """What is known of the blocks of an architecture and a task without the network."""

    architecture: Architecture
    task: Task

    @property
    def step_vx(self) -> tuple[int, ...]:
        """The coarsest scale: blocks whose outputs begin at multiples of it are downsampled on the same grid."""
        scales = [features.scale for stage in self.architecture.stages() for features in stage]
        return tuple(map(max, zip(*scales, strict=True)))

    @property
    def rim_vx(self) -> tuple[int, ...]:
        """What is cut off each side of the network's output: context made up by padding, or needed by decoding.

        A network that is not block-independent keeps at least a quarter of each length: its input cannot grow.
        """
        shape = self.architecture.input_shape_vx
        output = self.architecture.output_shape_vx(shape)
        lost = zip(shape, output, strict=True)
        padded = [max(0, c - (i - o) // 2) for c, (i, o) in zip(self.architecture.context_vx, lost, strict=True)]
        if not self.architecture.block_independent:
            most = (3 * o // 8 // step * step for o, step in zip(output, self.step_vx, strict=True))
            padded = list(map(min, padded, most))
        missing = (p + d for p, d in zip(padded, self.task.decode_context_vx, strict=True))
        return tuple(-(-m // step) * step for m, step in zip(missing, self.step_vx, strict=True))

    def output_shape_vx(self, input_shape_vx: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of what a call returns; UserError for an input that the network cannot take."""
        shape = self.architecture.output_shape_vx(input_shape_vx)
        return tuple(size - 2 * rim for size, rim in zip(shape, self.rim_vx, strict=True))

    def input_shape_for(self, output_shape_vx: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest valid input shape whose output is at least `output_shape_vx`."""
        wanted = [size + 2 * rim for size, rim in zip(output_shape_vx, self.rim_vx, strict=True)]
        return self.architecture.input_shape_for(wanted)

    def window(self, begin: Sequence[int], end: Sequence[int], volume_shape_vx: Sequence[int]) -> tuple[Shape, Shape]:
        """Return where the output for a block begins, and its shape, in voxels of a volume.

        A network that is not block-independent gets the input that it was trained with, however short the block, and
        inside the volume as far as it is long enough.
        """
        if self.architecture.block_independent:
            return aligned_outwards(begin, end, self.step_vx)
        trained = self.output_shape_vx(self.architecture.input_shape_vx)
        shape = tuple(max(t, e - b) for t, b, e in zip(trained, begin, end, strict=True))
        places = zip(begin, shape, volume_shape_vx, strict=True)
        return tuple(max(0, min(b, length - size)) for b, size, length in places), shape


@attrs.frozen(eq=False)
class Predictor(InferenceShapes):
    """Network, decoding and shapes; `network` is a `Network(architecture, task)` that lies on `device`.

    `amp` runs the network in bfloat16. Every output voxel is right: networks with same padding lose the rim that
    zeros have reached, so that any block of a volume gets the values that the whole volume would get.
    """

    network: torch.nn.Module
    architecture: Architecture
    task: Task
    device: torch.device | str = "cpu"
    amp: bool = False

    @cached_property
    def bytes_per_input_voxel(self) -> float:
        """The memory of a call; asked for once per volume, of which validation may have thousands."""
        from dacapo_hd.architectures.sizes import bytes_per_input_voxel

        return bytes_per_input_voxel(self.architecture, self.task)

    def __call__(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict normalised raw data (c, z, y, x): float32 (channel, z, y, x), centred in the input."""
        import torch

        from dacapo_hd.architectures.network import in_float32

        device = torch.device(self.device)
        was_training = self.network.training
        self.network.eval()
        with torch.inference_mode():
            image = torch.from_numpy(np.ascontiguousarray(raw)).unsqueeze(0).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.amp):
                predictions = self.network(image)
            # decoding may be dear: it gets no more of the rim than it needs
            needed = tuple(map(min, self.task.decode_context_vx, self.rim_vx))
            useless = tuple(rim - n for rim, n in zip(self.rim_vx, needed, strict=True))
            predictions = in_float32(predictions)
            predictions.update((name, _without(values, useless)) for name, values in predictions.items())
            decoded = _without(self.task.decode(predictions), needed)
        self.network.train(was_training)
        found: NDArray[np.float32] = decoded[0].float().cpu().numpy()
        return found


def _without(values: torch.Tensor, rim_vx: Sequence[int]) -> torch.Tensor:
    """Cut a rim off each side of (b, c, z, y, x)."""
    inner = tuple(slice(rim, size - rim) for rim, size in zip(rim_vx, values.shape[2:], strict=True))
    return values[:, :, *inner]
