"""How samples are drawn from the crops."""

from __future__ import annotations

from typing import Literal

import attrs

from dacapo_hd.config import ADDED_LATER, fraction, positive
from dacapo_hd.sampling.augment import Augment
from dacapo_hd.sampling.geometric import Mirror, Transpose
from dacapo_hd.sampling.intensity import Gamma, IntensityScaleShift, Noise


@attrs.frozen
class Sampling:
    """Where samples are taken, and what is done to them.

    `locations`: the output holds any voxel of the label volumes (`uniform`), one that is known for some class
    (`known`), or one of a class drawn evenly, as often present as absent (`balanced`). `min_known`: the fraction of
    the output's voxels that must be known for some class, before augmentation. `pad_small_crops`: mirror raw data
    that is smaller than the network's input, an error otherwise. `prefetch`: batches that each worker holds ready.
    `allow_large_context`: labels may be needed much further around a sample than the crop is long.
    """

    locations: Literal["uniform", "known", "balanced"] = "known"
    min_known: float = attrs.field(default=0.0, validator=fraction)
    augments: tuple[Augment, ...] = (Mirror(), Transpose(), IntensityScaleShift(), Gamma(), Noise())
    pad_small_crops: bool = False
    prefetch: int = attrs.field(default=2, validator=positive)
    allow_large_context: bool = attrs.field(default=False, metadata=ADDED_LATER)
