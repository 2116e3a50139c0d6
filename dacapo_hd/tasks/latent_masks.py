"""Latent single-instance masks: for each voxel, which voxels around it lie in its object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import hypot, prod
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs
import numpy as np

from dacapo_hd.architectures.base import Architecture, FeatureMap
from dacapo_hd.config import ADDED_LATER, non_empty, non_negative, one_of, positive
from dacapo_hd.labels.block import LabelBlock
from dacapo_hd.operations.affinities import NEIGHBOURS_16, Offset, Unit, format_offset, object_labels, reach
from dacapo_hd.operations.distance import Axes
from dacapo_hd.operations.single_masks import consecutive, near_transition, whole_windows
from dacapo_hd.segmentation import MutexWatershed, SuperpixelAgglomeration
from dacapo_hd.segmentation.affinities import affinity_channel
from dacapo_hd.segmentation.base import Segmenter
from dacapo_hd.tasks.affinities import affinity_channels, affinity_target
from dacapo_hd.tasks.base import OBJECT, Circumstances, Lesson, OutputChannel, Target
from dacapo_hd.tasks.instance import AXES, AffinityBranch, InstanceTask, check_offsets
from dacapo_hd.tasks.mask_branch import MaskBranch

if TYPE_CHECKING:
    from torch import Tensor, nn

Decoder = Literal["mlp", "convolutional"]
Latents = Literal["learnt", "frozen"]
GREATEST_VARIANCE = 0.25
# where validation cuts; masks say "the same object" of most pairs until they are trained for long
CUTS = {"affinity": (0.5,), "latent_affinity": (0.5,), "mask_affinity": (0.5, 0.7, 0.9)}


@attrs.frozen
class LatentMasks(InstanceTask):
    """Predict a latent vector for each voxel that encodes the mask of its object in a window around it.

    Source: Bailoni et al. 2020. Training decodes `samples` voxels per branch and batch; the loss is the Dice loss per
    mask. The mask is empty for voxels outside of objects and for those less than `transition_vx` voxels from another
    label. `affinities` are sparse branches beside (of `Affinities`). Predicted are, for `offsets` in voxels, whatever
    `predict` lists: `mask_affinity` aggregates the masks of all branches of level 0 (algorithm 1), `mask_variance` is
    the variance of it, `latent_affinity` comes from a small network on the frozen latent map of the first branch
    (section S7.3), and `affinity` is the first sparse branch of level 0. With `latents: frozen` that small network is
    all that is learnt, by a run that starts from one which has learnt the masks.
    """

    # masks are windows of voxels
    offset_unit: Unit = attrs.field(default="vx", validator=one_of("vx"), kw_only=True)
    offsets: tuple[Offset, ...] = attrs.field(default=NEIGHBOURS_16, validator=[non_empty, check_offsets])
    branches: tuple[MaskBranch, ...] = attrs.field(
        default=(MaskBranch(), MaskBranch(dilation=(1, 4, 4))), validator=non_empty
    )
    affinities: tuple[AffinityBranch, ...] = attrs.field(default=())
    latent_channels: int = attrs.field(default=32, validator=positive)
    decoder: Decoder = attrs.field(default="mlp", validator=one_of(*get_args(Decoder)))
    hidden_channels: int = attrs.field(default=64, validator=positive)
    samples: int = attrs.field(default=512, validator=positive)
    transition_vx: float = attrs.field(default=2.0, validator=non_negative)
    transition_axes: Axes = attrs.field(default="zyx", validator=one_of(*get_args(Axes)))
    dice_weight: float = attrs.field(default=1.0, validator=non_negative)
    cross_entropy_weight: float = attrs.field(default=1.0, validator=non_negative)
    predict: tuple[str, ...] = attrs.field(default=("mask_affinity",), validator=non_empty)
    latents: Latents = attrs.field(default="learnt", validator=one_of(*get_args(Latents)), metadata=ADDED_LATER)

    @branches.validator
    def _first_is_finest(self, attribute: attrs.Attribute[Any], value: tuple[MaskBranch, ...]) -> None:
        if value and value[0].level != 0:
            raise ValueError("must begin with a branch of level 0, from which affinities are predicted")

    @affinities.validator
    def _offsets_of_affinities(self, attribute: attrs.Attribute[Any], value: tuple[AffinityBranch, ...]) -> None:
        for branch in value:
            check_offsets(self, attribute, branch.offsets)

    @predict.validator
    def _can_be_predicted(self, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
        kinds = ("affinity", "latent_affinity", "mask_affinity", "mask_variance")
        for kind in value:
            if kind not in kinds:
                raise ValueError(f"must be some of {', '.join(kinds)}, got {kind!r}")
        if "affinity" in value and self._sparse() is None:
            raise ValueError("must be without affinity, or `affinities` have a branch of level 0")
        if {"mask_affinity", "mask_variance"} & set(value):
            for offset in self.offsets:
                # one that is no offset is told where it stands
                if len(offset) == 3:
                    self._require_window(offset)

    @latents.validator
    def _something_is_learnt(self, attribute: attrs.Attribute[Any], value: Latents) -> None:
        if value == "frozen" and not self.has_second_stage:
            raise ValueError("must be learnt, or `predict` have latent_affinity, which is all that is learnt then")

    def _require_window(self, offset: Offset) -> None:
        """Raise ValueError for an offset that fits no window of a finest branch."""
        windows = [branch for branch in self.branches if branch.level == 0]
        if any(branch.fits(offset) for branch in windows):
            return
        sizes = ", ".join(
            f"{'x'.join(map(str, branch.window_vx))} dilated by {'x'.join(map(str, branch.dilation))}"
            for branch in windows
        )
        raise ValueError(
            f"the offset {format_offset(offset)} is larger than the mask windows of level 0, or no multiple of their "
            f"dilation ({sizes}); leave it out, or add a branch that it fits"
        )

    def _sparse(self) -> int | None:
        """Return the number of the sparse branch that is predicted."""
        return next((n for n, branch in enumerate(self.affinities) if branch.level == 0), None)

    def _sparse_branches(self) -> dict[str, AffinityBranch]:
        return {f"affinity_{n}": branch for n, branch in enumerate(self.affinities, start=1)}

    def _mask_branches(self) -> dict[str, MaskBranch]:
        return {f"masks_{n}": branch for n, branch in enumerate(self.branches, start=1)}

    @property
    def has_second_stage(self) -> bool:
        """Whether affinities are learnt from the frozen latent map."""
        return "latent_affinity" in self.predict

    @property
    def frozen(self) -> tuple[str, ...]:
        return ("backbone", "head.project", "head.decoders") if self.latents == "frozen" else ()

    def all_offsets(self) -> tuple[Offset, ...]:
        own = self.offsets if self.has_second_stage else ()
        return (*own, *(offset for branch in self.affinities for offset in branch.offsets))

    def levels(self) -> Iterable[int]:
        return (*(branch.level for branch in self.branches), *(branch.level for branch in self.affinities))

    @property
    def context_nm(self) -> float:
        return 0.0

    @property
    def context_vx(self) -> tuple[int, ...]:
        steps = [branch.reach_vx for branch in self.branches]
        transition = int(np.ceil(self.transition_vx))
        steps.append((transition if self.transition_axes == "zyx" else 0, transition, transition))
        if self.all_offsets():
            steps.append(super().context_vx)
        return tuple(map(int, reach(steps)))

    @property
    def decode_context_vx(self) -> tuple[int, ...]:
        finest = [branch.reach_vx for branch in self.branches if branch.level == 0]
        aggregated = {"mask_affinity", "mask_variance"} & set(self.predict)
        return tuple(map(max, zip(*finest, strict=True))) if aggregated else (0, 0, 0)

    @property
    def decode_bytes(self) -> float:
        from dacapo_hd.operations.mask_aggregation import TILE_VX

        if not any(self.decode_context_vx):
            return 0.0
        sums = 12 * len(self.offsets) * prod(TILE_VX)
        places = (
            prod(branch.window_vx) * prod(n + 2 * r for n, r in zip(TILE_VX, branch.reach_vx, strict=True))
            for branch in self.branches
            if branch.level == 0
        )
        # logits, masks, and these in another order
        return float(sums + 12 * max(places))

    def problems_with(
        self, architecture: Architecture, voxel_size_nm: Sequence[float], shape_vx: Sequence[int]
    ) -> list[str]:
        output = architecture.output_shape_vx(architecture.input_shape_vx)
        problems = [
            f"task.branches: the mask window of {name} covers {2 * step + 1} voxels along {axis}, more than the "
            f"network's output of {size}; enlarge architecture.input_shape_vx, or choose a smaller window or dilation"
            for name, branch in self._mask_branches().items()
            for axis, step, size in zip(AXES, branch.reach_vx, output, strict=True)
            if 2 * step + 1 > size
        ]
        whole = attrs.evolve(self, affinities=(*self.affinities, AffinityBranch(0, self.offsets)))
        problems += super(LatentMasks, whole).problems_with(architecture, voxel_size_nm, shape_vx)
        return problems

    def remedy(self, target: str, class_name: str, about: Circumstances) -> str:
        if target in self._mask_branches() and about.has_ids:
            return "few voxels have a mask window that is known: choose a smaller window or dilation in task.branches"
        return super().remedy(target, class_name, about)

    def remarks(self, lessons: Sequence[Lesson]) -> list[str]:
        found = super().remarks(lessons)
        if self.latents == "frozen":
            return found
        narrow = [
            name for name, branch in self._mask_branches().items() if hypot(*branch.reach_vx) < self.transition_vx
        ]
        if narrow:
            found.append(
                f"task.transition_vx: {self.transition_vx:g} keeps every border out of the mask windows of "
                f"{', '.join(narrow)}, whose masks are all full or empty; lower it, or choose larger windows"
            )
        empty = [one for one in lessons if one.channel.endswith("/no mask") and one.present > 0 and one.inside_low == 1]
        if empty:
            names = ", ".join(dict.fromkeys(repr(one.class_name) for one in empty))
            found.append(
                f"task.transition_vx: {self.transition_vx:g} leaves no voxel of {names} with a mask that is not empty; "
                "lower it"
            )
        return found

    def targets(self, labels: LabelBlock) -> dict[str, Target]:
        found = {}
        if self.latents == "learnt":
            found = {**self._mask_targets(labels), **self.foreground_targets(labels)}
        for name, offsets in self._learnt_offsets().items():
            whole = self.in_voxels(offsets, labels.voxel_size_nm)
            found[name] = affinity_target(labels, whole, [format_offset(offset) for offset in offsets])
        return found

    def _mask_targets(self, labels: LabelBlock) -> dict[str, Target]:
        names = labels.classes
        objects = [object_labels(labels, name) for name in names]
        numbered = [consecutive(one) for one in objects]
        empty = [near_transition(one, self.transition_vx, self.transition_axes) for one in objects]
        value = np.stack([*numbered, *empty]).astype(np.float32)
        channels = tuple(f"{name}/{what}" for what in (OBJECT, "no mask") for name in names)
        found = {}
        for name, branch in self._mask_branches().items():
            weight = np.stack([whole_windows(one >= 0, branch.window_vx, branch.dilation) for one in objects]).astype(
                np.float32
            )
            found[name] = Target(value, weight, channels)
        return found

    def _learnt_offsets(self) -> dict[str, tuple[Offset, ...]]:
        sparse = self._sparse_branches() if self.latents == "learnt" else {}
        found = {name: branch.offsets for name, branch in sparse.items()}
        return {**found, "latent_affinity": self.offsets} if self.has_second_stage else found

    def head(self, stages: Sequence[Sequence[FeatureMap]]) -> nn.Module:
        from dacapo_hd.tasks.latent_head import LatentHead

        classes, masks = len(self.classes), self._mask_branches()
        latent = {name: (branch.level, classes * self.latent_channels) for name, branch in masks.items()}
        sparse = {
            name: (branch.level, classes * len(branch.offsets)) for name, branch in self._sparse_branches().items()
        }
        return LatentHead(
            stages,
            {**latent, **sparse, **self.foreground_branches()},
            {name: branch.window_vx for name, branch in masks.items()},
            self.latent_channels,
            self.hidden_channels,
            self.decoder == "convolutional",
            {"latent_affinity": ("masks_1", classes * len(self.offsets))} if self.has_second_stage else {},
        )

    def loss(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        from dacapo_hd.operations.losses import affinity_loss
        from dacapo_hd.tasks.latent_head import MaskPredictions, mask_loss

        assert isinstance(predictions, MaskPredictions)
        losses = {}
        for name, branch in self._mask_branches().items() if self.latents == "learnt" else ():
            steps = branch.window().steps()
            decoder = predictions.decoders[name]
            losses[name] = mask_loss(decoder, predictions[name], *targets[name], steps, branch.reach_vx, self.samples)
        weights = (self.dice_weight, self.cross_entropy_weight)
        for name in self._learnt_offsets():
            losses[name] = affinity_loss(predictions[name], *targets[name], *weights, self.balance)
        return {**losses, **self.foreground_losses(predictions, targets)}

    def output_channels(self) -> tuple[OutputChannel, ...]:
        found: list[OutputChannel] = []
        for kind in self.predict:
            sparse = self._sparse()
            if kind == "mask_variance":
                found += [
                    OutputChannel(affinity_channel(name, kind, offset, self.offset_unit), 0.0, GREATEST_VARIANCE, True)
                    for name in self.classes
                    for offset in self.offsets
                ]
            elif kind == "affinity" and sparse is not None:
                found += affinity_channels(self.classes, kind, self.affinities[sparse].offsets, self.offset_unit)
            else:
                found += affinity_channels(self.classes, kind, self.offsets, self.offset_unit)
        return (*found, *self.foreground_channels())

    def decode(self, predictions: Mapping[str, Tensor]) -> Tensor:
        import torch

        from dacapo_hd.tasks.latent_head import aggregated

        sparse = self._sparse()
        parts = {}
        if sparse is not None:
            parts["affinity"] = predictions[f"affinity_{sparse + 1}"].float().sigmoid()
        if self.has_second_stage:
            parts["latent_affinity"] = predictions["latent_affinity"].float().sigmoid()
        if any(self.decode_context_vx):
            windows = {name: branch.window() for name, branch in self._mask_branches().items() if branch.level == 0}
            parts["mask_affinity"], parts["mask_variance"] = aggregated(
                predictions, windows, [tuple(map(int, offset)) for offset in self.offsets], len(self.classes)
            )
        return torch.cat([*(parts[kind] for kind in self.predict), *self.decoded_foreground(predictions)], dim=1)

    def default_grid(self) -> tuple[Segmenter, ...]:
        return tuple(
            segmenter
            for kind in self.predict
            for cut in CUTS.get(kind, ())
            for segmenter in (
                MutexWatershed(quantity=kind, cut=cut),
                SuperpixelAgglomeration(quantity=kind, cut=cut, boundary=cut),
            )
        )
