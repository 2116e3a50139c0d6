"""The head of latent masks; imported only where a network is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from dacapo_hd.architectures.base import FeatureMap
from dacapo_hd.operations.mask_aggregation import Branch, Window, aggregate
from dacapo_hd.tasks.head import BranchHead


class MaskPredictions(dict[str, Tensor]):
    """Predictions with what decodes the latent ones: `decoders[name]` maps vectors (n, q) to mask logits (n, k)."""

    decoders: nn.ModuleDict


class LatentHead(BranchHead):
    """Branches, of which those in `windows` are latent maps with a decoder each, shared by the classes.

    `second_stage` outputs are predicted from the (detached) latent map of another branch: what they learn changes
    neither the latent map nor what lies before it.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[FeatureMap]],
        branches: Mapping[str, tuple[int, int]],
        windows: Mapping[str, Sequence[int]],
        latent_channels: int,
        hidden_channels: int,
        convolutional: bool,
        second_stage: Mapping[str, tuple[str, int]],
    ) -> None:
        super().__init__(stages, branches)
        make = ConvolutionalDecoder if convolutional else perceptron
        self.decoders = nn.ModuleDict(
            {name: make(latent_channels, hidden_channels, window) for name, window in windows.items()}
        )
        self.sources = {name: source for name, (source, _) in second_stage.items()}
        self.second_stage = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Conv3d(branches[source][1], hidden_channels, kernel_size=1),
                    nn.ReLU(),
                    nn.Conv3d(hidden_channels, channels, kernel_size=1),
                )
                for name, (source, channels) in second_stage.items()
            }
        )

    def forward(self, stages: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        found = MaskPredictions(super().forward(stages))
        for name, layers in self.second_stage.items():
            found[name] = layers(found[self.sources[name]].detach())
        found.decoders = self.decoders
        return found


def perceptron(latent_channels: int, hidden_channels: int, window: Sequence[int]) -> nn.Module:
    """Decode by one hidden layer."""
    return nn.Sequential(
        nn.Linear(latent_channels, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, prod(window))
    )


class ConvolutionalDecoder(nn.Module):
    """Decode by two convolutions over the window, after a linear layer that lays the latent vector out in it."""

    CHANNELS = 4

    def __init__(self, latent_channels: int, hidden_channels: int, window: Sequence[int]) -> None:
        super().__init__()
        self.window = tuple(window)
        self.spread = nn.Sequential(
            nn.Linear(latent_channels, hidden_channels),
            nn.ReLU(),
            nn.Linear(hidden_channels, self.CHANNELS * prod(window)),
        )
        self.refine = nn.Sequential(
            nn.Conv3d(self.CHANNELS, self.CHANNELS, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv3d(self.CHANNELS, 1, kernel_size=3, padding=1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        places = self.spread(latents).relu().view(-1, self.CHANNELS, *self.window)
        refined: Tensor = self.refine(places)
        return refined.flatten(1)


def decode_box(decoder: nn.Module, latents: Tensor) -> Tensor:
    """Decode a box of latent vectors (q, z, y, x) to masks (k, z, y, x) in 0..1."""
    vectors = latents.flatten(1).T
    masks: Tensor = decoder(vectors).sigmoid().T
    return masks.reshape(-1, *latents.shape[1:])


def aggregated(
    predictions: Mapping[str, Tensor],
    windows: Mapping[str, Window],
    offsets_vx: Sequence[Sequence[int]],
    classes: int,
) -> tuple[Tensor, Tensor]:
    """Return the means and the variances of affinities, (b, class and offset, z, y, x), that latent branches give.

    `windows` names the branches; see `aggregate`.
    """
    assert isinstance(predictions, MaskPredictions)
    samples = zip(*(predictions[name].float() for name in windows), strict=True)
    batch = []
    for latents in samples:
        per_class = zip(*(one.chunk(classes) for one in latents), strict=True)
        found = [
            aggregate(
                [
                    Branch(window, one, partial(decode_box, predictions.decoders[name]))
                    for (name, window), one in zip(windows.items(), of_class, strict=True)
                ],
                offsets_vx,
            )
            for of_class in per_class
        ]
        batch.append([torch.cat(parts) for parts in zip(*found, strict=True)])
    mean, variance = (torch.stack(parts) for parts in zip(*batch, strict=True))
    return mean, variance


def draw_centres(weight: Tensor, reach: Sequence[int], most: int) -> Tensor:
    """Draw at most `most` voxels with weight > 0 whose windows lie inside, (n, 5): batch, class, z, y, x.

    `weight` is (b, c, z, y, x); without a choice all are taken in their order.
    """
    inner = torch.zeros_like(weight, dtype=torch.bool)
    box = tuple(slice(r, max(n - r, r)) for n, r in zip(weight.shape[2:], reach, strict=True))
    inner[:, :, *box] = weight[:, :, *box] > 0
    centres = inner.nonzero()
    if len(centres) > most:
        centres = centres[torch.randperm(len(centres), device=centres.device)[:most]]
    return centres


def mask_targets(value: Tensor, centres: Tensor, steps: Tensor) -> Tensor:
    """Return the masks (n, k) of drawn centres (n, 5), 0 or 1.

    `value` is (b, 2c, z, y, x): the objects of all classes, then where the mask is empty. `steps` (k, 3) are the
    places of the window.
    """
    objects, empty = value.chunk(2, dim=1)
    batch, class_number, z, y, x = centres.T[..., None]
    around = objects[batch, class_number, z + steps[:, 0], y + steps[:, 1], x + steps[:, 2]]
    own, no_mask = objects[tuple(centres.T)], empty[tuple(centres.T)]
    same = (around == own[:, None]) & (own > 0)[:, None] & (no_mask == 0)[:, None]
    return same.float()


def mask_loss(
    decoder: nn.Module,
    latents: Tensor,
    value: Tensor,
    weight: Tensor,
    steps: Sequence[Sequence[int]],
    reach: Sequence[int],
    samples: int,
) -> Tensor:
    """Return the mean Dice loss of the masks of at most `samples` drawn voxels; 0 where no window is known."""
    from dacapo_hd.operations.losses import dice_loss

    centres = draw_centres(weight, reach, samples)
    targets = mask_targets(value, centres, torch.tensor(steps, device=value.device))
    per_class = torch.stack(latents.chunk(weight.shape[1], dim=1), dim=1)
    batch, class_number, z, y, x = centres.T
    vectors = per_class[batch, class_number, :, z, y, x]
    masks = decoder(vectors.float()).float().sigmoid()
    losses = dice_loss(masks, targets, torch.ones_like(targets), (1,))
    return losses.sum() / max(len(losses), 1)
